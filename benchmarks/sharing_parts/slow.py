"""An analysis that takes its time without a core, so that two workers on few cores answer twice as much as one."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Frame


class Slow(Analysis):
    """``answer_s`` a frame; counts the frames of each rank, whoever answered the ones before."""

    model = "slow"

    def __init__(self, *, answer_s: float) -> None:
        self._answer_s = answer_s
        self._seen: dict[tuple[str, int], int] = {}

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        """How many frames of its rank there were."""
        time.sleep(self._answer_s * len(frames))
        found = []
        for frame in frames:
            key = frame.stream, frame.rank
            self._seen[key] = self._seen.get(key, 0) + 1
            found.append({"seen": self._seen[key]})
        return found

    def state(self, stream: str, rank: int) -> bytes:
        """The count."""
        return str(self._seen.get((stream, rank), 0)).encode()

    def install(self, stream: str, rank: int, state: bytes) -> None:
        """As ``Analysis``."""
        self._seen[stream, rank] = int(state or b"0")
