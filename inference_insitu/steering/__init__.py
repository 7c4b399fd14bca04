"""Steering: what the inference asks of the simulation, and how all its ranks do it at the same step.

Pure logic, free of MPI and torch. ``commands`` says what may be asked, ``rules`` ask it because of results,
``agreement`` brings it to every simulation rank at one step, ``log`` keeps it, ``replay`` does it again without the
inference.
"""
