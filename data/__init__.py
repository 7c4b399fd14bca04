"""Samples with their truth: recipes, generation, the HDF5 store, and the field's file formats."""
