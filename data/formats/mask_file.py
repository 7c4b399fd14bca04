"""Masks and dead-pixel maps in a file of their own: NumPy, TIFF, HDF5. Free of torch."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data.formats.numpy_files import read_array
from data.formats.stack import check_announced, usable_from
from data.formats.tiff_files import read_tiff


def read_mask(path: Path, marks: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where counts are usable: of ``shape``, the stack's, or of one frame.

    Parameters
    ----------
    marks : ``bad`` or ``good``: what non-zero pixels are.

    Raises
    ------
    ValueError
        If the file is no mask, is damaged, holds NaN, or has another shape.
    OSError
        If it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the mask {path} does not exist")
    mask = _array(path)
    if mask.ndim == 3 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.ndim not in (2, 3) or (mask.ndim == 3 and mask.shape != shape):
        raise ValueError(f"mask {path} must have the shape of the stack {shape} or of a frame, got {mask.shape}")
    try:
        return usable_from(mask, marks)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _array(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith((b"\x93NUMPY", b"PK\x03\x04")):
        return read_array(path)
    if head.startswith((b"II", b"MM")):
        return read_tiff(path)
    if h5py.is_hdf5(path):
        return _only_dataset(path)
    raise ValueError(f"mask {path} must be .npy, .npz, TIFF or HDF5, got a file that starts with {head!r}")


def _only_dataset(path: Path) -> NDArray[Any]:
    found: list[str] = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(
                lambda name, item: (
                    found.append(name) if isinstance(item, h5py.Dataset) and item.ndim in (2, 3) else None
                )
            )
            if len(found) != 1:
                raise ValueError(f"it must hold one array, it holds {', '.join(found) or 'none'}")
            mask = file[found[0]]
            check_announced((1,) * (3 - mask.ndim) + mask.shape, mask.dtype)
            return np.asarray(mask[()])
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"mask {path} is not readable: {' '.join(str(error).split())}") from error
