"""Predictions against the dislocations that DXA finds at the same steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from inference_insitu.inference.results import StoredResult
from inference_insitu.lammps.dxa import Analysis

DECISION = 0.5
"""Probability from which a prediction counts as "dislocated"."""


def compare(
    results: Sequence[StoredResult], analyses: Sequence[Analysis], *, minimum_length_A: float
) -> dict[str, Any]:
    """Agreement over the steps that have both; figures that the steps leave undefined are None.

    ``auroc`` ranks the defect probability; ``accuracy`` and ``f1`` decide at ``DECISION``. A
    step counts as dislocated from ``minimum_length_A`` Å of lines on.
    """
    truth = {analysis.step: analysis for analysis in analyses}
    pairs = [(result, truth[result.step]) for result in results if result.step in truth]
    dislocated = [analysis.length_A >= minimum_length_A for analysis in analyses]
    onset = next((a.step for a, found in zip(analyses, dislocated, strict=True) if found), None)
    actual = np.array([analysis.length_A >= minimum_length_A for _, analysis in pairs], bool)
    probability = np.array([result.defect_probability for result, _ in pairs], float)
    said = probability >= DECISION
    hits = int((said & actual).sum())
    wrong = int((said != actual).sum())
    return {
        "steps": len(pairs),
        "dislocated_steps": int(actual.sum()),
        "first_dislocated_step": onset,
        "first_predicted_step": next((r.step for r, _ in pairs if r.defect_probability >= DECISION), None),
        "accuracy": _ratio(len(pairs) - wrong, len(pairs)),
        "f1": _ratio(2 * hits, 2 * hits + wrong),
        "auroc": auroc(probability, actual),
        "class_agreement": _ratio(sum(r.defect_class == a.defect_class for r, a in pairs), len(pairs)),
        "count_mean_absolute_error": _ratio(sum(abs(r.count - a.count) for r, a in pairs), len(pairs)),
        "undetermined": sum(result.undetermined for result, _ in pairs),
    }


def auroc(
    score: "np.ndarray[Any, np.dtype[np.float64]]", actual: "np.ndarray[Any, np.dtype[np.bool_]]"
) -> float | None:
    """Probability that a positive scores above a negative (ties count half); None without both."""
    positive, negative = score[actual], score[~actual]
    if not len(positive) or not len(negative):
        return None
    above = (positive[:, None] > negative).mean() + 0.5 * (positive[:, None] == negative).mean()
    return round(float(above), 4)


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
