"""Any file of a Bragg peak as an ``Exposure``, recognised by its content; each format has a module of its own.

Axes: a stack is (frame, row, column), and these become (x, y, z) of the exposure. Counts are
the file's own numbers. The geometry comes from the file (ours), from a SPEC file beside the
frames, or from a YAML file; without one ``grid`` is None and results come in voxels. Free of torch.
"""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from cdi.grid import QGrid
from cdi.pattern import Exposure
from data.formats.beamline_files import find_scan, measured_pixels, warn_of_contradictions
from data.formats.cxi_file import is_cxi, read_cxi_stack
from data.formats.geometry_file import read_geometry
from data.formats.hdf5_file import read_hdf5
from data.formats.mask_file import read_mask
from data.formats.mat_file import MAGIC, read_mat
from data.formats.numpy_files import read_npy, read_npz
from data.formats.stack import AS_THE_FILE_SAYS, STACK_KEYS, Stack, StackOptions, axis_order
from data.formats.tiff_files import read_frames, read_tiff_stack
from data.layout import FORMAT_NAME
from data.pattern_store import PATTERN_FORMAT, read_pattern
from data.store import SampleFile, open_hdf5

FORMATS = (
    "HDF5 of cdi simulate or cdi generate (.h5), CXI (.cxi), NeXus or other HDF5, NumPy stacks (.npy, .npz with one of "
    f"the arrays {', '.join(STACK_KEYS)}), MATLAB (.mat), TIFF stacks (.tif), a directory of TIFF frames"
)
ANSWERS = ("cdi-prediction", "cdi-retrieval", "cdi-refinement")
"""Formats of HDF5 files of this program that hold no pattern."""


def read_exposure(
    path: str | Path,
    *,
    index: int | None = None,
    spec: str | Path | None = None,
    scan: int | None = None,
    options: StackOptions = AS_THE_FILE_SAYS,
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
    options : dataset, order of axes, mask and geometry, where the file does not tell them.

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
    own = own_format(path)
    if own in ANSWERS:
        raise ValueError(f"{path} must hold a pattern, got an answer ({own}); look at it with: cdi view {path}")
    if own:
        if spec is not None or scan is not None:
            raise ValueError(f"--spec and --scan must be left out for {path}: the file holds its own geometry")
        if options != AS_THE_FILE_SAYS:
            raise ValueError(
                f"--dataset, --axes, --mask and --geometry must be left out for {path}: the file tells them"
            )
        return _from_own(path, own, index)
    if index is not None:
        raise ValueError(f"--index must be left out for {path}: it holds a single pattern")
    stack = _reader(path)(path, options)
    if stack.grid is not None and (spec, scan, options.axes, options.geometry) != (None,) * 4:
        raise ValueError(
            f"--spec, --scan, --axes and --geometry must be left out for {path}: the file holds its own geometry"
        )
    return _exposed(path, stack, None if spec is None else Path(spec), scan, options)


def own_format(path: Path) -> str:
    """The format that an HDF5 file of this program names, "" for anything else."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return ""
    with open_hdf5(path) as file:
        name = file.attrs.get("format", "")
        if not name and "q_x" in file and "intensity" in file:
            return PATTERN_FORMAT
        return name if isinstance(name, str) and name in (*ANSWERS, PATTERN_FORMAT, FORMAT_NAME) else ""


def _reader(path: Path) -> Callable[[Path, StackOptions], Stack]:
    if path.is_dir():
        return read_frames
    if h5py.is_hdf5(path):
        return read_cxi_stack if is_cxi(path) else read_hdf5
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    starts: dict[bytes, Callable[[Path, StackOptions], Stack]] = {
        b"\x93NUMPY": read_npy,
        b"PK\x03\x04": read_npz,
        b"II*\x00": read_tiff_stack,
        b"MM\x00*": read_tiff_stack,
        b"II+\x00": read_tiff_stack,
        b"MM\x00+": read_tiff_stack,
        MAGIC: read_mat,
    }
    for start, reader in starts.items():
        if head.startswith(start):
            return reader
    if path.suffix in (".h5", ".hdf5", ".cxi", ".nxs"):
        open_hdf5(path)  # says what it is instead
    got = f"a file that starts with {head[:8]!r}" if head else "an empty file"
    raise ValueError(f"{path} must be one of: {FORMATS}; got {got}")


def _from_own(path: Path, own: str, index: int | None) -> Exposure:
    if own == PATTERN_FORMAT:
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


def _exposed(path: Path, stack: Stack, spec: Path | None, number: int | None, options: StackOptions) -> Exposure:
    if options.geometry is not None and (spec is not None or number is not None):
        raise ValueError("--geometry must be left out with --spec or --scan: each tells the geometry")
    if stack.counts.ndim != 3:
        got = stack.counts.shape
        raise ValueError(f"{path} must hold a three-dimensional array (frame, row, column), got shape {got}")
    scan = None
    if stack.grid is None and options.geometry is None:
        scan = find_scan(path, spec=spec, number=number, theta_deg=stack.theta_deg)
    theta = scan.theta_deg if scan is not None else stack.theta_deg
    frames = None if theta is None or stack.grid is not None else len(theta)
    order = axis_order(stack.counts.shape, options.axes, frames, origin=str(path))
    counts = stack.counts.transpose(order)
    shape = (counts.shape[0], counts.shape[1], counts.shape[2])
    grid = stack.grid
    if scan is not None:
        warn_of_contradictions(counts, scan, path)
        grid = scan.rocking(shape).grid()
    elif options.geometry is not None:
        grid = read_geometry(options.geometry, shape).grid()
    given = None if options.mask is None else read_mask(Path(options.mask), options.mask_marks, stack.counts.shape)
    usable = [measured_pixels(path, shape[1:], scan), *(_ordered(mask, order) for mask in (stack.usable, given))]
    return _checked(path, counts, grid, [mask for mask in usable if mask is not None])


def _ordered(mask: NDArray[np.bool_] | None, order: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """A mask of the stack's axes in the order of memory; one of a frame is that of (row, column) already."""
    return mask.transpose(order) if mask is not None and mask.ndim == 3 else mask


def _checked(path: Path, counts: NDArray[np.generic], grid: QGrid | None, usable: list[NDArray[np.bool_]]) -> Exposure:
    for mask in usable:
        if mask.shape not in (counts.shape, counts.shape[1:]):
            raise ValueError(f"{path}: mask must have the shape of the frames {counts.shape[1:]}, got {mask.shape}")
    every = np.logical_and.reduce([np.broadcast_to(mask, counts.shape) for mask in usable]) if usable else None
    try:
        return Exposure(counts.astype(np.float32), grid, every)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
