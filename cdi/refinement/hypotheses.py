"""What else the patterns might show: no line, one less, one more, or a line of another winding.

A line of reflections' windings stands for every Burgers vector with these g·b: no pattern tells them apart by winding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, sqrt

from torch import Tensor

from cdi.refinement.crystal_model import ModelLine
from cdi.refinement.start import SAME, separation

Windings = tuple[int, ...]

STANDARD_ERRORS = 2.0
"""Of the difference, beyond which a hypothesis is rejected."""
LEAST_DIFFERENCE = 4.0
"""And the least difference in all: e² in likelihood, where hardly a held-out photon tells."""


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """Lines that may be there; ``about`` is the place of the one that differs from those of the best, if one does."""

    name: str
    lines: tuple[ModelLine, ...]
    about: int | None = None


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


def alternatives(lines: tuple[ModelLine, ...], windings: Sequence[Windings], most: int) -> list[Hypothesis]:
    """No line; each one less; each with up to ``most`` other ``windings`` of the lattice, nearest first."""
    if not lines:
        return []
    found = [Hypothesis("none", ())]
    if len(lines) > 1:
        found += [
            Hypothesis(f"without line {n + 1}", lines[:n] + lines[n + 1 :], n) for n in range(len(lines))
        ]  # fmt: skip
    for n, line in enumerate(lines):
        others = sorted(
            (w for w in set(windings) if w != line.windings and any(w)),
            key=lambda w: (sum(abs(a - b) for a, b in zip(w, line.windings, strict=True)), w),
        )
        for other in others[:most]:
            changed = ModelLine(line.track, other)
            told = ", ".join(f"{m:+d}" for m in other)
            found.append(Hypothesis(f"line {n + 1} of winding {told}", (*lines[:n], changed, *lines[n + 1 :]), n))
    return found


def new_lines(lines: Sequence[ModelLine], known: Sequence[ModelLine]) -> list[ModelLine]:
    """Those of ``lines`` that run along none of ``known`` nor of each other."""
    kept: list[ModelLine] = []
    for line in lines:
        places = [other.track.corners.numpy() for other in (*known, *kept)]
        if all(separation(line.track.corners.numpy(), other) > SAME for other in places):
            kept.append(line)
    return kept
