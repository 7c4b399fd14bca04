"""An analysis whose memory is as large as a benchmark asks for, and tells whether it was carried over whole."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Frame


class Carried(Analysis):
    """Answers with the sum of a frame and how many frames of its rank it has seen; remembers ``bytes`` beside that."""

    model = "carried"

    def __init__(self, *, bytes: int = 0) -> None:
        self._bytes = bytes
        self._seen: dict[tuple[str, int], int] = {}
        self._memory: dict[tuple[str, int], np.ndarray] = {}

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        """The sum, and how many were seen."""
        found = []
        for frame in frames:
            key = frame.stream, frame.rank
            self._seen[key] = self._seen.get(key, 0) + 1
            found.append({"sum": float(frame.array.sum()), "seen": self._seen[key]})
        return found

    def state(self, stream: str, rank: int) -> bytes:
        """How many, and the memory."""
        memory = self._memory.setdefault((stream, rank), np.arange(self._bytes // 8, dtype="<i8"))
        return self._seen.get((stream, rank), 0).to_bytes(8, "little") + memory.tobytes()

    def install(self, stream: str, rank: int, state: bytes) -> None:
        """As ``Analysis``; a memory that is not what it was is refused."""
        if not state:
            return
        memory = np.frombuffer(state, "<i8", offset=8)
        if not np.array_equal(memory, np.arange(self._bytes // 8)):
            raise ValueError(f"the memory must be {self._bytes} bytes as they were, got {memory.nbytes}")
        self._seen[stream, rank] = int.from_bytes(state[:8], "little")
        self._memory[stream, rank] = memory.copy()
