"""Stand-ins for the network: what it says is fixed, when it answers is decided by a file."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cdi.grid import QGrid
from cdi.pattern import Exposure
from inference_insitu.frame import Frame
from inference_insitu.service import Result
from models.prediction import CLASSES, MOST_LINES, PredictedLine, Prediction

SHAPE = (12, 10, 8)
PATIENCE_S = 60.0


def grid(shape: tuple[int, int, int] = SHAPE) -> QGrid:
    return QGrid.orthogonal([0.1, -0.2, 3.0], [40.0, 50.0, 60.0], 3.0, shape)


def pattern(step: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A different positive volume at every step."""
    values = np.random.default_rng(step).exponential(100.0, shape).astype(np.float32)
    values[shape[0] // 2, shape[1] // 2, shape[2] // 2] = 1e5 + step
    return values


def frame(step: int, shape: tuple[int, int, int] = SHAPE) -> Frame:
    return Frame(step, pattern(step, shape), grid(shape), time_ps=0.004 * step, load_nN=1.5 * step)


def prediction(probability: float = 0.75, lines: int = 2, undetermined: str = "") -> Prediction:
    half = (6, 5, 4)
    points = np.linspace([-5.0, 0, 1], [5.0, 2, 3], 4)
    return Prediction(
        defect_probability=probability,
        class_probabilities=(1 - probability, probability, *[0.0] * (len(CLASSES) - 2)),
        count_probabilities=tuple(float(n == lines) for n in range(MOST_LINES + 1)),
        undetermined=undetermined,
        lines=tuple(PredictedLine(points + i, None, 0.5, (1.02,)) for i in range(lines)),
        line_density=np.full(half, 0.25, np.float32),
        support=np.ones(half, np.float32),
        phase=np.linspace(-3, 3, 120, dtype=np.float32).reshape(1, *half),
        voxel=np.diag([6.0, 7.0, 8.0]),
        model={"name": "fake", "weights_sha256": "0" * 64},
        seconds=0.01,
    )


class FakePredictor:
    """Answers once the file ``gate`` exists; raises or gives NaN where the brightest voxel says so."""

    def __init__(self, gate: Path | None = None) -> None:
        self._gate = gate

    def predict(self, exposures: Sequence[Exposure]) -> list[Prediction]:
        if self._gate is not None:
            wait_for_file(self._gate)
        return [prediction() for _ in exposures]


class FaultyPredictor:
    """Raises at its second call, gives NaN at its third, and is well at every other."""

    def __init__(self) -> None:
        self._calls = 0

    def predict(self, exposures: Sequence[Exposure]) -> list[Prediction]:
        self._calls += 1
        if self._calls == 2:
            raise RuntimeError("no convergence")
        return [prediction(float("nan") if self._calls == 3 else 0.75) for _ in exposures]


class CheckingSink:
    """Refuses (as a full disk would) whatever is not the pattern that was sent; counts the rest."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.closed = False

    def __call__(self, result: Result) -> None:
        if not np.array_equal(result.frame.intensity, pattern(result.frame.step, result.frame.intensity.shape)):
            raise OSError("not what was sent")
        self.steps.append(result.frame.step)

    def close(self) -> None:
        self.closed = True


class FullDisk:
    """A sink that cannot write."""

    def __call__(self, result: Result) -> None:
        raise OSError("No space left on device")

    def close(self) -> None:
        pass


def wait_for_file(path: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{path} did not appear")
        time.sleep(0.005)
