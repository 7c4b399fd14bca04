"""L-BFGS with a strong Wolfe line search, on the host: only the function and its gradient are computed elsewhere.

Liu & Nocedal, Math. Program. 45, 503 (1989); Nocedal & Wright, Numerical Optimization (2006), algorithms 3.5, 3.6 and
7.4. Its own products of vectors, some hundred an iteration, would each wait for a GPU, and take a processor next to
nothing.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite, nan, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], tuple[float, Array]]

HISTORY = 20
"""Steps that are remembered."""
LEAST_CURVATURE = 1e-10
"""Of a step that is remembered."""
SETTLED = 1e-10
"""Change of the value, or of every number, after which no other iteration follows."""
EVALUATIONS = 5 / 4
"""An iteration, on average, at most."""
DECREASE, FLATTER = 1e-4, 0.9
"""The two Wolfe conditions: share of the first slope that the value falls by, and that the slope may keep."""
NARROW = 1e-9
"""Width of a bracket, in any number, that is not searched further."""
EDGE = 0.1
"""Share of a bracket beside its ends where it is not cut twice."""


@dataclass(frozen=True, eq=False)
class Point:
    """A place along a direction: ``step`` times it; the function's value, its slope along, and its gradient."""

    step: float
    value: float
    slope: float
    gradient: Array


class Descent:
    """A way downhill from ``start`` (n,); ``position`` and ``value`` are where it has come to."""

    def __init__(self, function: Function, start: Array) -> None:
        self.function, self.position = function, start
        self.value, self._gradient = function(start)
        self._kept: deque[tuple[Array, Array]] = deque(maxlen=HISTORY)

    def go(self, iterations: int) -> None:
        """At most so many iterations further."""
        left = int(EVALUATIONS * iterations) - 1
        for _ in range(iterations):
            direction = self._direction()
            begin = Point(0.0, self.value, float(self._gradient @ direction), self._gradient)
            if begin.slope > -SETTLED:
                return
            first = 1.0 if self._kept else min(1.0, 1.0 / float(np.abs(begin.gradient).sum()))
            asked: list[Point] = []
            at = partial(self._at, direction, asked)
            found = _wolfe_point(at, begin, first, float(np.abs(direction).max()), left)
            left -= len(asked)
            self._move(found, direction)
            settled = found.step * np.abs(direction).max() <= SETTLED or abs(found.value - begin.value) < SETTLED
            if left <= 0 or settled:
                return

    def _at(self, direction: Array, asked: list[Point], step: float) -> Point:
        value, gradient = self.function(self.position + step * direction)
        asked.append(Point(step, value, float(gradient @ direction), gradient))
        return asked[-1]

    def _move(self, found: Point, direction: Array) -> None:
        step, change = found.step * direction, found.gradient - self._gradient
        if step @ change > LEAST_CURVATURE:
            self._kept.append((step, change))
        self.position, self.value, self._gradient = self.position + step, found.value, found.gradient

    def _direction(self) -> Array:
        """Minus the gradient times the inverse Hessian that the remembered steps tell."""
        direction = -self._gradient
        shares = []
        for step, change in reversed(self._kept):
            shares.append((step @ direction) / (step @ change))
            direction = direction - shares[-1] * change
        if self._kept:
            step, change = self._kept[-1]
            direction = direction * ((step @ change) / (change @ change))
        for (step, change), share in zip(self._kept, reversed(shares), strict=True):
            direction = direction + step * (share - (change @ direction) / (step @ change))
        return direction


def _wolfe_point(at: Callable[[float], Point], begin: Point, first: float, reach: float, most: int) -> Point:
    """A point that meets both conditions, or the lowest known after ``most`` further evaluations.

    ``reach`` is how far a step of 1 moves any number.
    """
    before, here = begin, at(first)
    for tried in range(most):
        if _too_high(here, begin) or (tried > 1 and here.value >= before.value):
            return _narrowed(at, begin, (before, here), reach, most - tried)
        if _flat(here, begin):
            return here
        if here.slope >= 0:
            return _narrowed(at, begin, (before, here), reach, most - tried)
        further = here.step + 0.01 * (here.step - before.step), 10 * here.step
        before, here = here, at(_cubic_minimum(before, here, *further))
    return min(begin, here, key=lambda point: point.value)


def _narrowed(
    at: Callable[[float], Point], begin: Point, bracket: tuple[Point, Point], reach: float, most: int
) -> Point:
    low, high = sorted(bracket, key=lambda point: point.value)
    near_edge = False
    for _ in range(most):
        left, right = sorted((low.step, high.step))
        if (right - left) * reach < NARROW:
            break
        step, margin = _cubic_minimum(low, high, left, right), EDGE * (right - left)
        aside = min(right - step, step - left)
        # A second cut beside the same edge would hardly make the bracket narrower.
        if aside < margin and (near_edge or aside <= 0):
            step = right - margin if right - step < step - left else left + margin
            near_edge = False
        else:
            near_edge = aside < margin
        here = at(step)
        if _too_high(here, begin) or here.value >= low.value:
            low, high = sorted((low, here), key=lambda point: point.value)
        elif _flat(here, begin):
            return here
        else:
            low, high = here, low if here.slope * (high.step - low.step) >= 0 else high
    return low


def _too_high(here: Point, begin: Point) -> bool:
    """NaN is."""
    return not here.value <= begin.value + DECREASE * here.step * begin.slope


def _flat(here: Point, begin: Point) -> bool:
    return abs(here.slope) <= -FLATTER * begin.slope


def _cubic_minimum(one: Point, other: Point, least: float, most: float) -> float:
    """Where the cubic through two points with their slopes is least, within bounds; their middle where it has none."""
    first, second = sorted((one, other), key=lambda point: point.step)
    gap = second.step - first.step
    if gap > 0:
        bend = first.slope + second.slope - 3 * (second.value - first.value) / gap
        square = bend * bend - first.slope * second.slope
        root = sqrt(square) if 0 <= square < inf else nan
        below = second.slope - first.slope + 2 * root
        if isfinite(below) and below != 0:
            return min(max(second.step - gap * (second.slope + root - bend) / below, least), most)
    return (least + most) / 2
