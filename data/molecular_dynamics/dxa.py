"""Dislocation lines of atoms, by OVITO: the only file that knows it.

Dislocation extraction algorithm (DXA): Stukowski, Bulatov & Arsenlis, Modelling Simul. Mater.
Sci. Eng. 20, 085007 (2012). For one line sense OVITO's Burgers vector has the sign opposite to
RH/FS; here it is turned to the convention of ``DislocationLine``. Free of torch.
"""

import signal
from dataclasses import dataclass
from itertools import permutations, product
from threading import current_thread, main_thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.defects.line import DislocationLine
from cdi.errors import optional_import
from cdi.lattices.lattice import Lattice
from cdi.lattices.structures import STRUCTURES

Array = NDArray[np.float64]

OVITO_LATTICES = {"fcc": "FCC", "bcc": "BCC", "hcp": "HCP", "diamond": "CubicDiamond"}
"""OVITO's name of each structure in which it finds dislocations."""

VACUUM_A = 5.0
"""Room in Å left around a crystal with free surfaces."""
SAME_BURGERS = 0.2
"""Relative distance within which two Burgers vectors are one, seen through the strain at a line."""


@dataclass(frozen=True, eq=False)
class ExtractedLine:
    """A dislocation segment that DXA found.

    Parameters
    ----------
    line : DislocationLine
        In Å, in the frame of the atoms; its Burgers vector is that of the strained crystal there.
    burgers_lattice : (3,)
        The same of the unstrained crystal, in fractions of the cell's edges. DXA chooses the crystal axes: any
        that symmetry allows.
    """

    line: DislocationLine
    burgers_lattice: tuple[float, float, float]


@dataclass(frozen=True)
class PeriodicCell:
    """The box of a snapshot: rows of ``vectors`` (3, 3) and ``origin`` (3,) in Å, and which vectors repeat."""

    vectors: Array
    origin: Array
    periodic: tuple[bool, bool, bool]


def extract_lines(positions: Array, structure: str, cell: PeriodicCell | None = None) -> tuple[ExtractedLine, ...]:
    """Dislocation lines of atoms ``(n, 3)`` Å in a crystal of ``structure``; without ``cell`` surfaces are free.

    A line ends some Å below a surface. Partial dislocations are lines of their own.

    Raises
    ------
    ValueError
        If DXA does not know the structure.
    MissingDependencyError
        If OVITO is not installed.
    """
    if structure not in OVITO_LATTICES:
        raise ValueError(f"structure must be one of {', '.join(OVITO_LATTICES)} for DXA, got {structure!r}")
    modifiers = require_ovito()
    containers = _ovito("ovito.data")
    modifier = modifiers.DislocationAnalysisModifier()
    modifier.input_crystal_structure = getattr(modifier.Lattice, OVITO_LATTICES[structure])
    box = _around(positions) if cell is None else cell
    data = containers.DataCollection()
    data.create_cell(np.column_stack([np.asarray(box.vectors).T, box.origin]), pbc=box.periodic)
    data.create_particles(count=len(positions)).create_property("Position", data=positions)
    data.apply(modifier)
    return tuple(_extracted(segment) for segment in data.dislocations.lines)


def burgers_fractions(found: ExtractedLine, lattice: Lattice, orientation: Array) -> Array:
    """Burgers vector ``(3,)`` in fractions of the cell's edges; ``orientation`` turns crystal axes to the laboratory.

    In a cubic lattice this is DXA's own vector, in the setting nearest to what the line shows in
    the laboratory. Elsewhere, or where none is near (a twin, another grain), it is what it shows.
    """
    shown = lattice.fractions(np.asarray(orientation).T @ found.line.burgers)
    if lattice.structure not in STRUCTURES or STRUCTURES[lattice.structure].system != "cubic":
        return shown
    settings = np.array([
        np.array(order) * signs
        for order in permutations(found.burgers_lattice)
        for signs in product((1, -1), repeat=3)
    ])  # fmt: skip
    distance = np.linalg.norm(settings - shown, axis=1)
    nearest = distance.argmin()
    return np.asarray(settings[nearest] if distance[nearest] < SAME_BURGERS * np.linalg.norm(shown) else shown)


def require_ovito() -> Any:
    """OVITO's modifiers, or one line saying how to install it.

    Raises
    ------
    MissingDependencyError
        If OVITO is not installed.
    """
    return _ovito("ovito.modifiers")


def _ovito(module: str) -> Any:
    """A part of OVITO, without the hold that it takes of Ctrl-C when it is loaded."""
    loaded = optional_import(module, group="dxa", purpose="dislocation analysis")
    handler = signal.getsignal(signal.SIGINT)
    # OVITO puts its own handler below Python's, and LAMMPS beside it could not be interrupted.
    if handler is not None and current_thread() is main_thread():
        signal.signal(signal.SIGINT, handler)
    return loaded


def _around(positions: Array) -> PeriodicCell:
    low, high = positions.min(0) - VACUUM_A, positions.max(0) + VACUUM_A
    return PeriodicCell(np.diag(high - low), low, (False, False, False))


def _extracted(segment: Any) -> ExtractedLine:
    line = DislocationLine(np.array(segment.points, np.float64), -np.array(segment.spatial_burgers_vector, np.float64))
    # Adding 0 turns -0 into 0.
    first, second, third = (-np.array(segment.true_burgers_vector, np.float64)).round(4) + 0.0
    return ExtractedLine(line, (float(first), float(second), float(third)))
