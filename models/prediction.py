"""What the network says of one exposure. Free of torch, so that any process can read it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.defects.classes import CHARACTERS

CLASSES = CHARACTERS
"""What the network tells apart: straight dislocations by their character."""


def class_index(defect: str) -> int:
    """Index of ``defect`` in ``CLASSES``.

    Raises
    ------
    ValueError
        If the network does not tell that class.
    """
    if defect not in CLASSES:
        raise ValueError(f"defect must be one of {', '.join(CLASSES)}, all that this network tells, got {defect!r}")
    return CLASSES.index(defect)


@dataclass(frozen=True)
class PredictedLine:
    """A dislocation line: ``points_A`` (n, 3) centred on the crystal.

    ``burgers`` is the Burgers vector in Å, or None where the exposure does not determine it (one
    reflection sees only g·b). ``confidence`` lies within [0, 1].
    """

    points_A: NDArray[np.float64]
    burgers: tuple[float, float, float] | None
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """Answer for one exposure, with the volumes it was read from.

    Parameters
    ----------
    defect_probability : float
        Calibrated probability of any (visible) dislocation.
    class_probabilities : tuple of float
        In the order of ``CLASSES``; they sum to 1.
    undetermined : bool
        True where the model declines to answer: confidence below its threshold.
    lines : tuple of PredictedLine
    line_density, support, phase : (x, y, z) float32
        Real-space volumes on the central half of the model's grid; phase in radians.
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
    undetermined: bool
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
            "undetermined": self.undetermined,
            "lines": [
                {
                    **asdict(line),
                    "points_A": np.round(line.points_A, 2).tolist(),
                    "confidence": round(line.confidence, 4),
                }
                for line in self.lines
            ],
            "model": self.model,
            "seconds": round(self.seconds, 4),
        }
