"""What else the patterns might show: no line, one less, one more, or a line of another winding.

A line of reflections' windings stands for every Burgers vector with these g·b: no pattern tells them apart by winding.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.refinement.crystal_model import ModelLine
from cdi.refinement.line_phase import Track
from cdi.retrieval.joined_lines import JOINED, separation

Windings = tuple[int, ...]
LineSet = frozenset[tuple[Track, Windings]]

STANDARD_ERRORS = 2.0
"""Of the difference, beyond which a hypothesis is rejected."""
LEAST_DIFFERENCE = 4.0
"""And the least difference in all: e² in likelihood, where hardly a held-out photon tells."""


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """Lines that may be there, and their name beside those of the best: ``hypothesis_name``."""

    name: str
    lines: tuple[ModelLine, ...]


@dataclass(frozen=True)
class Difference:
    """Free deviance of one hypothesis minus that of another, summed over the held-out voxels, and its standard error.

    From the scatter of the voxels' own differences (Vuong, Econometrica 57, 307, 1989): a model that misses photons
    everywhere is not taken for a certain one.
    """

    value: float
    error: float

    @classmethod
    def between(cls, worse: Tensor, better: Tensor) -> "Difference":
        """Of ``worse`` (n,) to ``better`` (n,), the same voxels in each."""
        terms = worse - better
        return cls(float(terms.sum()), float(terms.std(correction=1) * len(terms) ** 0.5))

    @property
    def rejects(self) -> bool:
        """Whether the first is rejected for the second."""
        return self.value > max(STANDARD_ERRORS * self.error, LEAST_DIFFERENCE)

    @property
    def probability(self) -> float:
        """That the second is nearer to the truth, were the difference normally distributed."""
        spread = max(self.error, LEAST_DIFFERENCE / STANDARD_ERRORS)
        return 0.5 * (1 + erf(self.value / spread / sqrt(2)))


def line_set(lines: Iterable[ModelLine]) -> LineSet:
    """What makes two hypotheses one: the same tracks, wound alike, in any order."""
    return frozenset((line.track, line.windings) for line in lines)


def alternatives(
    lines: tuple[ModelLine, ...], windings: Sequence[Windings], most: int
) -> Iterator[tuple[ModelLine, ...]]:
    """Lines of each alternative: none; each one less; each with up to ``most`` other ``windings``, nearest first."""
    if lines:
        yield ()
    if len(lines) > 1:
        for n in range(len(lines)):
            yield without(lines, n)
    for n, line in enumerate(lines):
        others = sorted(
            (w for w in set(windings) if w != line.windings and any(w)),
            key=lambda w: (sum(abs(a - b) for a, b in zip(w, line.windings, strict=True)), w),
        )
        for other in others[:most]:
            yield (*lines[:n], ModelLine(line.track, other), *lines[n + 1 :])


def without(lines: tuple[ModelLine, ...], number: int) -> tuple[ModelLine, ...]:
    """All ``lines`` but one."""
    return lines[:number] + lines[number + 1 :]


def hypothesis_name(lines: tuple[ModelLine, ...], best: tuple[ModelLine, ...]) -> str:
    """How ``lines`` differ from those of the best hypothesis."""
    if not lines:
        return "none"
    here, known = {line.track: line.windings for line in lines}, {line.track for line in best}
    parts = []
    for number, line in enumerate(best, 1):
        wound = here.get(line.track)
        if wound is None:
            parts.append(f"without line {number}")
        elif wound != line.windings:
            parts.append(f"line {number} of winding {', '.join(f'{m:+d}' for m in wound)}")
    more = len(here.keys() - known)
    if more:
        parts.append("one line more" if more == 1 else f"{more} lines more")
    return ", ".join(parts) or "lines"


def new_lines(lines: Sequence[ModelLine], known: Sequence[ModelLine]) -> list[ModelLine]:
    """Those of ``lines`` that run along none of ``known`` nor of each other."""
    kept: list[ModelLine] = []
    for line in lines:
        if all(separation(_polyline(line.track), _polyline(other.track)) > JOINED for other in (*known, *kept)):
            kept.append(line)
    return kept


def _polyline(track: Track) -> NDArray[np.float64]:
    corners = torch.cat([track.corners, track.corners[:1]]) if track.closed else track.corners
    return np.asarray(corners.numpy())
