"""A stack of detector frames as a file holds it, and how to read it: axes, masks, limits. Free of torch.

Axes are named by letters: ``f`` the rocking axis (frames), ``r`` rows, ``c`` columns; ``frc`` is the order in memory.
"""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdi.grid import MAX_VOXELS, QGrid

AXES = "frc"
STACK_KEYS = ("frames", "counts", "intensity", "data")
"""Names under which NumPy and MATLAB files are asked for a stack."""


class HeaderWarning(UserWarning):
    """A file contradicts itself, or what was read of it had to be guessed: says what contradicts what."""


@dataclass(frozen=True)
class StackOptions:
    """What the user says of a file of frames; None where the file is to tell.

    Parameters
    ----------
    dataset : path within an HDF5, ``.npz`` or ``.mat`` file.
    axes : the file's axes in order, a permutation of ``frc``.
    mask : file of a mask, (row, column) or of the stack's shape and axes.
    mask_marks : ``bad`` if its non-zero pixels are unusable (NeXus, PyNX, pyFAI), ``good`` the other way round.
    geometry : YAML of a ``data.formats.geometry_file.MeasuredScan``.

    Raises
    ------
    ValueError
        For another order of axes or another word.
    """

    dataset: str | None = None
    axes: str | None = None
    mask: str | None = None
    mask_marks: str = "bad"
    geometry: str | None = None

    def __post_init__(self) -> None:
        if self.axes is not None and sorted(self.axes) != sorted(AXES):
            raise ValueError(
                f"axes must name frames, rows and columns in the file's order, e.g. frc or rcf, got {self.axes!r}"
            )
        if self.mask_marks not in ("bad", "good"):
            raise ValueError(f"mask_marks must be bad or good, got {self.mask_marks!r}")


AS_THE_FILE_SAYS = StackOptions()


@dataclass(frozen=True)
class Stack:
    """Frames as read, in the file's order of axes, and what it tells of them.

    ``usable`` is True where a count is: of the stack's shape, or one frame's (row, column). ``grid`` belongs to files
    that hold their own geometry, whose axes are those in memory.
    """

    counts: NDArray[np.generic]
    theta_deg: NDArray[np.float64] | None = None
    usable: NDArray[np.bool_] | None = None
    grid: QGrid | None = None


def check_announced(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise ``ValueError`` unless a header announces a stack that can be read: asked before memory is taken."""
    if dtype.kind not in "biuf":
        raise ValueError(f"it must hold real numbers, got an array of {dtype.name if dtype.kind != 'O' else 'objects'}")
    if len(shape) != 3:
        raise ValueError(f"it must hold a three-dimensional array (frame, row, column), got shape {tuple(shape)}")
    voxels = math.prod(shape)
    if voxels > MAX_VOXELS:
        raise ValueError(
            f"it must hold at most {MAX_VOXELS} voxels, its header announces {' × '.join(map(str, shape))} "
            f"({voxels * dtype.itemsize / 1e9:.0f} GB): damaged, or crop it around the peak first"
        )


def only_stack(found: dict[str, tuple[int, ...]], what: str) -> str:
    """The name of the one three-dimensional array among ``found`` (shapes by name).

    Raises
    ------
    ValueError
        If there is none, or several; lists them.
    """
    stacks = {name: shape for name, shape in found.items() if len(shape) == 3}
    if len(stacks) == 1:
        return next(iter(stacks))
    listed = ", ".join(f"{name} {shape}" for name, shape in [*(stacks or found).items()][:8]) or "nothing"
    if not stacks:
        raise ValueError(f"it must hold a three-dimensional array (frame, row, column), it holds {listed}")
    raise ValueError(f"it holds {len(stacks)} stacks; choose one with --dataset {what}: {listed}")


def axis_order(shape: tuple[int, ...], axes: str | None, frames: int | None, *, origin: str) -> tuple[int, ...]:
    """The axes of ``shape`` that are frames, rows and columns.

    Parameters
    ----------
    axes : the file's order; None: frames come first, or lie along the one axis that is ``frames`` long.
    frames : points of the rocking curve, where it is known.
    origin : names the file in messages.

    Raises
    ------
    ValueError
        If the rocking axis is unknown: none, or several axes other than the first, have that length.
    """
    if axes is not None:
        return tuple(axes.index(letter) for letter in AXES)
    if frames is None or shape[0] == frames:
        return (0, 1, 2)
    matching = [axis for axis, length in enumerate(shape) if length == frames]
    if len(matching) != 1:
        number = "no axis" if not matching else f"{len(matching)} axes"
        raise ValueError(
            f"rocking axis of {origin} is unknown: the scan has {frames} points, {number} of {shape} so many; "
            "name the axes in order with --axes, e.g. --axes rcf, or check the scan's number"
        )
    order = (matching[0], *(axis for axis in range(3) if axis != matching[0]))
    letters = dict(zip(order, AXES, strict=True))
    warnings.warn(
        f"{origin}: axis {matching[0]} is taken as the rocking axis, as the scan has {frames} points and the shape is "
        f"{shape}; --axes {''.join(letters[axis] for axis in range(3))} says so",
        HeaderWarning,
        stacklevel=3,
    )
    return order


def usable_from(mask: NDArray[np.generic], marks: str) -> NDArray[np.bool_]:
    """Where counts are usable, from a mask whose non-zero values mark ``bad`` or ``good`` pixels.

    Raises
    ------
    ValueError
        If the mask holds no numbers, NaN, or leaves no pixel.
    """
    if mask.dtype.kind not in "biuf":
        raise ValueError(f"mask must hold numbers, got {mask.dtype}")
    if mask.dtype.kind == "f" and np.isnan(mask).any():
        raise ValueError(f"mask must be 0 or not 0 everywhere, got {int(np.isnan(mask).sum())} pixels that are NaN")
    usable: NDArray[np.bool_] = np.asarray((mask != 0) if marks == "good" else (mask == 0))
    if not usable.any():
        other = "bad" if marks == "good" else "good"
        raise ValueError(
            f"mask must leave a pixel, it leaves none; non-zero may mark {other} ones: --mask-marks {other}"
        )
    return usable


def one_line(path: Path, error: Exception) -> ValueError:
    """``error`` of reading ``path`` as one line."""
    return ValueError(f"{path} is no readable stack: {' '.join(str(error).split())}")
