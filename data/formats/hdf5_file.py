"""Any HDF5 or NeXus file: the stack at a path, or the one that the file marks as its own. Free of torch.

NeXus (Könnecke et al., J. Appl. Cryst. 48, 301, 2015) leads from the root by the attributes ``default`` to an
``NXdata`` group, whose ``signal`` names the dataset. MATLAB 7.3 files are HDF5 with the axes in reverse.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data.formats.stack import Stack, StackOptions, check_announced, one_line, only_stack

MASKS = ("pixel_mask", "mask")
"""Of NXdetector and of its relatives, beside the stack: not 0 where a pixel is unusable."""
MATLAB = b"MATLAB 7.3"


def read_hdf5(path: Path, options: StackOptions) -> Stack:
    """The stack at ``options.dataset``, or the file's default plot, or its only three-dimensional dataset of numbers.

    Raises
    ------
    ValueError
        If there is none or several, it is no stack of numbers, too large, or the file is damaged.
    """
    with path.open("rb") as head:
        reverse = head.read(len(MATLAB)) == MATLAB
    try:
        with h5py.File(path, "r") as file:
            name = options.dataset or _default(file) or only_stack(_stacks(file), "/PATH")
            found = file.get(name)
            if not isinstance(found, h5py.Dataset):
                raise ValueError(f"it must hold a dataset {name!r}; stacks: {', '.join(_stacks(file)) or 'none'}")
            shape = found.shape or ()
            check_announced(shape[::-1] if reverse else shape, found.dtype)
            counts, usable = found[()], _usable(found)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise one_line(path, error) from error
    if not reverse:
        return Stack(counts, usable=usable)
    return Stack(counts.T, usable=None if usable is None else usable.T)


def _default(file: h5py.File) -> str | None:
    """Path of the signal of the default plot."""
    group: Any = file
    for _ in range(8):
        signal = group.attrs.get("signal")
        if signal is not None:
            name = f"{group.name}/{_text(signal)}"
            return name if len(getattr(file.get(name), "shape", ())) == 3 else None
        below = group.get(_text(group.attrs.get("default", "")) or "/")
        if not isinstance(below, h5py.Group) or below == group:
            return None
        group = below
    return None


def _stacks(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """Shapes of the three-dimensional datasets of numbers by path; MATLAB's hidden groups aside."""
    found: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf" and len(item.shape or ()) == 3:
            found[f"/{name}"] = item.shape

    file.visititems(visit)
    return {name: shape for name, shape in found.items() if not name.startswith("/#")}


def _usable(stack: h5py.Dataset) -> NDArray[np.bool_] | None:
    for name in MASKS:
        mask = stack.parent.get(name)
        if isinstance(mask, h5py.Dataset) and mask != stack:
            if mask.shape not in (stack.shape, stack.shape[1:]):
                raise ValueError(
                    f"{mask.name} must have the shape of the stack {stack.shape} or of a frame, got {mask.shape}"
                )
            values = mask[()]
            if values.dtype.kind == "f" and np.isnan(values).any():
                raise ValueError(f"{mask.name} must be 0 or not 0 everywhere, got NaN")
            return np.asarray(values == 0)
    return None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
