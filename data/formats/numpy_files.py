"""NumPy's ``.npy`` and ``.npz``: headers are read and judged first, nothing is ever unpickled. Free of torch."""

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cdi.grid import QGrid
from data.formats.stack import STACK_KEYS, Stack, StackOptions, check_announced, one_line, usable_from

GRID_KEYS = ("q_centre", "q_step")


def read_npy(path: Path, options: StackOptions) -> Stack:
    """The stack in ``path``.

    Raises
    ------
    ValueError
        If it is no three-dimensional array of numbers, too large, truncated, or an array of objects.
    """
    if options.dataset is not None:
        raise ValueError(f"--dataset must be left out for {path}: an .npy file holds one array")
    try:
        with path.open("rb") as file:
            shape, dtype = _header(file)
            check_announced(shape, dtype)
            announced, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
        if there < announced:
            raise ValueError(f"it is truncated: its header announces {announced} bytes, {there} are there")
        return Stack(np.load(path, allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise one_line(path, error) from error


def read_npz(path: Path, options: StackOptions) -> Stack:
    """The stack in ``path``, under ``options.dataset`` or one of ``STACK_KEYS``.

    Beside it ``theta_deg``, ``mask`` (1: usable) and the grid ``q_centre``, ``q_step`` are read where they are there.

    Raises
    ------
    ValueError
        As ``read_npy``, or if no array has such a name, or several.
    """
    try:
        with zipfile.ZipFile(path) as members:
            headers = {}
            for name in members.namelist():
                with members.open(name) as file:
                    headers[name.removesuffix(".npy")] = _header(file)
        key = _key(options.dataset, headers)
        check_announced(*headers[key])
        with np.load(path, allow_pickle=False) as arrays:
            theta = np.asarray(arrays["theta_deg"], np.float64) if "theta_deg" in arrays else None
            usable = usable_from(arrays["mask"], "good") if "mask" in arrays else None
            return Stack(arrays[key], theta, usable, stored_grid(arrays, headers[key][0]))
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise one_line(path, error) from error


def stored_grid(arrays: Any, shape: tuple[int, ...]) -> QGrid | None:
    """The grid in a mapping of arrays, where both of its parts are there."""
    if not all(key in arrays for key in GRID_KEYS):
        return None
    centre, step = (np.asarray(arrays[key], np.float64) for key in GRID_KEYS)
    return QGrid(centre.reshape(3), step, (shape[0], shape[1], shape[2]))


def read_array(path: Path) -> NDArray[Any]:
    """One array of an ``.npy`` or the only one of an ``.npz``, of any shape up to a stack's size.

    Raises
    ------
    ValueError
        If it is damaged or holds objects.
    """
    try:
        found = np.load(path, allow_pickle=False, mmap_mode="r")
        if isinstance(found, np.ndarray):
            return np.array(found)
        with found:
            if len(found.files) != 1:
                raise ValueError(f"it must hold one array, it holds {', '.join(found.files) or 'none'}")
            return np.asarray(found[found.files[0]])
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise one_line(path, error) from error


def _key(wanted: str | None, headers: dict[str, Any]) -> str:
    if wanted is not None:
        if wanted not in headers:
            raise ValueError(f"it must hold {wanted!r}, it holds {', '.join(headers)}")
        return wanted
    keys = [key for key in STACK_KEYS if key in headers]
    if len(keys) != 1:
        raise ValueError(
            f"it must hold exactly one of {', '.join(STACK_KEYS)}, it holds {', '.join(headers)}; "
            "choose one with --dataset"
        )
    return keys[0]


def _header(file: "IO[bytes]") -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type that the array announces."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"it must be of NPY version 1 or 2, got {version}")
    shape, _, dtype = readers[version](file)
    return shape, dtype
