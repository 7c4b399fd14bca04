"""One frame as an analysis sees it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_insitu.device.arrays import DeviceView


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


class _OnDemand:
    """A field that may be given a function: it is called when the array is first asked for."""

    def __get__(self, frame: "Frame | None", owner: type["Frame"]) -> NDArray[Any]:
        if frame is None:
            raise AttributeError  # there is no default
        held = vars(frame)["array"]
        if callable(held):
            held = vars(frame)["array"] = held()
        return held  # type: ignore[no-any-return]

    def __set__(self, frame: "Frame", array: NDArray[Any] | Callable[[], NDArray[Any]]) -> None:
        vars(frame)["array"] = array


@dataclass(frozen=True)
class Frame:
    """``array`` of ``stream``, published by simulation rank ``rank`` at ``step``.

    The array is the ring's own memory, valid while the analysis answers: copy what is to be kept.
    ``published_ns`` is ``time.monotonic_ns`` of the publishing process. ``device`` is where the array lies on a GPU, if
    it came that way and the analysis ``wants_device``; its ``array`` is then a copy, made when it is asked for.
    """

    stream: str
    rank: int
    step: int
    array: _OnDemand = _OnDemand()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    published_ns: int = 0
    device: DeviceView | None = None
