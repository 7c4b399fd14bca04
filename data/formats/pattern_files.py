"""Any file of a Bragg peak as an ``Exposure``: our own, CXI, NumPy's, TIFF stacks and frame directories.

Axes: a stack is (frame, row, column), and these become (x, y, z) of the exposure. Counts are
the file's own numbers. The geometry comes from the file (ours) or from a SPEC file beside the
frames; without one ``grid`` is None and results come in voxels. Free of torch.
"""

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from cdi.pattern import Exposure
from data.formats.beamline_files import DARK, WHITEFIELD, find_scan, measured_pixels, read_image, read_tiff
from data.formats.cxi_file import is_cxi, read_cxi
from data.pattern_store import PATTERN_FORMAT, read_pattern
from data.store import SampleFile, open_hdf5

STACK_KEYS = ("frames", "counts", "intensity", "data")
FORMATS = (
    "HDF5 of cdi simulate or cdi generate (.h5), CXI (.cxi), NumPy stacks (.npy, .npz with one of the arrays "
    f"{', '.join(STACK_KEYS)}), TIFF stacks (.tif), a directory of TIFF frames"
)


@dataclass(frozen=True)
class Stack:
    """Frames ``(frame, row, column)`` as read, and angles and usable voxels where the file tells them."""

    counts: NDArray[np.generic]
    theta_deg: NDArray[np.float64] | None = None
    usable: NDArray[np.bool_] | None = None


def read_exposure(
    path: str | Path, *, index: int | None = None, spec: str | Path | None = None, scan: int | None = None
) -> Exposure:
    """The exposure in ``path``.

    Parameters
    ----------
    path : file or directory, recognised by its content; see ``FORMATS``.
    index : position of the sample in a data set of ``cdi generate``; only there, and needed
        unless it holds a single one.
    spec, scan : SPEC file and scan number of a measurement. By default the only ``*.spec`` in
        the directory (or the one above the frames), and the scan named in the frames' names or
        told by equal angles.

    Raises
    ------
    ValueError
        One line with the path: unknown format, damage, frames of different sizes, NaN, a wrong
        number of dimensions, an argument that the format does not take.
    OSError
        If the path does not exist or cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_file() and h5py.is_hdf5(path) and not is_cxi(path):
        if spec is not None or scan is not None:
            raise ValueError(f"--spec and --scan must be left out for {path}: the file holds its own geometry")
        return _from_hdf5(path, index)
    if index is not None:
        raise ValueError(f"--index must be left out for {path}: it holds a single pattern")
    stack = _reader(path)(path)
    return _exposed(path, stack, None if spec is None else Path(spec), scan)


def _reader(path: Path) -> Callable[[Path], Stack]:
    if path.is_dir():
        return _frames
    if h5py.is_hdf5(path):
        return _cxi
    with path.open("rb") as file:
        head = file.read(8)
    starts: dict[bytes, Callable[[Path], Stack]] = {
        b"\x93NUMPY": _npy,
        b"PK\x03\x04": _npz,
        b"II*\x00": _tiff_stack,
        b"MM\x00*": _tiff_stack,
        b"II+\x00": _tiff_stack,
        b"MM\x00+": _tiff_stack,
    }
    for start, reader in starts.items():
        if head.startswith(start):
            return reader
    if path.suffix in (".h5", ".hdf5"):
        open_hdf5(path)  # says what it is instead
    raise ValueError(f"{path} must be one of: {FORMATS}; got a file that starts with {head!r}")


def _from_hdf5(path: Path, index: int | None) -> Exposure:
    with open_hdf5(path) as file:
        is_pattern = file.attrs.get("format") == PATTERN_FORMAT or ("intensity" in file and "q_x" in file)
    if is_pattern:
        if index is not None:
            raise ValueError(f"--index must be left out for {path}: it holds a single pattern")
        return read_pattern(path)
    with SampleFile(path) as samples:
        if index is None and len(samples) > 1:
            raise ValueError(f"{path} holds {len(samples)} samples; choose one with --index 0 to {len(samples) - 1}")
        position = 0 if index is None else index
        if not 0 <= position < len(samples):
            raise ValueError(f"--index must lie in [0, {len(samples) - 1}] for {path}, got {position}")
        return samples[position].exposure


def _exposed(path: Path, stack: Stack, spec: Path | None, number: int | None) -> Exposure:
    counts = stack.counts
    if counts.ndim != 3:
        raise ValueError(f"{path} must hold a three-dimensional array (frame, row, column), got shape {counts.shape}")
    shape = (counts.shape[0], counts.shape[1], counts.shape[2])
    scan = find_scan(path, spec=spec, number=number, theta_deg=stack.theta_deg)
    grid = None if scan is None else scan.rocking(shape).grid()
    good = measured_pixels(path, shape[1:], scan)
    masks = [
        mask for mask in (None if good is None else np.broadcast_to(good, shape), stack.usable) if mask is not None
    ]
    mask = np.logical_and.reduce(masks) if masks else None
    try:
        return Exposure(counts.astype(np.float32), grid, mask)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _cxi(path: Path) -> Stack:
    counts, usable = read_cxi(path)
    return Stack(counts, usable=usable)


def _npy(path: Path) -> Stack:
    try:
        return Stack(np.load(path, allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} must be a readable array of numbers, it is truncated or damaged ({error})") from error


def _npz(path: Path) -> Stack:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            keys = [key for key in STACK_KEYS if key in arrays]
            if len(keys) != 1:
                raise ValueError(
                    f"it must hold exactly one of {', '.join(STACK_KEYS)}, it holds {', '.join(arrays.files)}"
                )
            theta = np.asarray(arrays["theta_deg"], np.float64) if "theta_deg" in arrays else None
            return Stack(arrays[keys[0]], theta)
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no readable stack: {error}") from error


def _tiff_stack(path: Path) -> Stack:
    return Stack(read_tiff(path))


def _frames(directory: Path) -> Stack:
    """Frames in the natural order of their names (…_9 before …_10), read into one array."""
    paths = sorted(
        (p for p in directory.iterdir() if p.suffix.lower() in (".tif", ".tiff") and p.name not in (DARK, WHITEFIELD)),
        key=lambda p: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", p.name)],
    )
    if not paths:
        raise ValueError(f"{directory} must hold TIFF frames (*.tif), got none")
    first = read_image(paths[0])
    stack = np.empty((len(paths), *first.shape), first.dtype)
    for position, path in enumerate(paths):
        frame = read_image(path)
        if frame.shape != first.shape or frame.dtype != first.dtype:
            raise ValueError(
                f"frames in {directory} must be alike, got {first.shape} {first.dtype} in {paths[0].name} "
                f"and {frame.shape} {frame.dtype} in {path.name}"
            )
        stack[position] = frame
    return Stack(stack)
