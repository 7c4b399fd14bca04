"""Random numbers that several draws need."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def log_uniform(limits: tuple[float, float], generator: np.random.Generator) -> float:
    """A number whose logarithm is uniform within ``limits``, both positive."""
    return float(np.exp(generator.uniform(*np.log(limits))))


def unit_vector(generator: np.random.Generator) -> Array:
    """A direction ``(3,)``, uniform on the sphere."""
    vector = generator.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def point_in_ball(radius: float, generator: np.random.Generator) -> Array:
    """A point ``(3,)`` in the unit of ``radius``, uniform in the ball around the origin."""
    return np.asarray(radius * generator.random() ** (1 / 3) * unit_vector(generator))
