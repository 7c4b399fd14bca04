"""What the network says of one crystal. Free of torch, so that any process can read it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.defects.classes import CLASSES

MOST_LINES = 6
"""Counts are told up to this many lines; the last one means "or more"."""

__all__ = ["CLASSES", "MOST_LINES", "BurgersCandidate", "PredictedLine", "Prediction"]


@dataclass(frozen=True)
class BurgersCandidate:
    """A Burgers vector in fractions of the cell, in the sense of the line's points, and its probability."""

    fractions: tuple[float, float, float]
    probability: float


@dataclass(frozen=True)
class PredictedLine:
    """A dislocation line.

    Parameters
    ----------
    points_A : (n, 3)
        Polyline in Å from the crystal's centre (in voxels where the geometry is unknown).
    burgers : (3,) in Å, laboratory frame, in the sense of ``points_A``
        None where the reflections, or the lattice being unknown, do not determine it.
    confidence : float
        Calibrated probability in [0, 1] that a true line lies within 2 voxels.
    windings : (reflections,)
        Measured g·b in the sense of ``points_A``: whole numbers for perfect dislocations.
    candidates : tuple of BurgersCandidate
        The most probable first; empty where the lattice is unknown.
    """

    points_A: NDArray[np.float64]
    burgers: tuple[float, float, float] | None
    confidence: float
    windings: tuple[float, ...] = ()
    candidates: tuple[BurgersCandidate, ...] = ()

    @property
    def length(self) -> float:
        """Along the polyline, in the unit of ``points_A``."""
        return float(np.linalg.norm(np.diff(self.points_A, axis=0), axis=1).sum())

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "points_A": np.round(self.points_A, 2).tolist(),
            "burgers": None if self.burgers is None else [round(x, 4) for x in self.burgers],
            "confidence": round(self.confidence, 4),
            "windings": [round(w, 3) for w in self.windings],
            "candidates": [
                {"fractions": [round(x, 4) for x in c.fractions], "probability": round(c.probability, 4)}
                for c in self.candidates[:6]
            ],
        }


@dataclass(frozen=True)
class Prediction:
    """Answer for one crystal, with the volumes it was read from.

    Parameters
    ----------
    defect_probability : float
        Calibrated probability of any (visible) dislocation or fault.
    class_probabilities : tuple of float
        In the order of ``CLASSES``; they sum to 1.
    count_probabilities : tuple of float
        Of 0, 1, … ``MOST_LINES`` (or more) visible lines.
    undetermined : str
        Why the model declines to answer ("" where it does not): ``unsure``, or ``novel`` for a pattern unlike those
        that it was trained on.
    lines : tuple of PredictedLine
        The longest first.
    line_density, support : (x, y, z) float32
        Real-space volumes on the central half of the model's grid; the support of any reflection.
    phase : (reflections, x, y, z) float32
        G·u in radians, each up to a constant.
    voxel : (3, 3)
        Real-space voxel vectors in Å (row i along axis i); identity where the geometry of the
        exposure is unknown, lines then being in voxels.
    model : dict
        ``name`` and ``weights_sha256`` of the network.
    seconds : float
        Wall time of preprocessing, network and tracing.
    """

    defect_probability: float
    class_probabilities: tuple[float, ...]
    count_probabilities: tuple[float, ...]
    undetermined: str
    lines: tuple[PredictedLine, ...]
    line_density: NDArray[np.float32]
    support: NDArray[np.float32]
    phase: NDArray[np.float32]
    voxel: NDArray[np.float64]
    model: dict[str, str]
    seconds: float

    @property
    def defect_class(self) -> str:
        """Most probable class on the side that ``defect_probability`` takes: a defect split over classes is one."""
        if self.defect_probability <= 0.5:
            return CLASSES[0]
        return CLASSES[1 + int(np.argmax(self.class_probabilities[1:]))]

    @property
    def count(self) -> int:
        """Number of lines traced."""
        return len(self.lines)

    def to_json(self) -> dict[str, Any]:
        """The stable object that ``cdi predict --json`` prints."""
        return {
            "defect_probability": round(self.defect_probability, 4),
            "class": self.defect_class,
            "class_probabilities": {k: round(p, 4) for k, p in zip(CLASSES, self.class_probabilities, strict=True)},
            "count": self.count,
            "count_probabilities": [round(p, 4) for p in self.count_probabilities],
            "undetermined": bool(self.undetermined),
            "undetermined_because": self.undetermined or None,
            "lines": [line.to_json() for line in self.lines],
            "model": self.model,
            "seconds": round(self.seconds, 4),
        }
