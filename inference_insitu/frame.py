"""One pattern on its way: the ideal intensity at a step, where it was sampled, and the exposure it becomes."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.detector.counting import photon_counts
from cdi.grid import QGrid
from cdi.pattern import Exposure
from inference_insitu.config import PatternConfig
from inference_insitu.transport import Message


@dataclass(frozen=True)
class Frame:
    """Noise-free ``intensity`` (x, y, z) float32 in electrons² on ``grid`` at ``step``."""

    step: int
    intensity: NDArray[np.float32]
    grid: QGrid
    time_ps: float = 0.0
    load_nN: float = 0.0

    def to_message(self, **more: Any) -> Message:
        """The ``frame`` message; ``more`` are further fields."""
        fields = {
            "step": self.step,
            "time_ps": self.time_ps,
            "load_nN": self.load_nN,
            "q_centre": self.grid.centre.tolist(),
            "q_step": self.grid.step.tolist(),
        }
        return Message("frame", fields | more, self.intensity)

    @classmethod
    def from_message(cls, message: Message) -> "Frame":
        """The frame that ``to_message`` packed."""
        fields, intensity = message.fields, message.array
        if intensity is None:
            raise ValueError("a frame message must hold an intensity, got none")
        grid = QGrid(np.asarray(fields["q_centre"]), np.asarray(fields["q_step"]), intensity.shape)
        return cls(fields["step"], intensity, grid, fields["time_ps"], fields["load_nN"])

    @property
    def finite(self) -> bool:
        """False where the simulation handed over NaN or infinity."""
        return bool(np.isfinite(self.intensity).all())

    def exposure(self, detector: PatternConfig) -> Exposure:
        """Counted photons; (``detector.seed``, step) fixes the noise whatever was dropped before."""
        generator = np.random.default_rng(np.random.SeedSequence([detector.seed, self.step]))
        counts = photon_counts(self.intensity.astype(np.float64), peak_counts=detector.peak_counts, generator=generator)
        return Exposure(counts, self.grid)


@dataclass(frozen=True)
class Outcome:
    """What became of a frame on the inference rank.

    ``outcome`` is ``inferred`` or the reason for which the frame was dropped. Clock readings are
    the inference rank's; ``text`` says why where it failed.
    """

    step: int
    outcome: str
    finished_at: float
    seconds: float = 0.0
    text: str = ""

    def to_message(self) -> Message:
        """The ``outcome`` message."""
        return Message("outcome", asdict(self))

    @classmethod
    def from_message(cls, message: Message) -> "Outcome":
        """The outcome that ``to_message`` packed."""
        return cls(**message.fields)
