"""Volumes for ParaView and VisIt, each value at its point, on voxels that may be sheared. Free of torch.

``.vti`` (ImageData) is what ParaView renders fastest, with steps along the axes or, from VTK 9 on, along turned ones
(``Direction``); sheared steps need a structured grid (``.vts``), which names every point.
"""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.formats.vtk_xml import add_binary, checked_suffix, vtk_file, write_vtk

SUFFIXES = (".vti", ".vts")
PERPENDICULAR = 1e-6
"""Cosine up to which two steps count as perpendicular."""

Array = NDArray[np.float64]


def write_vtk_volumes(path: str | Path, volumes: Mapping[str, ArrayLike], step: ArrayLike, centre: ArrayLike) -> None:
    """Write ``volumes``, whole or not at all.

    Parameters
    ----------
    path : ends in ``.vti``, or in ``.vts`` for steps of any angle
    volumes : by name, (x, y, z) or (3, x, y, z)
        Real numbers; three volumes become one vector.
    step : (3, 3)
        Row i: from one point to the next along axis i.
    centre : (3,)
        The point of index ``N // 2``.

    Raises
    ------
    ValueError
        If the name ends otherwise, there is no volume, they differ in shape, or ``.vti`` is asked for sheared or
        left-handed steps.
    """
    suffix = checked_suffix(path, *SUFFIXES).suffix
    arrays = {name: _points(name, values) for name, values in volumes.items()}
    shapes = {shape for shape, _ in arrays.values()}
    if len(shapes) != 1:
        raise ValueError(f"volumes must be one or more of one shape, got {sorted(shapes) or 'none'}")
    (shape,) = shapes
    rows, middle = np.asarray(step, np.float64), np.asarray(centre, np.float64)
    origin = middle - np.array([n // 2 for n in shape]) @ rows
    extent = " ".join(f"0 {n - 1}" for n in shape)
    if suffix == ".vti":
        root, piece = _image(rows, origin, extent)
    else:
        root, piece = _structured(rows, origin, extent, shape)
    data = ElementTree.SubElement(piece, "PointData")
    for name, (_, values) in arrays.items():
        add_binary(data, name, values)
    write_vtk(path, root)


def _image(rows: Array, origin: Array, extent: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    lengths = np.linalg.norm(rows, axis=1)
    unit = rows / lengths[:, None]
    if np.abs(unit @ unit.T - np.eye(3)).max() > PERPENDICULAR or np.linalg.det(unit) < 0:
        raise ValueError("vtk output must end in .vts here: the voxels are sheared or left-handed, .vti knows no such")
    root = vtk_file("ImageData")
    image = ElementTree.SubElement(root, "ImageData", WholeExtent=extent)
    image.set("Origin", _words(origin))
    image.set("Spacing", _words(lengths))
    # VTK's columns are the directions of the axes.
    image.set("Direction", _words(unit.T.ravel()))
    return root, ElementTree.SubElement(image, "Piece", Extent=extent)


def _structured(
    rows: Array, origin: Array, extent: str, shape: tuple[int, ...]
) -> tuple[ElementTree.Element, ElementTree.Element]:
    root = vtk_file("StructuredGrid")
    grid = ElementTree.SubElement(root, "StructuredGrid", WholeExtent=extent)
    piece = ElementTree.SubElement(grid, "Piece", Extent=extent)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).reshape(*shape, 3)
    points = index.transpose(2, 1, 0, 3).reshape(-1, 3) @ rows + origin
    add_binary(ElementTree.SubElement(piece, "Points"), "points", points)
    return root, piece


def _points(name: str, values: ArrayLike) -> tuple[tuple[int, ...], NDArray[np.generic]]:
    """Shape of a volume, and its values in VTK's order: the first axis fastest."""
    volume = np.asarray(values)
    if volume.ndim not in (3, 4) or (volume.ndim == 4 and volume.shape[0] != 3) or volume.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be real, (x, y, z) or (3, x, y, z), got {volume.dtype} {volume.shape}")
    if volume.dtype.kind == "b":
        volume = volume.astype(np.uint8)
    elif volume.dtype != np.float64 and volume.dtype != np.uint8:
        volume = volume.astype(np.float32)
    if volume.ndim == 3:
        return volume.shape, volume.ravel(order="F")
    return volume.shape[1:], volume.transpose(3, 2, 1, 0).reshape(-1, 3)


def _words(numbers: Array) -> str:
    return " ".join(repr(float(x)) for x in numbers)
