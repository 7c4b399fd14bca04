"""Numbers from samples: percentiles, and intervals by resampling blocks rather than steps, which follow each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50, 95, 99, 99.9)


def described_ms(seconds: "NDArray[np.float64] | list[float]") -> dict[str, float]:
    """Median, tails and standard deviation in ms."""
    values = 1e3 * np.asarray(seconds)
    named = {f"p{p:g}": round(float(np.percentile(values, p)), 4) for p in PERCENTILES}
    return named | {"sd": round(float(values.std()), 4)}


def added(
    arm: list[float], none: list[float], *, block: int, step_s: float, seed: int = 0, draws: int = 1000
) -> dict[str, Any]:
    """What an arm's steps take more than those without a coupling, in per cent of a step, with 95 % intervals."""
    one, other = (np.asarray(values).reshape(-1, block) for values in (arm, none))
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, len(one), (draws, len(one)))
    figures = {}
    for name, p in (("median", 50), ("p99", 99)):
        found = 100 / step_s * (np.percentile(one, p) - np.percentile(other, p))
        drawn = [100 / step_s * (np.percentile(one[pick], p) - np.percentile(other[pick], p)) for pick in picks]
        low, high = np.percentile(drawn, (2.5, 97.5))
        figures[f"added_{name}_percent"] = [round(float(value), 3) for value in (found, low, high)]
    return figures
