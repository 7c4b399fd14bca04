"""The periodic box of a simulation's snapshot, where its file says that there is one. Free of torch."""

import warnings
from pathlib import Path

import numpy as np

from data.formats.atom_files import file_format
from data.molecular_dynamics.dxa import PeriodicCell

SAYS_WHAT_IS_PERIODIC = ("extxyz", "lammps-dump-text")
"""Formats that record which directions repeat; LAMMPS data does not."""


def read_cell(path: str | Path) -> PeriodicCell | None:
    """Box of the last frame in ``path``, or None where no direction is periodic.

    ``data.formats.atom_files.read_atoms`` is to be asked first: it says what is wrong with a file.
    """
    from ase.io import read

    kind = file_format(Path(path))
    if kind not in SAYS_WHAT_IS_PERIODIC:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = read(path, index=-1, format=kind)
    x, y, z = map(bool, frame.pbc)
    if not (x or y or z):
        return None
    return PeriodicCell(np.asarray(frame.cell), np.ravel(frame.get_celldisp()), (x, y, z))
