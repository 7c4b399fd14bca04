"""Dislocation lines in a file: of ``cdi lines`` and ``cdi relax`` (JSON), of OVITO (``.ca``); for ParaView.

Free of torch.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.formats.ca_file import is_ca, read_ca
from data.formats.vtk_lines import write_vtk_lines
from data.molecular_dynamics.dxa import ExtractedLine
from data.molecular_dynamics.lines_file import read_lines


def holds_lines(path: Path) -> bool:
    """Whether ``path`` is a file that ``read_line_file`` reads."""
    return path.is_file() and (path.suffix == ".json" or is_ca(path))


def read_line_file(path: Path) -> tuple[ExtractedLine, ...]:
    """The lines in ``path``, RH/FS, in Å.

    Raises
    ------
    ValueError
        If it is no file of lines, or damaged.
    OSError
        If it cannot be read.
    """
    return read_ca(path) if is_ca(path) else read_lines(path)


def write_extracted_lines(path: str | Path, lines: Sequence[ExtractedLine]) -> None:
    """Write ``lines`` for ParaView with their Burgers vectors, lengths and characters."""
    data = {
        "burgers_A": np.array([found.line.burgers for found in lines]).reshape(-1, 3),
        "burgers_lattice": np.array([found.burgers_lattice for found in lines]).reshape(-1, 3),
        "length_A": np.array([found.line.length for found in lines], np.float64),
        "character_deg": np.array([found.line.character_deg for found in lines], np.float64),
    }
    write_vtk_lines(path, [found.line.points for found in lines], data)
