"""What may be done to an array on the simulation rank, before it is published.

Each operator says what it will deliver (``output``), so that ring slots are sized and a configuration is refused before
step 0, and then delivers just that. What it returns is a view of its input or memory of its own, written anew at the
next call; the input is never changed. NaN passes through: a frame that holds one is dropped by name later.

Voxels: the centre of N is N//2, and stays the centre voxel under ``Crop`` and ``Bin``. A bin's middle lies
(factor − 1)/2 fine voxels beyond its first one; the voxel is ``factor`` times as wide.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from inference_insitu.reduction.group import Array, Group

Shape = tuple[int, ...]
DType = np.dtype[Any]

SUMMED = ("float32", "float64", "complex64", "complex128")
"""What is summed over ranks: types that hold NaN, by which a rank says that its part is missing."""


class Workspace:
    """Arrays that are allocated once and written again at every step."""

    def __init__(self) -> None:
        self._arrays: dict[object, Array] = {}

    def array(self, name: object, shape: Shape, dtype: DType) -> Array:
        """The array ``name``, allocated anew only where its shape or type has changed."""
        found = self._arrays.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._arrays[name] = np.empty(shape, dtype)
        return found


class Operator(ABC):
    """One step of a reduction. Its options are its fields; a user's own derives from this class too.

    ``collective`` ones are called on all ranks at the same steps.
    """

    collective: ClassVar[bool] = False

    @abstractmethod
    def output(self, shape: Shape, dtype: DType) -> tuple[Shape, DType]:
        """Shape and type of what is delivered for an input of ``shape`` and ``dtype``.

        Raises
        ------
        ValueError
            If such an input cannot be reduced; the message names one that can.
        """

    @abstractmethod
    def __call__(self, array: Array, group: Group) -> Array | None:
        """The reduced array, or None where this rank's content went into another rank's."""


@dataclass(frozen=True)
class Crop(Operator):
    """The centred ``shape`` of the last axes, as a view: voxel N//2 becomes voxel n//2."""

    shape: Shape

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"crop: shape must hold lengths of at least 1, got {self.shape}")

    def output(self, shape: Shape, dtype: DType) -> tuple[Shape, DType]:
        """Leading axes are kept."""
        lengths = shape[len(shape) - len(self.shape) :]
        if len(self.shape) > len(shape) or any(n > N for n, N in zip(self.shape, lengths, strict=True)):
            raise ValueError(f"crop: shape must lie within {shape}, got {self.shape}")
        return (*shape[: len(shape) - len(self.shape)], *self.shape), dtype

    def __call__(self, array: Array, group: Group) -> Array:
        """A view of ``array``."""
        lengths = array.shape[array.ndim - len(self.shape) :]
        starts = [N // 2 - n // 2 for n, N in zip(self.shape, lengths, strict=True)]
        window: Any = (..., *(slice(start, start + n) for start, n in zip(starts, self.shape, strict=True)))
        return np.asarray(array[window])


@dataclass(frozen=True)
class Bin(Operator):
    """Sums of ``factor`` neighbours along each axis: photon counts add, and none is lost.

    One number is for every axis, a tuple for the last ones. Integers become 64 bits wide, as those of ``numpy.sum``,
    and float16 becomes float32, so that no sum overflows. Amplitudes add coherently: for intensities ``abs2`` first.
    """

    factor: int | tuple[int, ...]
    _memory: Workspace = field(default_factory=Workspace, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        factors = (self.factor,) if isinstance(self.factor, int) else self.factor
        if not factors or min(factors) < 1:
            raise ValueError(f"bin: factor must be at least 1 along each axis, got {self.factor}")

    def output(self, shape: Shape, dtype: DType) -> tuple[Shape, DType]:
        """Lengths that the factor does not divide are refused: cutting a remainder would lose counts unsaid."""
        factors = self._factors(len(shape))
        if any(N % f for N, f in zip(shape, factors, strict=True)):
            below = tuple(N - N % f for N, f in zip(shape, factors, strict=True))
            above = tuple(N + -N % f for N, f in zip(shape, factors, strict=True))
            mend = f"crop to {below} first or publish {above}" if min(below) else f"publish {above}"
            raise ValueError(f"bin: factor must divide the shape {shape}, got {self.factor}; {mend}")
        wide = np.dtype(np.float32) if dtype == np.float16 else np.add.reduce(np.empty(0, dtype)).dtype
        return tuple(N // f for N, f in zip(shape, factors, strict=True)), wide

    def __call__(self, array: Array, group: Group) -> Array:
        """The sums, axis by axis: adding whole slices is an order of magnitude faster than a sum over split axes."""
        _, dtype = self.output(array.shape, array.dtype)
        for axis, factor in enumerate(self._factors(array.ndim)):
            if factor == 1:
                continue
            parts = [array[(slice(None),) * axis + (slice(first, None, factor),)] for first in range(factor)]
            total = self._memory.array(axis, parts[0].shape, dtype)
            np.add(parts[0], parts[1], out=total, dtype=dtype)
            for part in parts[2:]:
                np.add(total, part, out=total)
            array = total
        return array.astype(dtype, copy=False)

    def _factors(self, axes: int) -> tuple[int, ...]:
        if isinstance(self.factor, int):
            return (self.factor,) * axes
        if len(self.factor) > axes:
            raise ValueError(f"bin: factor must hold at most {axes} numbers, one for each axis, got {self.factor}")
        return (*(1,) * (axes - len(self.factor)), *self.factor)


@dataclass(frozen=True)
class SumToRoot(Operator):
    """The sum over the ranks, at their root; the other ranks' content is in it.

    Amplitudes of parts of one object add, intensities of parts do not: ``sum_to_root`` stands before ``abs2``. All
    ranks publish one shape at the same steps.
    """

    collective: ClassVar[bool] = True
    _memory: Workspace = field(default_factory=Workspace, init=False, repr=False, compare=False)

    def output(self, shape: Shape, dtype: DType) -> tuple[Shape, DType]:
        """As it comes in, at the root."""
        if dtype.name not in SUMMED or not dtype.isnative:
            raise ValueError(f"sum_to_root: dtype must be one of {', '.join(SUMMED)}, got {dtype}; cast first")
        return shape, dtype

    def __call__(self, array: Array, group: Group) -> Array | None:
        """The sum at the root, None elsewhere."""
        if not array.flags.c_contiguous:
            packed = self._memory.array("packed", array.shape, array.dtype)
            np.copyto(packed, array)
            array = packed
        return group.sum_to_root(array)


@dataclass(frozen=True)
class Cast(Operator):
    """The same numbers as ``dtype``, of the same kind (or a wider kind).

    A count beyond the largest integer of ``dtype`` becomes that, as a detector saturates; it never wraps around. A
    float beyond its range becomes infinite.
    """

    dtype: str
    _memory: Workspace = field(default_factory=Workspace, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            known = np.dtype(self.dtype).kind in "iufc"
        except TypeError:
            known = False
        if not known:
            raise ValueError(f"cast: dtype must be a type of numbers such as float32, got {self.dtype!r}")

    def output(self, shape: Shape, dtype: DType) -> tuple[Shape, DType]:
        """Complex to real, float to integer and signed to unsigned are refused."""
        wanted = np.dtype(self.dtype)
        if not np.can_cast(dtype, wanted, "same_kind"):
            hint = "abs2 makes it real" if dtype.kind == "c" else "it would not hold all values"
            raise ValueError(f"cast: dtype must be of the kind of {dtype} or a wider one, got {self.dtype}; {hint}")
        return shape, wanted

    def __call__(self, array: Array, group: Group) -> Array:
        """Copied only where the type differs."""
        _, dtype = self.output(array.shape, array.dtype)
        if dtype == array.dtype:
            return array
        result = self._memory.array("result", array.shape, dtype)
        if dtype.kind in "iu" and array.dtype.kind in "iu":
            narrow, wide = np.iinfo(dtype), np.iinfo(array.dtype)
            np.clip(array, max(narrow.min, wide.min), min(narrow.max, wide.max), out=result, casting="unsafe")
        else:
            with np.errstate(over="ignore"):
                np.copyto(result, array, casting="same_kind")
        return result


@dataclass(frozen=True)
class Abs2(Operator):
    """|z|², the intensity of an amplitude; integers become float64."""

    _memory: Workspace = field(default_factory=Workspace, init=False, repr=False, compare=False)

    def output(self, shape: Shape, dtype: DType) -> tuple[Shape, DType]:
        """Real, of the precision of the input."""
        real = np.empty(0, dtype).real.dtype
        return shape, real if real.kind == "f" else np.dtype(np.float64)

    def __call__(self, array: Array, group: Group) -> Array:
        """The square of the modulus: one pass over the amplitude, and no memory but the result's."""
        _, dtype = self.output(array.shape, array.dtype)
        result = self._memory.array("result", array.shape, dtype)
        modulus = np.abs(array, out=result) if array.dtype.kind == "c" else array
        return np.multiply(modulus, modulus, out=result, dtype=dtype)


OPERATORS: dict[str, Callable[..., Operator]] = {
    "crop": Crop,
    "bin": Bin,
    "sum_to_root": SumToRoot,
    "cast": Cast,
    "abs2": Abs2,
}
"""Operators by the ``kind`` of a configuration; their fields are its options."""
