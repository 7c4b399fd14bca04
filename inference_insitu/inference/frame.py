"""One frame as an analysis sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Variable:
    """What a simulation declares of an array that it will publish: type and largest shape on this rank."""

    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        np.dtype(self.dtype)
        if any(length < 1 for length in self.shape):
            raise ValueError(f"shape must have lengths of at least 1, got {self.shape}")

    @property
    def bytes(self) -> int:
        """Size of the largest array."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Frame:
    """``array`` of ``stream``, published by simulation rank ``rank`` at ``step``.

    The array is the ring's own memory, valid while the analysis answers: copy what is to be kept.
    ``published_ns`` is ``time.monotonic_ns`` of the publishing process.
    """

    stream: str
    rank: int
    step: int
    array: NDArray[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    published_ns: int = 0
