"""What answers in the runs that the scaling model is put to the test with: asleep for as long as it is told."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Frame


class Asleep(Analysis):
    """A batch of c frames takes ``batch_s`` + c ``frame_s``, whatever else the core does."""

    def __init__(self, *, batch_s: float = 0.0, frame_s: float = 0.0) -> None:
        self._batch_s, self._frame_s = batch_s, frame_s

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        seconds = self._batch_s + len(frames) * self._frame_s
        if seconds:
            time.sleep(seconds)
        return [{"step": frame.step} for frame in frames]
