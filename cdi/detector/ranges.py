"""A distribution of detectors: one is drawn per sample, so that no network learns a single one.

Each effect has a probability and the ranges of its settings; what is None never occurs. Ranges
that span decades are drawn log-uniformly, the others uniformly (``cdi.detector.draw``).
"""

from dataclasses import dataclass

from cdi.detector.pixel_detectors import pixel_detector
from cdi.detector.settings import require_form
from cdi.requirements import Range, require, require_range, require_within

INFINITY = float("inf")


@dataclass(frozen=True)
class Chance:
    """``probability`` with which the effect occurs in a sample, in [0, 1]."""

    probability: float = 1.0

    def __post_init__(self) -> None:
        require_within(self, 0, 1, "probability")


@dataclass(frozen=True)
class CoherenceRange(Chance):
    """Coherence lengths along x, y, z in units of the crystal's extent there, log-uniform; forms alike."""

    lengths: Range = (0.7, 5.0)
    forms: tuple[str, ...] = ("gaussian",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, 1e-3, 1e6, "lengths")
        require(len(self.forms) > 0, "forms", "hold at least one entry", self.forms)
        for form in self.forms:
            require_form(form)


@dataclass(frozen=True)
class RockingRange(Chance):
    """Ranges of ``RockingError``, uniform; ``stretch`` with either sign."""

    jitter_steps: Range = (0.0, 0.2)
    stretch: Range = (0.0, 0.03)
    intensity_rms: Range = (0.0, 0.05)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, 0, 1, "jitter_steps", "intensity_rms")
        require_range(self, 0, 0.5, "stretch")


@dataclass(frozen=True)
class PointSpreadRange(Chance):
    """Range of ``PointSpread``, uniform."""

    sigma_pixels: Range = (0.1, 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, 1e-3, 10, "sigma_pixels")


@dataclass(frozen=True)
class BackgroundRange(Chance):
    """Ranges of ``Background``: photons log-uniform, ``tilt`` the largest, direction any."""

    flat: Range = (1e-3, 0.3)
    tilt: float = 0.5
    air: Range = (1e-4, 0.1)
    air_length_pixels: Range = (50.0, 500.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, 1e-9, INFINITY, "flat", "air", "air_length_pixels")
        require_within(self, 0, 1, "tilt")


@dataclass(frozen=True)
class AlienRange(Chance):
    """Ranges of ``Alien``: all log-uniform but the number of spots."""

    spots: tuple[int, int] = (1, 3)
    relative_peak: Range = (1e-4, 0.1)
    width_pixels: Range = (0.7, 3.0)
    width_frames: Range = (0.7, 3.0)
    elongation: Range = (1.0, 30.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, 1, 1000, "spots")
        require_range(self, 1e-9, INFINITY, "relative_peak", "width_pixels", "width_frames")
        require_range(self, 1, INFINITY, "elongation")


@dataclass(frozen=True)
class HotRange(Chance):
    """Ranges of ``HotPixels``, log-uniform; known to the mask with ``masked_probability``."""

    fraction: Range = (1e-5, 1e-3)
    counts: Range = (1.0, 1e4)
    masked_probability: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, 1e-9, 1, "fraction")
        require_range(self, 1e-9, INFINITY, "counts")
        require_within(self, 0, 1, "masked_probability")


@dataclass(frozen=True)
class DeadRange(Chance):
    """Range of ``DeadPixels``, log-uniform; known to the mask with ``masked_probability``."""

    fraction: Range = (1e-5, 2e-3)
    masked_probability: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, 1e-9, 1, "fraction")
        require_within(self, 0, 1, "masked_probability")


@dataclass(frozen=True)
class SaturationRange(Chance):
    """Saturation relative to the peak's expected counts, log-uniform; masked with ``masked_probability``."""

    relative: Range = (0.1, 1.0)
    masked_probability: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, 1e-6, INFINITY, "relative")
        require_within(self, 0, 1, "masked_probability")


@dataclass(frozen=True)
class GapsRange(Chance):
    """Detectors whose gaps may cross the window, drawn alike.

    Rows, columns or both have a gap, anywhere but over the middle of the window.
    """

    detectors: tuple[str, ...] = ("maxipix", "merlin", "lambda", "eiger", "eiger2")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.detectors) > 0, "detectors", "hold at least one entry", self.detectors)
        for name in self.detectors:
            require(max(pixel_detector(name).gap) > 0, "detectors", "all have gaps", name)


@dataclass(frozen=True)
class BeamstopRange(Chance):
    """Range of ``Beamstop``, uniform, in the middle of the window."""

    radius_pixels: Range = (1.0, 3.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(self, 1e-3, INFINITY, "radius_pixels")


@dataclass(frozen=True)
class DetectorRanges:
    """Distribution of detectors; the level of the counts is the sample's own."""

    coherence: CoherenceRange | None = None
    rocking: RockingRange | None = None
    point_spread: PointSpreadRange | None = None
    background: BackgroundRange | None = None
    alien: AlienRange | None = None
    hot: HotRange | None = None
    saturation: SaturationRange | None = None
    dead: DeadRange | None = None
    gaps: GapsRange | None = None
    beamstop: BeamstopRange | None = None
