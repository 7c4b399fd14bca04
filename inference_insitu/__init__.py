"""Inference beside a running MPI simulation: coupling, the simulation side, results and reports."""
