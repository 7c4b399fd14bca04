"""Crystals in real space as phasing or the network made them: of this program, PyNX (CXI), cohere (``.npy``).

Free of torch.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cdi.drawn_crystal import DrawnCrystal, DrawnLine
from cdi.grid import MAX_VOXELS
from cdi.surface import isosurface
from data.formats.cxi_file import IMAGE

Array = NDArray[np.float64]

PREDICTION, RETRIEVAL = "cdi-prediction", "cdi-retrieval"
SUPPORT_LEVEL, DENSITY_LEVEL = 0.5, 0.25
"""Where a crystal's surface is drawn: of a predicted support, and of a phased density relative to its maximum."""


@dataclass(frozen=True, eq=False)
class RealSpaceObject:
    """What a pattern, or several of one crystal, showed in real space.

    Parameters
    ----------
    names : of the patterns.
    magnitude : (patterns, x, y, z)
        Support or density, at most 1.
    phase : (patterns, x, y, z) in radians
    voxel : (patterns, 3, 3)
        Row i: from one voxel to the next along axis i; index ``N // 2`` is the origin.
    unit : ``Å`` or ``voxels``
    level : of the crystal's surface in ``magnitude``.
    lines : in the crystal.
    """

    names: tuple[str, ...]
    magnitude: Array
    phase: Array
    voxel: Array
    unit: str
    level: float
    lines: tuple[DrawnLine, ...] = ()

    def drawn(self, title: str) -> DrawnCrystal:
        """The crystal to be drawn: its surface with each reflection's phase on it, and its lines.

        Raises
        ------
        MissingDependencyError
            If scikit-image is not installed.
        """
        surfaces = {
            name: isosurface(magnitude, self.level, voxel, phase)
            for name, magnitude, voxel, phase in zip(self.names, self.magnitude, self.voxel, self.phase, strict=True)
            if magnitude.max() > self.level
        }
        return DrawnCrystal(title, surfaces, self.lines, self.unit)


def holds_object(path: Path) -> bool:
    """Whether ``path`` is a file that ``read_object`` reads."""
    if path.is_file() and h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            image = file.get(f"{IMAGE}/data")
            complex_image = isinstance(image, h5py.Dataset) and image.dtype.kind == "c"
            return file.attrs.get("format") in (PREDICTION, RETRIEVAL) or complex_image
    return path.suffix == ".npy" and path.is_file() and _npy_type(path).kind == "c"


def read_object(path: Path) -> RealSpaceObject:
    """The crystal in ``path``.

    Raises
    ------
    ValueError
        If the file holds none, or is damaged, too large, or holds NaN.
    OSError
        If it cannot be read.
    """
    try:
        if path.suffix == ".npy":
            found = _of_density(np.load(path, allow_pickle=False)[None], (path.name,), None)
        else:
            with h5py.File(path, "r") as file:
                readers = {PREDICTION: _prediction, RETRIEVAL: _retrieval}
                found = readers.get(file.attrs.get("format", ""), _cxi_image)(file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path} holds no readable crystal: {' '.join(str(error).split())}") from error
    if not (np.isfinite(found.magnitude).all() and np.isfinite(found.phase).all()):
        raise ValueError(f"{path} holds no readable crystal: it has NaN or infinity")
    return found


def _prediction(file: h5py.File) -> RealSpaceObject:
    phase, support = _volume(file["phase"], 4), _volume(file["support"], 3)
    answer: dict[str, Any] = json.loads(file.attrs["prediction"])
    known = "voxel" in file
    voxel = file["voxel"][()] if known else np.eye(3)
    lines = tuple(
        DrawnLine(
            np.array(line["points_A"], np.float64).reshape(-1, 3),
            None if line["burgers"] is None else np.array(line["burgers"], np.float64),
            f"confidence {line['confidence']:.2f}",
        )
        for line in answer["lines"]
    )
    names = tuple(Path(str(name)).name for name in file.attrs["sources"])
    return RealSpaceObject(
        names, np.broadcast_to(support, phase.shape).astype(np.float64), phase.astype(np.float64),
        np.broadcast_to(voxel, (len(phase), 3, 3)), "Å" if known else "voxels", SUPPORT_LEVEL, lines,
    )  # fmt: skip


def _retrieval(file: h5py.File) -> RealSpaceObject:
    names = tuple(Path(str(name)).name for name in file.attrs.get("sources", ()))
    found = _of_density(_volume(file["density"], 4), names, file["voxel"][()] if "voxel" in file else None)
    ends = np.cumsum(file["line_point_count"][()])
    points = np.split(file["line_points"][()], ends[:-1]) if len(ends) else []
    lines = tuple(
        DrawnLine(np.asarray(line, np.float64), None, f"winding {winding:+d}, confidence {sure:.2f}")
        for line, winding, sure in zip(points, file["line_winding"][()], file["line_confidence"][()], strict=True)
    )
    return RealSpaceObject(**{**vars(found), "lines": lines})


def _cxi_image(file: h5py.File) -> RealSpaceObject:
    """PyNX's and others' result: a complex image in real space, the origin in the middle."""
    image = file.get(f"{IMAGE}/data")
    if not isinstance(image, h5py.Dataset) or image.dtype.kind != "c":
        raise ValueError(f"it must hold a complex {IMAGE}/data, or be of cdi predict --volumes or cdi retrieve")
    density = _volume(image, 3)
    return _of_density(density[None], (Path(file.filename).name,), None)


def _of_density(density: NDArray[Any], names: tuple[str, ...], voxel: Array | None) -> RealSpaceObject:
    if density.ndim != 4 or density.dtype.kind != "c":
        raise ValueError(f"it must be a complex volume (x, y, z), got {density.dtype} of {density.ndim - 1} dimensions")
    magnitude = np.abs(density).astype(np.float64)
    top = magnitude.max((-3, -2, -1), keepdims=True)
    steps = np.broadcast_to(np.eye(3), (len(density), 3, 3)) if voxel is None else voxel
    return RealSpaceObject(
        names or tuple(f"pattern {n}" for n in range(len(density))), magnitude / np.maximum(top, 1e-30),
        np.angle(density).astype(np.float64), steps, "voxels" if voxel is None else "Å", DENSITY_LEVEL,
    )  # fmt: skip


def _volume(data: h5py.Dataset, dimensions: int) -> NDArray[Any]:
    if data.ndim != dimensions or data.size > MAX_VOXELS:
        raise ValueError(f"{data.name} must have {dimensions} axes and at most {MAX_VOXELS} voxels, got {data.shape}")
    return np.asarray(data[()])


def _npy_type(path: Path) -> np.dtype:
    try:
        found: np.dtype = np.load(path, mmap_mode="r", allow_pickle=False).dtype
        return found
    except (ValueError, EOFError, OSError):
        return np.dtype(float)
