"""Polylines for ParaView and VisIt: one cell a line, with numbers on each. Free of torch.

PolyData (``.vtp``) or, for programs that read no other, an unstructured grid (``.vtu``).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.formats.vtk_xml import add_text, checked_suffix, vtk_file, write_vtk

SUFFIXES = (".vtp", ".vtu")
POLY_LINE = 4
"""VTK's number of the cell type."""


def check_vtk_name(path: str | Path) -> Path:
    """``path`` if ParaView will know it for lines: asked before work, not after.

    Raises
    ------
    ValueError
        If it ends otherwise.
    """
    return checked_suffix(path, *SUFFIXES)


def write_vtk_lines(
    path: str | Path, lines: Sequence[NDArray[np.float64]], cell_data: Mapping[str, ArrayLike] | None = None
) -> None:
    """Write ``lines``, whole or not at all.

    Parameters
    ----------
    path : ends in ``.vtp`` or ``.vtu``
    lines : sequence of (n, 3)
        Points of each; a closed loop repeats its first.
    cell_data : by name, (lines,) or (lines, components)
        Numbers of each line; NaN where there is none.

    Raises
    ------
    ValueError
        If the name ends otherwise, a line has fewer than two points, or numbers are not one row a line.
    """
    polygonal = check_vtk_name(path).suffix == ".vtp"
    for points in lines:
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2:
            raise ValueError(f"lines must have shape (n, 3) with n of at least 2, got {points.shape}")
    arrays = {name: np.asarray(values) for name, values in (cell_data or {}).items()}
    for name, values in arrays.items():
        if len(values) != len(lines) or values.ndim not in (1, 2):
            raise ValueError(f"{name} must have one row for each of {len(lines)} lines, got shape {values.shape}")
    every = np.concatenate([np.empty((0, 3)), *lines])
    root = vtk_file("PolyData" if polygonal else "UnstructuredGrid")
    piece = _piece(root, polygonal, len(every), len(lines))
    add_text(ElementTree.SubElement(piece, "Points"), "points", every)
    cells = ElementTree.SubElement(piece, "Lines" if polygonal else "Cells")
    add_text(cells, "connectivity", np.arange(len(every)))
    add_text(cells, "offsets", np.cumsum([len(points) for points in lines], dtype=np.int64))
    if not polygonal:
        add_text(cells, "types", np.full(len(lines), POLY_LINE))
    numbers = ElementTree.SubElement(piece, "CellData")
    for name, values in arrays.items():
        add_text(numbers, name, values)
    write_vtk(path, root)


def _piece(root: ElementTree.Element, polygonal: bool, points: int, lines: int) -> ElementTree.Element:
    kind = ElementTree.SubElement(root, root.get("type", ""))
    if not polygonal:
        return ElementTree.SubElement(kind, "Piece", NumberOfPoints=str(points), NumberOfCells=str(lines))
    return ElementTree.SubElement(
        kind, "Piece", NumberOfPoints=str(points), NumberOfVerts="0", NumberOfLines=str(lines), NumberOfStrips="0",
        NumberOfPolys="0",
    )  # fmt: skip
