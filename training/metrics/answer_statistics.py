"""Statistics of what is said in words: class, defect or none, count, confidence, abstention. Free of torch.

Class and count are graded where the reflections can tell them. Elsewhere the right answer is "undetermined": for the
abstention, and for it alone, any class counts as wrong there.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cdi.defects.classes import CLASSES
from training.metrics.confidence import CalibrationError, RiskArea, Separation
from training.metrics.crystal_score import CrystalScore
from training.metrics.intervals import Statistic, mean

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Scores = Sequence[CrystalScore]
Builder = Callable[[Scores], Statistic]
Graded = tuple[Array, Mask]
"""Confidences (m,) and whether what they announce is so (m,)."""


def defect_calibration(scores: Scores) -> Graded:
    """Probability of a defect, and whether there is one."""
    kept = [s for s in scores if s.determined and not np.isnan(s.defect_probability)]
    return np.array([s.defect_probability for s in kept]), np.array([s.defect > 0 for s in kept], bool)


def class_calibration(scores: Scores) -> Graded:
    """Probability of the most probable class, and whether it is the true one."""
    kept = [(s.class_probabilities, s.defect) for s in scores if s.determined and s.class_probabilities is not None]
    return np.array([p.max() for p, _ in kept]), np.array([p.argmax() == defect for p, defect in kept], bool)


def line_calibration(scores: Scores) -> Graded:
    """Confidence of every predicted line that has one, and whether its true line lies within 2 voxels."""
    lines = [s.lines for s in scores if s.lines is not None]
    confidence = np.concatenate([np.empty(0), *(line.confidences for line in lines)])
    found = np.concatenate([np.empty(0, bool), *(line.found for line in lines)])
    return confidence[~np.isnan(confidence)], found[~np.isnan(confidence)]


def abstention(scores: Scores) -> Graded:
    """Confidence by which a method declines, and whether its class is right: never where nobody can tell it."""
    kept = [s for s in scores if s.class_probabilities is not None and not np.isnan(s.confidence)]
    return np.array([s.confidence for s in kept]), np.array([_class_right(s) == 1 for s in kept], bool)


def _right_among(*names: str) -> Callable[[CrystalScore], float]:
    """Whether of the classes ``names`` the most probable is the true one; NaN of a crystal of none of them."""
    among = [CLASSES.index(name) for name in names]

    def right(score: CrystalScore) -> float:
        if score.class_probabilities is None or not score.determined or score.defect not in among:
            return float("nan")
        return float(among[int(score.class_probabilities[among].argmax())] == score.defect)

    return right


_class_right = _right_among(*CLASSES)


def _defect_right(score: CrystalScore) -> float:
    if np.isnan(score.defect_probability) or not score.determined:
        return float("nan")
    return float((score.defect_probability > 0.5) == (score.defect > 0))


def _mean(of: Callable[[CrystalScore], float], *, answered: bool = False) -> Builder:
    return lambda scores: mean(np.array([np.nan if answered and s.undetermined else of(s) for s in scores]))


def _calibration_error(of: Callable[[Scores], Graded]) -> Builder:
    def statistic(scores: Scores) -> Statistic:
        items = [of([score]) for score in scores]
        sizes = np.array([len(confidence) for confidence, _ in items])
        confidence, right = (np.concatenate(part) for part in zip(*items, strict=True))
        return CalibrationError(confidence, right, np.repeat(np.arange(len(items)), sizes), sizes > 0)

    return statistic


def _one_a_crystal(of: Callable[[Scores], Graded], kind: type[Separation] | type[RiskArea]) -> Builder:
    def statistic(scores: Scores) -> Statistic:
        items = [of([score]) for score in scores]
        defined = np.array([len(confidence) > 0 for confidence, _ in items])
        confidence, right = np.zeros(len(items)), np.zeros(len(items), bool)
        confidence[defined], right[defined] = (np.concatenate(part) for part in zip(*items, strict=True))
        return kind(confidence, right, defined)

    return statistic


ANSWER_STATISTICS: Mapping[str, Builder] = {
    "class accuracy": _mean(_class_right),
    "none, edge or screw": _mean(_right_among("none", "edge", "screw")),
    "edge or screw": _mean(_right_among("edge", "screw")),
    "defect accuracy": _mean(_defect_right),
    "defect AUROC": _one_a_crystal(defect_calibration, Separation),
    "count exact": _mean(lambda score: score.count_right),
    "calibration error": _calibration_error(defect_calibration),
    "calibration error of the class": _calibration_error(class_calibration),
    "calibration error of lines": _calibration_error(line_calibration),
    "answered": _mean(lambda score: float(not score.undetermined)),
    "class accuracy where answered": _mean(_class_right, answered=True),
    "defect accuracy where answered": _mean(_defect_right, answered=True),
    "abstention AUROC": _one_a_crystal(abstention, Separation),
    "abstention risk area": _one_a_crystal(abstention, RiskArea),
}
