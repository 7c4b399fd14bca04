"""Inference beside LAMMPS: a nanoparticle under compression, its patterns, and what was said of them."""
