"""Frames and predictions that are fixed."""

import numpy as np

from cdi.grid import QGrid
from cdi.pattern import Exposure
from inference_insitu.inference.defects import grid_of
from inference_insitu.inference.frame import Frame
from models.prediction import CLASSES, MOST_LINES, PredictedLine, Prediction

SHAPE = (12, 10, 8)


def grid(shape: tuple[int, int, int] = SHAPE) -> QGrid:
    return QGrid.orthogonal([0.1, -0.2, 3.0], [40.0, 50.0, 60.0], 3.0, shape)


def pattern(step: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A different positive volume at every step."""
    values = np.random.default_rng(step).exponential(100.0, shape).astype(np.float32)
    values[shape[0] // 2, shape[1] // 2, shape[2] // 2] = 1e5 + step
    return values


def frame(step: int) -> Frame:
    attributes = {
        "q_centre": grid().centre.tolist(),
        "q_step": grid().step.tolist(),
        "shape": list(SHAPE),
        "reflection": [1, 1, 1],
        "time_ps": 0.004 * step,
        "load_nN": 1.5 * step,
    }
    return Frame("pattern", 0, step, pattern(step), attributes)


def exposure(step: int) -> Exposure:
    return Exposure(pattern(step), grid_of(frame(step)))


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
        seconds=0.1,
    )
