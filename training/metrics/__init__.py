"""Scores of predictions against truth, best over the joint ambiguity group and never beyond it (docs/benchmark.md).

Twin, translation and global phases are chosen once a crystal, from its complex objects, and then applied to support,
phases and lines alike. Intervals are bootstraps over crystals.
"""

from training.metrics.confidence import expected_calibration_error
from training.metrics.crystal_score import CrystalScore, PredictedCrystal, TrueCrystal, crystal_score
from training.metrics.intervals import Interval, bootstrap
from training.metrics.line_scores import LineScore, f1, line_distances, match_lines
from training.metrics.object_scores import ObjectScore, object_score
from training.metrics.summary import differences, summary
from training.metrics.volumes import CrystalObject, KnownLine, Line

__all__ = [
    "CrystalObject",
    "CrystalScore",
    "Interval",
    "KnownLine",
    "Line",
    "LineScore",
    "ObjectScore",
    "PredictedCrystal",
    "TrueCrystal",
    "bootstrap",
    "crystal_score",
    "differences",
    "expected_calibration_error",
    "f1",
    "line_distances",
    "match_lines",
    "object_score",
    "summary",
]
