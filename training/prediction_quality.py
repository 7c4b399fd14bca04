"""What a pattern is worth before anything is read from it: sampling, counts, coherence, saturation, likeness to the
training. Free of torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.detector.pixel_detectors import PIXEL_DETECTORS
from cdi.pattern import Exposure
from cdi.retrieval.hidden_peak import hidden_peak
from data.preparation.bad_voxels import background_level
from models.preprocess import oversampling_estimate
from training.fringe_visibility import coherence_length, fringe_visibility

LEAST_OVERSAMPLING = 2.0
CLEAR = 0.98
"""Visibility beyond which fringes say no more than that the coherence is longer than five crystals."""
LEAST_COHERENCE = 1.0
"""Of the crystal's extent: shorter lengths than the training's least (1.5, less what strain takes of the fringes)."""
PLATEAU = 4
"""Voxels that share the largest count beyond which the detector, and not the crystal, set it."""
LEAST_PLATEAU_COUNTS = 1000
REACHED_EDGE = 0.01
"""Of the maximum, on a face of the volume: the pattern goes on beyond it."""
LEAST_USABLE = 0.9

Three = tuple[float, float, float]


@dataclass(frozen=True)
class PatternQuality:
    """Numbers of one pattern.

    Parameters
    ----------
    name, shape : of the file, and its voxels.
    counts, brightest : in all, and in the brightest voxel.
    usable : share of voxels that were measured.
    background : counts a voxel where the pattern is faintest.
    oversampling : voxels over the crystal's extent along each axis, from the end of the autocorrelation.
    extent_A : of the crystal along the axes of real space, in Å; None without geometry.
    visibility : of the clearest fringes along each axis; NaN where there are too few.
    coherence_A : the least Gaussian coherence length that they allow, in Å, or in crystals without geometry.
    saturated : voxels that share the largest count, where they are too many for chance.
    edge : the brightest voxel on a face of the volume, relative to the maximum.
    hidden : what of the Bragg peak the mask hides, in words; None where it is seen.
    """

    name: str
    shape: tuple[int, int, int]
    counts: float
    brightest: float
    usable: float
    background: float
    oversampling: Three
    extent_A: Three | None
    visibility: Three
    coherence_A: Three
    saturated: int
    edge: float
    hidden: str | None

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against trusting an answer, a line each."""
        return tuple(_problems(self))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; null for what is unknown."""
        numbers = {key: _plain(value) for key, value in asdict(self).items()}
        return numbers | {"problems": list(self.problems)}


@dataclass(frozen=True)
class Familiarity:
    """One property of the pattern beside what the network was trained on."""

    what: str
    here: str
    trained: str
    within: bool


def pattern_quality(name: str, exposure: Exposure) -> PatternQuality:
    """The quality of ``exposure`` as it was measured."""
    measured = np.ones(exposure.counts.shape, bool) if exposure.mask is None else exposure.mask
    counts = np.where(measured, exposure.counts, np.float32(0))
    oversampling = oversampling_estimate(counts)
    extent = None
    if exposure.grid is not None:
        voxels = np.linalg.norm(exposure.grid.voxel, axis=1) * counts.shape
        extent = voxels / oversampling
    visibility = fringe_visibility(exposure).visibility
    sizes = np.ones(3) if extent is None else extent
    lengths = [coherence_length(v, float(size)) for v, size in zip(visibility, sizes, strict=True)]
    return PatternQuality(
        name=name,
        shape=(counts.shape[0], counts.shape[1], counts.shape[2]),
        counts=float(counts.sum(dtype=np.float64)),
        brightest=float(counts.max()),
        usable=float(measured.mean()),
        background=background_level(counts, measured),
        oversampling=_three(oversampling),
        extent_A=None if extent is None else _three(extent),
        visibility=visibility,
        coherence_A=_three(lengths),
        saturated=_saturated(counts),
        edge=max(float(face.max()) for face in _faces(counts)) / float(counts.max()),
        hidden=hidden_peak(exposure),
    )


def familiarity(
    quality: Sequence[PatternQuality], fitted: Sequence[Exposure], training: Mapping[str, Any], element: str | None
) -> tuple[Familiarity, ...]:
    """How the patterns, ``fitted`` as the network takes them, lie in the ranges of its recipe; empty without one."""
    recipe = training.get("config", {}).get("recipe", {})
    found: list[Familiarity] = []
    values = {
        "oversampling": (
            "oversampling as the network takes it",
            [o for e in fitted for o in oversampling_estimate(e.counts)],
        ),
        "peak_counts": ("counts in the brightest voxel", [float(e.counts.max()) for e in fitted]),
        "diameter_A": (
            "size of the crystal (Å)",
            [float(np.prod(q.extent_A)) ** (1 / 3) for q in quality if q.extent_A],
        ),
    }
    for key, (what, here) in values.items():
        if key in recipe and here:
            low, high = map(float, recipe[key])
            # Estimates from an autocorrelation are good to a fifth.
            within = bool(min(here) >= 0.8 * low and max(here) <= 1.2 * high)
            span = f"{min(here):.3g}" if len(here) == 1 else f"{min(here):.3g} to {max(here):.3g}"
            found.append(Familiarity(what, span, f"{low:.3g} to {high:.3g}", within))
    if element is not None and "elements" in recipe:
        found.append(Familiarity("material", element, " ".join(recipe["elements"]), element in recipe["elements"]))
    return tuple(found)


def quality_text(quality: Sequence[PatternQuality], familiar: Sequence[Familiarity]) -> Iterator[str]:
    """Lines of text: what ``cdi predict`` prints before its answer."""
    for pattern in quality:
        shape = " × ".join(map(str, pattern.shape))
        yield f"quality      {pattern.name}: {shape} voxels, {100 * pattern.usable:.1f} % usable"
        yield (
            f"  counts     {pattern.counts:.3g} in all, {pattern.brightest:.6g} in the brightest voxel, background "
            f"{pattern.background:.2g} a voxel"
        )
        yield f"  sampling   {_numbers(pattern.oversampling, '.3g')} times the crystal (2 is needed){_size(pattern)}"
        yield f"  coherence  {coherence_words(pattern)}"
        for problem in pattern.problems:
            yield f"  problem    {problem}"
    for entry in familiar:
        if not entry.within:
            yield f"unfamiliar   {entry.what}: {entry.here}, trained on {entry.trained}"


def coherence_words(pattern: PatternQuality) -> str:
    """The clearest fringes and the least coherence that they allow, in words."""
    known = [v for v in pattern.visibility if not np.isnan(v)]
    if not known:
        return "no fringe is bright enough to tell"
    form = "{:.0f} Å" if pattern.extent_A is not None else "{:.2g} crystals"
    least = [
        "–" if np.isnan(v) else "long" if v > CLEAR else form.format(length)
        for v, length in zip(pattern.visibility, pattern.coherence_A, strict=True)
    ]
    return f"clearest fringes {_numbers(pattern.visibility, '.2f')}; coherence at least {', '.join(least)}"


def _problems(q: PatternQuality) -> Iterator[str]:
    axes = ("frames", "rows", "columns")
    low = [f"{axes[a]} {o:.2f}" for a, o in enumerate(q.oversampling) if o < LEAST_OVERSAMPLING]
    if low:
        yield f"oversampling must be at least 2, got {', '.join(low)}: steps too coarse, or another crystal in the beam"
    if q.hidden is not None:
        yield f"the mask hides the Bragg peak: {q.hidden}"
    if q.saturated:
        yield f"{q.saturated} voxels share the largest count {q.brightest:.6g}: saturated? mask them with --mask"
    if q.edge > REACHED_EDGE:
        yield f"the pattern reaches the edge of the volume at {100 * q.edge:.1f} % of its maximum: it is cut off"
    if q.usable < LEAST_USABLE:
        yield f"{100 * (1 - q.usable):.0f} % of the voxels are unusable"
    sizes = (1.0, 1.0, 1.0) if q.extent_A is None else q.extent_A
    pairs = zip(axes, q.coherence_A, sizes, strict=True)
    short = [f"{name} {length / size:.2f}" for name, length, size in pairs if length < LEAST_COHERENCE * size]
    if short:
        yield (
            f"fringes are washed out, as with a coherence shorter than the crystal ({', '.join(short)} crystals); "
            "strain does the same"
        )
    if q.background > 0.01 * q.brightest:
        yield f"background is {100 * q.background / q.brightest:.1f} % of the brightest voxel"


def _saturated(counts: NDArray[np.float32]) -> int:
    top = counts.max()
    number = int((counts == top).sum())
    at_depth = any(top == detector.counter for detector in PIXEL_DETECTORS.values())
    return number if (number >= PLATEAU and top >= LEAST_PLATEAU_COUNTS) or at_depth else 0


def _faces(counts: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for axis in range(3):
        for end in (0, -1):
            yield np.asarray(counts.take(end, axis=axis))


def _size(q: PatternQuality) -> str:
    return "" if q.extent_A is None else f", which spans {_numbers(q.extent_A, '.0f')} Å"


def _numbers(values: Sequence[float], form: str) -> str:
    return ", ".join("–" if np.isnan(v) else format(v, form) for v in values)


def _three(values: Any) -> Three:
    first, second, third = (float(v) for v in values)
    return first, second, third


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if not np.isfinite(value) else float(f"{value:.5g}")
    return value
