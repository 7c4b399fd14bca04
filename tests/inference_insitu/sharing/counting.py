"""An analysis that counts the frames of each rank, whoever answered the ones before."""

import time
from collections.abc import Sequence

from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Frame, Variable


class Counting(Analysis):
    """``seen`` is step + 1 where no frame was lost, answered twice or out of turn, and no count was."""

    model = "counting"

    def __init__(self, *, answer_s: float = 0.0, start_s: float = 0.0, unusable: Sequence[int] = ()) -> None:
        self._answer_s, self._start_s, self._unusable = answer_s, start_s, unusable
        self._seen: dict[tuple[str, int], int] = {}

    def open(self, output, worker, incarnation):
        if worker in self._unusable:
            raise ValueError("this worker cannot be used")

    def warm_up(self, variable: Variable) -> None:
        time.sleep(self._start_s)

    def answer(self, frames: Sequence[Frame]):
        time.sleep(self._answer_s)
        answers = []
        for frame in frames:
            key = frame.stream, frame.rank
            self._seen[key] = self._seen.get(key, 0) + 1
            answers.append({"seen": self._seen[key]})
        return answers

    def state(self, stream, rank):
        seen = self._seen.get((stream, rank), 0)
        return str(seen).encode() if seen else b""

    def install(self, stream, rank, state):
        self._seen[stream, rank] = int(state or b"0")
