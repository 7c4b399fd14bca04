"""Analyses of the runs under mpiexec."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Frame, Variable


class Sums(Analysis):
    """Says what a frame holds; slow to start, slow to answer, or deadly, as told.

    ``dies_at`` is a step of rank 0 at which the worker is killed, once; ``mark`` is a file that remembers.
    """

    model = "sums"

    def __init__(
        self, starts_s: float = 0.0, answers_s: float = 0.0, dies_at: int = -1, mark: str = "", raises: bool = False
    ) -> None:
        self._starts_s, self._answers_s, self._dies_at, self._mark = starts_s, answers_s, dies_at, mark
        self._raises = raises

    def warm_up(self, variable: Variable) -> None:
        time.sleep(self._starts_s)
        if self._raises:
            raise OSError("no weights")

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        time.sleep(self._answers_s)
        for frame in frames:
            if frame.step == self._dies_at and frame.rank == 0 and not (self._mark and Path(self._mark).exists()):
                if self._mark:
                    Path(self._mark).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return [
            {
                "sum": float(frame.array.sum()),
                "last": float(frame.array.ravel()[-1]),
                "size": int(frame.array.size),
                "time_ps": frame.attributes.get("time_ps", -1.0),
            }
            for frame in frames
        ]
