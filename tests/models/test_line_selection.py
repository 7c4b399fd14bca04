"""Lines that are told: by the density along them and by how many the network counts."""

import numpy as np
import pytest

from models.checkpoint import Calibration
from models.line_selection import told_lines
from models.lines import TracedLine
from models.prediction import MOST_LINES

AS_IT_IS = Calibration(line_slope=1.0, line_offset=0.0)
"""A line is there with the probability that its density says."""


def lines(*heights: float) -> tuple[TracedLine, ...]:
    return tuple(
        TracedLine(np.array([[0.0, 0, n], [9.0, 0, n]]), np.array([1.0]), height) for n, height in enumerate(heights)
    )


def counting(*probabilities: float) -> np.ndarray:
    return np.array([*probabilities, *[0.0] * (MOST_LINES + 1 - len(probabilities))])


def told(given: tuple[TracedLine, ...], counts: np.ndarray, calibration: Calibration = AS_IT_IS) -> list[int]:
    found = told_lines(given, counts, calibration)
    return [number for number, line in enumerate(given) if any(line is one for one in found)]


def test_where_the_count_says_nothing_a_line_is_told_from_even_odds_on() -> None:
    """P(one or more) = P(two or more) = … = a half."""
    neither = counting(0.5, *[0.0] * (MOST_LINES - 1), 0.5)
    assert told(lines(0.9, 0.49, 0.51, 0.1), neither) == [0, 2]
    surer = Calibration(line_slope=1.0, line_offset=1.0)
    assert told(lines(0.9, 0.49, 0.51, 0.1), neither, surer) == [0, 1, 2]


def test_of_two_lines_where_one_is_counted_the_surer_is_told() -> None:
    one, two = counting(0.0, 0.9, 0.1), counting(0.0, 0.1, 0.9)
    assert told(lines(0.8, 0.85), one) == [1]
    assert told(lines(0.85, 0.8), one) == [0]
    assert told(lines(0.8, 0.85), two) == [0, 1]
    # A line that is as good as certain stands against the count, one that hardly shows is not counted into being.
    assert told(lines(0.99, 0.995), one) == [0, 1]
    assert told(lines(0.8, 0.05), two) == [0]


def test_odds_multiply() -> None:
    """At even odds of the product; 0.02 is the least doubt about a count."""
    at_least_two = 0.3
    even = 1 / (1 + (at_least_two + 0.02) / (1 - at_least_two + 0.02))
    counts = counting(0.0, 1 - at_least_two, at_least_two)
    assert told(lines(0.99, even + 0.01), counts) == [0, 1]
    assert told(lines(0.99, even - 0.01), counts) == [0]


def test_beyond_the_last_count_nothing_speaks_against_a_line_but_its_density() -> None:
    many = counting(*[0.0] * MOST_LINES, 1.0)
    assert told(lines(*[0.9] * (MOST_LINES + 3)), many) == list(range(MOST_LINES + 3))


@pytest.mark.parametrize("height", [0.0, 1.0])
def test_no_line_and_no_doubt_are_answered(height: float) -> None:
    assert told_lines((), counting(1.0), AS_IT_IS) == ()
    sharp = Calibration(line_slope=50.0)
    assert told(lines(height), counting(0.0, 1.0), sharp) == ([0] if height else [])
