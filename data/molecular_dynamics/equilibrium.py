"""The lattice that a potential gives a crystal: a crystal built on another one would shrink or swell."""

from dataclasses import replace
from typing import Any

import numpy as np

from cdi.lattices.lattice import Lattice
from cdi.lattices.structures import STRUCTURES
from data.molecular_dynamics.lammps_engine import open_lammps, pair_commands, run_commands
from data.molecular_dynamics.potential import common_potential

CELLS = 3
"""Cells along each edge of the periodic box that is relaxed."""
STRESS_FREE = {"cubic": "iso 0", "hexagonal": "x 0 y 0 z 0 couple xy"}
"""What LAMMPS may change of the box of each crystal system."""


def equilibrium_lattice(lattice: Lattice, potential: str, communicator: Any = None) -> Lattice:
    """``lattice`` with the edges at which an infinite crystal is free of stress at 0 K.

    The energy of a periodic perfect crystal is minimised over the edges of its cell and the
    places of its atoms, starting from the given ones. Collective over ``communicator``.

    Raises
    ------
    ValueError
        If there is no such potential, it lacks an element, or the lattice is neither cubic nor hexagonal.
    RunError
        If LAMMPS fails.
    """
    if lattice.structure not in STRUCTURES:
        raise ValueError(f"structure must be one of {', '.join(STRUCTURES)}, got {lattice.structure!r}")
    elements = tuple(dict.fromkeys(lattice.elements))
    pair = pair_commands(common_potential(potential, elements), elements)
    free = STRESS_FREE[STRUCTURES[lattice.structure].system]
    lammps = open_lammps(communicator)
    try:
        run_commands(lammps, f"{_perfect_crystal(lattice, elements)}{pair}\nfix box all box/relax {free}\n{_MINIMISE}")
        low, high, xy, *_ = lammps.extract_box()
    finally:
        lammps.close()
    edges = np.diag(np.subtract(high, low)) / CELLS
    edges[1, 0] = xy / CELLS
    return replace(lattice, cell=edges)


# The box moves by small steps: a table of an embedded-atom potential ends at its cutoff.
_MINIMISE = "min_modify dmax 0.05\nminimize 0 1e-7 1000 10000\n"


def _perfect_crystal(lattice: Lattice, elements: tuple[str, ...]) -> str:
    (lx, *_), (xy, ly, *_), (*_, lz) = CELLS * lattice.cell
    vectors = " ".join(f"a{i} {' '.join(map(str, edge))}" for i, edge in enumerate(lattice.cell, start=1))
    basis = " ".join(f"basis {' '.join(map(str, site))}" for site in lattice.sites)
    types = " ".join(
        f"basis {number} {elements.index(element) + 1}" for number, element in enumerate(lattice.elements, start=1)
    )
    return f"""
units metal
atom_style atomic
boundary p p p
lattice custom 1 {vectors} {basis}
region box prism 0 {lx} 0 {ly} 0 {lz} {xy} 0 0 units box
create_box {len(elements)} box
create_atoms 1 box {types}
"""
