"""Which of the traced lines are told: those that are more likely there than not.

Two things speak of a line: how high the density along it is, which the calibration makes a probability, and how many
lines the network counts, which it sees in the pattern as a whole. The surest line is there where there is one at all,
the second where there are two; taken as independent their odds multiply.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import Calibration
from models.lines import TracedLine

Array = NDArray[np.float64]

LEAST = 0.02
"""Added to both sides of the odds of a count: no network is as sure of one as it says."""


def told_lines(lines: Sequence[TracedLine], counts: Array, calibration: Calibration) -> tuple[TracedLine, ...]:
    """Of ``lines`` those that are there with a probability of a half or more, in their order.

    ``counts`` (n,) are the probabilities of 0, 1, … lines, the last of so many or more.
    """
    probabilities = np.array([calibration.line_confidence(line.confidence) for line in lines]).clip(1e-9, 1 - 1e-9)
    surest_first = np.argsort(-probabilities, kind="stable")
    place = np.argsort(surest_first, kind="stable")
    at_least = np.cumsum(counts[::-1])[::-1][np.minimum(place + 1, len(counts) - 1)]
    odds = probabilities / (1 - probabilities) * (at_least + LEAST) / (1 - at_least + LEAST)
    return tuple(line for line, one in zip(lines, odds, strict=True) if one >= 1)
