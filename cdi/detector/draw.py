"""Draw a detector from its distribution: the sample's numpy generator decides everything.

Each effect has a stream of its own, so that switching one on leaves the others of a sample as they were.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.detector.background import Alien, Background
from cdi.detector.coherence import Coherence
from cdi.detector.model import DetectorModel
from cdi.detector.pixel_detectors import pixel_detector
from cdi.detector.pixels import Beamstop, DeadPixels, Gaps, HotPixels, Saturation
from cdi.detector.point_spread import PointSpread
from cdi.detector.ranges import DetectorRanges
from cdi.detector.regions import Shape
from cdi.detector.rocking import RockingError
from cdi.requirements import Range, require

Generator = np.random.Generator


@dataclass(frozen=True)
class Subject:
    """What a detector's settings are relative to: the window, the crystal's extent in Å, and the level."""

    shape: Shape
    extent: NDArray[np.float64]
    peak_counts: float


def draw_detector(
    ranges: DetectorRanges, generator: Generator, *, shape: Shape, extent: ArrayLike, peak_counts: float
) -> DetectorModel:
    """One detector for one sample, the same for the same state of ``generator``.

    Parameters
    ----------
    ranges : the distribution.
    generator : the sample's own.
    shape : (frames, rows, columns) of the pattern.
    extent : (3,)
        Size of the crystal in Å along x, y and z (``Shape.extent(np.eye(3))``).
    peak_counts : photons in the brightest voxel.

    Raises
    ------
    ValueError
        If the extent is not three positive numbers.
    """
    size = np.asarray(extent, np.float64)
    require(size.shape == (3,) and bool((size > 0).all()), "extent", "be three positive numbers in Å", size.tolist())
    subject = Subject(shape, size, peak_counts)
    seed = int(generator.integers(2**63))
    drawn: dict[str, Any] = {}
    for number, (effect, settings) in enumerate(SETTINGS.items()):
        stream = np.random.default_rng([seed, number])
        effect_ranges = getattr(ranges, effect)
        if effect_ranges is not None and stream.random() < effect_ranges.probability:
            drawn[effect] = settings(effect_ranges, stream, subject)
    return DetectorModel(peak_counts=subject.peak_counts, **drawn)


def _coherence(ranges: Any, generator: Generator, subject: Subject) -> Coherence:
    x, y, z = (float(size) * _log_uniform(ranges.lengths, generator) for size in subject.extent)
    return Coherence((x, y, z), str(generator.choice(ranges.forms)))


def _rocking(ranges: Any, generator: Generator, _: Subject) -> RockingError:
    sign = float(generator.choice([-1.0, 1.0]))
    return RockingError(
        jitter_steps=float(generator.uniform(*ranges.jitter_steps)),
        stretch=sign * float(generator.uniform(*ranges.stretch)),
        intensity_rms=float(generator.uniform(*ranges.intensity_rms)),
    )


def _point_spread(ranges: Any, generator: Generator, _: Subject) -> PointSpread:
    return PointSpread(float(generator.uniform(*ranges.sigma_pixels)))


def _background(ranges: Any, generator: Generator, _: Subject) -> Background:
    # Half the largest tilt each way at most, so that a corner never turns negative.
    rows, columns = (float(tilt) for tilt in generator.uniform(-ranges.tilt / 2, ranges.tilt / 2, 2))
    return Background(
        flat=_log_uniform(ranges.flat, generator),
        tilt=(rows, columns),
        air=_log_uniform(ranges.air, generator),
        air_length_pixels=_log_uniform(ranges.air_length_pixels, generator),
        air_direction_deg=float(generator.uniform(-180, 180)),
    )


def _alien(ranges: Any, generator: Generator, _: Subject) -> Alien:
    return Alien(
        spots=int(generator.integers(ranges.spots[0], ranges.spots[1] + 1)),
        relative_peak=_log_uniform(ranges.relative_peak, generator),
        width_pixels=_log_uniform(ranges.width_pixels, generator),
        width_frames=_log_uniform(ranges.width_frames, generator),
        elongation=_log_uniform(ranges.elongation, generator),
    )


def _hot(ranges: Any, generator: Generator, _: Subject) -> HotPixels:
    known = bool(generator.random() < ranges.masked_probability)
    return HotPixels(_log_uniform(ranges.fraction, generator), _log_uniform(ranges.counts, generator), known)


def _saturation(ranges: Any, generator: Generator, subject: Subject) -> Saturation:
    known = bool(generator.random() < ranges.masked_probability)
    level = float(np.ceil(subject.peak_counts * _log_uniform(ranges.relative, generator)))
    return Saturation(level, known)


def _dead(ranges: Any, generator: Generator, _: Subject) -> DeadPixels:
    known = bool(generator.random() < ranges.masked_probability)
    return DeadPixels(_log_uniform(ranges.fraction, generator), known)


def _gaps(ranges: Any, generator: Generator, subject: Subject) -> Gaps:
    detector = pixel_detector(str(generator.choice(ranges.detectors)))
    crossed = CROSSED[generator.integers(len(CROSSED))]
    rows, columns = (
        (module - (_gap_start(gap, window, generator) if crosses else window)) % (module + gap)
        for module, gap, window, crosses in zip(detector.module, detector.gap, subject.shape[1:], crossed, strict=True)
    )
    return Gaps(detector.module, detector.gap, (rows, columns))


def _gap_start(gap: int, window: int, generator: Generator) -> int:
    """Pixel of the window at which a gap starts: some of it inside, but nobody puts the peak into a gap."""
    starts = [start for start in range(1 - gap, window) if not start <= window // 2 < start + gap]
    return int(generator.choice(starts))


def _beamstop(ranges: Any, generator: Generator, _: Subject) -> Beamstop:
    return Beamstop(float(generator.uniform(*ranges.radius_pixels)))


SETTINGS: dict[str, Callable[[Any, Generator, Subject], object]] = {
    "coherence": _coherence,
    "rocking": _rocking,
    "point_spread": _point_spread,
    "background": _background,
    "alien": _alien,
    "hot": _hot,
    "saturation": _saturation,
    "dead": _dead,
    "gaps": _gaps,
    "beamstop": _beamstop,
}
"""How each effect's settings are drawn; the order numbers the streams, so new effects go to the end."""


CROSSED = ((True, False), (False, True), (True, True))
"""Whether a gap crosses the window's rows and its columns: along one of them or both, alike."""


def _log_uniform(limits: Range, generator: Generator) -> float:
    return float(np.exp(generator.uniform(*np.log(limits))))
