"""Where a method fails, from the answers themselves: recall of lines by what makes them hard, and in words."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cdi.defects.classes import CLASSES
from training.asked_lines import AskedLine
from training.evaluation import Answer

Pair = tuple[AskedLine, Answer]
Trait = Callable[[Pair], float]

TRAITS: Mapping[str, tuple[Trait, tuple[tuple[str, float, float], ...]]] = {
    "length (voxels)": (
        lambda pair: pair[0].length, (("below 4", 0, 4), ("4 to 8", 4, 8), ("8 and more", 8, np.inf)),
    ),
    "depth below the surface (voxels)": (
        lambda pair: pair[0].depth, (("below 1.5", 0, 1.5), ("1.5 to 2.5", 1.5, 2.5), ("2.5 and more", 2.5, np.inf)),
    ),
    "largest |g·b|": (
        lambda pair: pair[0].winding, (("below 1", 0, 0.99), ("1", 0.99, 1.01), ("above 1", 1.01, np.inf)),
    ),
    "distance to another line (voxels)": (
        lambda pair: pair[0].neighbour,
        (("below 2", 0, 2), ("2 to 5", 2, 5), ("5 and more", 5, 1e9), ("alone", 1e9, np.inf)),
    ),
    "photons in the brightest voxel": (
        lambda pair: pair[1].photons, (("below 10³", 0, 1e3), ("10³ to 10⁵", 1e3, 1e5), ("10⁵ and more", 1e5, np.inf)),
    ),
}  # fmt: skip
"""What is known of a line or its crystal, and ranges of it [low, high); the last one is closed."""


@dataclass(frozen=True)
class Stratum:
    """Lines of one kind: ``found`` of ``lines``, in so many ``crystals``."""

    trait: str
    part: str
    lines: int
    found: int
    crystals: int

    @property
    def recall(self) -> float:
        """Share found; NaN where there is no line."""
        return self.found / self.lines if self.lines else float("nan")


def strata(answers: Sequence[Answer]) -> list[Stratum]:
    """Recall at 2 voxels of the visible lines, by each trait."""
    pairs = [(line, answer) for answer in answers for line in answer.asked or ()]
    rows = []
    for name, (trait, parts) in TRAITS.items():
        for part, low, high in parts:
            here = [pair for pair in pairs if low <= trait(pair) < high or trait(pair) == high == np.inf]
            found = sum(line.found for line, _ in here)
            crystals = len({(answer.tier, answer.score.index) for _, answer in here})
            rows.append(Stratum(name, part, len(here), found, crystals))
    return rows


def failure_modes(answers: Sequence[Answer]) -> list[str]:
    """Sentences that count the failures of one method, the most telling first; none where it tells no lines."""
    return [*_misses(answers), *_false_lines(answers), *_confusions(answers)]


def _misses(answers: Sequence[Answer]) -> list[str]:
    rows = strata(answers)
    per_trait = {name: [row for row in rows if row.trait == name] for name in TRAITS}
    lines = sum(row.lines for row in next(iter(per_trait.values())))
    missed = lines - sum(row.found for row in next(iter(per_trait.values())))
    if not lines:
        return []
    said = [f"{missed} of {lines} visible lines are missed at 2 voxels ({missed / lines:.0%})."]
    worst = [min((row for row in those if row.lines), key=lambda row: row.recall) for those in per_trait.values()]
    for row in sorted(worst, key=lambda row: row.recall):
        away = row.lines - row.found
        if missed and row.lines < lines:
            said.append(
                f"{row.trait}, {row.part}: recall {row.recall:.0%} of {row.lines} lines against "
                f"{(lines - missed - row.found) / (lines - row.lines):.0%} of the others; "
                f"{away / missed:.0%} of the misses, {row.lines / lines:.0%} of the lines."
            )
    return said


def _false_lines(answers: Sequence[Answer]) -> list[str]:
    clean = [a.score.lines for a in answers if a.score.lines is not None and CLASSES[a.score.defect] == "none"]
    if not clean:
        return []
    wrong = sum(lines.predicted > 0 for lines in clean)
    return [f"A line is reported in {wrong} of {len(clean)} crystals without any ({wrong / len(clean):.0%})."]


def _confusions(answers: Sequence[Answer]) -> list[str]:
    graded = [
        (a.score.defect, int(a.score.class_probabilities.argmax()))
        for a in answers if a.score.determined and a.score.class_probabilities is not None
    ]  # fmt: skip
    wrong = Counter(pair for pair in graded if pair[0] != pair[1])
    total = sum(wrong.values())
    return [
        f"{CLASSES[true]} taken for {CLASSES[said]}: {number} of {total} wrong classes ({number / total:.0%}), "
        f"in {number} of {sum(t == true for t, _ in graded)} such crystals."
        for (true, said), number in wrong.most_common(3)
    ]
