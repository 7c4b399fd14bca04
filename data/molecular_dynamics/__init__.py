"""Molecular statics and dynamics: potentials, LAMMPS, relaxation, and the lines that OVITO finds."""
