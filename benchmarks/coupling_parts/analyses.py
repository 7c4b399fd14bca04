"""What answers in the benchmarks: nothing at all, slowly, or a network."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Frame, Variable


def null(frame: Frame) -> dict[str, Any]:
    """Answers at once."""
    return {"step": frame.step}


def slow(frame: Frame, *, seconds: float) -> dict[str, Any]:
    """Answers after ``seconds``, asleep."""
    time.sleep(seconds)
    return {"step": frame.step}


def busy(frame: Frame, *, seconds: float) -> dict[str, Any]:
    """Answers after ``seconds`` of computing, as a network on the processor does."""
    end = time.perf_counter() + seconds
    field = np.ones(1 << 16)
    while time.perf_counter() < end:
        field *= 0.999
    return {"step": frame.step}


class OnDevice(Analysis):
    """Answers at once; what lies on a GPU stays there."""

    wants_device = True

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        return [{"step": frame.step, "on_device": frame.device is not None} for frame in frames]


class Network(Analysis):
    """The shipped network's tensors alone: scaled pattern in, defect logits out, without lines and lattice sites.

    A larger pattern is cut to the network's grid.
    """

    def __init__(self, *, model: str = "default", threads: int = 1) -> None:
        import torch

        from models.predictor import Predictor

        torch.set_num_threads(threads)
        self._torch = torch
        self._predictor = Predictor.load(model)
        self.model, self.device = model, str(self._predictor.device)

    def warm_up(self, variable: Variable) -> None:
        self.answer([Frame("warm-up", 0, 0, np.ones(variable.shape, variable.dtype))])

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        from cdi.grid import QGrid
        from cdi.pattern import Exposure

        shape = self._predictor.shape
        exposures = []
        for frame in frames:
            start = [(n - wanted) // 2 for n, wanted in zip(frame.array.shape, shape, strict=True)]
            cut = tuple(slice(first, first + wanted) for first, wanted in zip(start, shape, strict=True))
            counts = np.ascontiguousarray(frame.array[cut], np.float32)
            exposures.append(Exposure(counts, QGrid.orthogonal([0, 0, 3.0], [200.0] * 3, 3.0, shape)))
        found = self._predictor.predict(exposures)
        return [{"probability": float(one.defect_probability)} for one in found]
