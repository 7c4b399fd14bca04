import numpy as np
import pytest
from numpy.typing import NDArray

from cdi.refinement.descent import EVALUATIONS, Descent

Array = NDArray[np.float64]


def rosenbrock(x: Array) -> tuple[float, Array]:
    bend = x[1:] - x[:-1] ** 2
    slopes = np.append(-400 * bend * x[:-1] - 2 * (1 - x[:-1]), 0.0)
    slopes[1:] += 200 * bend
    return float((100 * bend**2 + (1 - x[:-1]) ** 2).sum()), slopes


@pytest.mark.parametrize("size", [2, 10])
def test_a_curved_valley_is_followed_to_its_end(size: int) -> None:
    asked: list[float] = []

    def counted(x: Array) -> tuple[float, Array]:
        value, slopes = rosenbrock(x)
        asked.append(value)
        return value, slopes

    descent = Descent(counted, np.tile([-1.2, 1.0], size // 2))
    for _ in range(8):
        before, known = descent.value, len(asked)
        descent.go(20)
        assert descent.value <= before
        assert len(asked) - known <= 20 * EVALUATIONS
    np.testing.assert_allclose(descent.position, 1.0, atol=1e-4)
    known = len(asked)
    descent.go(20)
    assert len(asked) - known <= 2  # at the end nothing is left to win


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("width", [1e-4, 1e4])
def test_a_step_far_too_long_is_cut_and_one_too_short_made_longer(width: float) -> None:
    """Beyond the first one the function is no number any more."""

    def steep(x: Array) -> tuple[float, Array]:
        return float(np.cosh(x[0] / width)), np.sinh(x / width) / width

    descent = Descent(steep, np.array([3.0]) * width)
    descent.go(30)
    assert abs(float(descent.position[0])) < 0.1 * width
