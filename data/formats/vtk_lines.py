"""Polylines in VTK's XML format for ParaView and VisIt: one cell a line, with numbers on each (``.vtp``).

The format is the PolyData file of the VTK User's Guide (Kitware, 11th ed., section 19.3), in its text encoding.
VTK's own library is a large dependency for a few lines of XML. Free of torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.whole_file import whole_file

SUFFIX = ".vtp"
TYPES = {"f": "Float64", "i": "Int64", "u": "Int64"}
"""VTK's name of the type by the kind of NumPy's."""


def check_vtk_name(path: str | Path) -> Path:
    """``path`` if ParaView will know it for what it is: asked before work, not after."""
    if Path(path).suffix != SUFFIX:
        raise ValueError(f"vtk output must end in {SUFFIX}, got {str(path)!r}")
    return Path(path)


def write_vtk_lines(
    path: str | Path, lines: Sequence[NDArray[np.float64]], cell_data: Mapping[str, ArrayLike] | None = None
) -> None:
    """Write ``lines``, whole or not at all.

    Parameters
    ----------
    path : ends in ``.vtp``
    lines : sequence of (n, 3)
        Points of each; a closed loop repeats its first.
    cell_data : by name, (lines,) or (lines, components)
        Numbers of each line; NaN where there is none.

    Raises
    ------
    ValueError
        If the name ends otherwise, a line has fewer than two points, or numbers are not one row a line.
    """
    check_vtk_name(path)
    for points in lines:
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2:
            raise ValueError(f"lines must have shape (n, 3) with n of at least 2, got {points.shape}")
    arrays = {name: np.asarray(values) for name, values in (cell_data or {}).items()}
    for name, values in arrays.items():
        if len(values) != len(lines) or values.ndim not in (1, 2):
            raise ValueError(f"{name} must have one row for each of {len(lines)} lines, got shape {values.shape}")
    ends = np.cumsum([len(points) for points in lines], dtype=np.int64)
    every = np.concatenate([np.empty((0, 3)), *lines])
    root = ElementTree.Element("VTKFile", type="PolyData", version="1.0", byte_order="LittleEndian")
    piece = ElementTree.SubElement(
        ElementTree.SubElement(root, "PolyData"), "Piece",
        NumberOfPoints=str(len(every)), NumberOfVerts="0", NumberOfLines=str(len(lines)), NumberOfStrips="0",
        NumberOfPolys="0",
    )  # fmt: skip
    _add(ElementTree.SubElement(piece, "Points"), "points", every)
    cells = ElementTree.SubElement(piece, "Lines")
    _add(cells, "connectivity", np.arange(len(every)))
    _add(cells, "offsets", ends)
    numbers = ElementTree.SubElement(piece, "CellData")
    for name, values in arrays.items():
        _add(numbers, name, values)
    with whole_file(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)


def _add(parent: ElementTree.Element, name: str, values: NDArray[np.generic]) -> None:
    columns = values[:, None] if values.ndim == 1 else values
    array = ElementTree.SubElement(parent, "DataArray", type=TYPES[values.dtype.kind], Name=name, format="ascii")
    array.set("NumberOfComponents", str(columns.shape[1]))
    # repr of a float reads back as the same number.
    array.text = "\n".join(" ".join(map(repr, row)) for row in columns.tolist())
