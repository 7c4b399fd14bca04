"""MATLAB's ``.mat`` files up to version 7.2 (``scipy.io``); later ones are HDF5 (``hdf5_file``). Free of torch."""

from pathlib import Path
from typing import Any

import numpy as np

from data.formats.numpy_files import GRID_KEYS, stored_grid
from data.formats.stack import STACK_KEYS, Stack, StackOptions, check_announced, one_line, only_stack, usable_from

MAGIC = b"MATLAB 5.0 MAT"
NUMBERS = ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
"""MATLAB's classes that are arrays of numbers; structs, cells, objects and functions are not read."""


def read_mat(path: Path, options: StackOptions) -> Stack:
    """The stack in ``path``: ``options.dataset``, or a variable of ``STACK_KEYS``, or the only three-dimensional one.

    Axes are MATLAB's own. ``mask`` (1: usable), ``theta_deg`` and the grid ``q_centre``, ``q_step`` are read too.

    Raises
    ------
    ValueError
        If there is no such variable, it is no array of numbers, too large, or the file is damaged.
    """
    from scipy.io import loadmat, whosmat

    try:
        found = {name: (tuple(shape), kind) for name, shape, kind in whosmat(path)}
        numbers = {name: shape for name, (shape, kind) in found.items() if kind in NUMBERS}
        name = options.dataset or next((key for key in STACK_KEYS if key in numbers), None)
        if name is None:
            name = only_stack(numbers, "NAME")
        if name not in numbers:
            what = f"a {found[name][1]}" if name in found else f"only {', '.join(found) or 'nothing'}"
            raise ValueError(f"it must hold {name!r} as an array of numbers, it holds {what}")
        check_announced(numbers[name], np.dtype(np.float64))
        beside = [key for key in ("mask", "theta_deg", *GRID_KEYS) if key in numbers]
        arrays: dict[str, Any] = loadmat(path, variable_names=[name, *beside], appendmat=False)
    except Exception as error:  # its parser raises whatever the damage makes it
        raise one_line(path, error) from error
    try:
        usable = usable_from(arrays["mask"], "good") if "mask" in arrays else None
        theta = np.asarray(arrays["theta_deg"], np.float64).ravel() if "theta_deg" in arrays else None
        return Stack(arrays[name], theta, usable, stored_grid(arrays, arrays[name].shape))
    except ValueError as error:
        raise one_line(path, error) from error
