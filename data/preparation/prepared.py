"""The steps from raw frames to a pattern for phasing, as a configuration, in cohere's order. Free of torch.

What is no photon of the crystal is marked as unmeasured and not set to zero, as cohere does: a zero would be a claim.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cdi.pattern import Exposure
from cdi.retrieval.framing import binned, centre_of_mass, cropped, peak
from data.preparation.aliens import AlienConfig, aliens
from data.preparation.bad_voxels import background_level, hot_pixels, zingers
from data.preparation.orthogonal import orthogonal

CENTRES = {"brightest": peak, "mass": centre_of_mass}
AUTOMATIC = -1.0
"""Of ``background``: measured where the pattern is faintest."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Preparation:
    """What is done to a pattern, in this order; by default nothing.

    Parameters
    ----------
    hot_pixels : mark pixels that count in the dark, and single spikes.
    alien_boxes : boxes (first, end) of frames, rows and columns, six numbers each, in which nothing is of the crystal.
    aliens : mark small clusters without a mirror image.
    background : counts a voxel to subtract; −1: what the faintest tenth of the volume holds. Results are no counts any
        more: for programs that ask for it, not for this one, whose networks were trained with background.
    threshold : counts at or below it become 0, likewise (cohere's ``intensity_threshold``).
    centre : what comes to the middle: ``brightest`` voxel, centre of ``mass``, or ``none``.
    shape : voxels that are kept around the middle; beyond the edge unmeasured.
    binning : frames, rows and columns that are added to one.
    orthogonal : interpolate to the axes of the laboratory.

    Raises
    ------
    ValueError
        For a value out of its range.
    """

    hot_pixels: bool = False
    alien_boxes: tuple[tuple[int, int, int, int, int, int], ...] = ()
    aliens: AlienConfig | None = None
    background: float = 0.0
    threshold: float = 0.0
    centre: str = "none"
    shape: Shape | None = None
    binning: Shape = (1, 1, 1)
    orthogonal: bool = False

    def __post_init__(self) -> None:
        if self.centre not in ("none", *CENTRES):
            raise ValueError(f"centre must be one of none, {', '.join(CENTRES)}, got {self.centre!r}")
        if not (np.isfinite(self.background) and (self.background >= 0 or self.background == AUTOMATIC)):
            raise ValueError(f"background must be at least 0, or -1 to measure it, got {self.background}")
        if not (np.isfinite(self.threshold) and self.threshold >= 0):
            raise ValueError(f"threshold must be at least 0, got {self.threshold}")
        if self.shape is not None and min(self.shape) < 8:
            raise ValueError(f"shape must have at least 8 voxels a side, got {self.shape}")
        if min(self.binning) < 1:
            raise ValueError(f"binning must be at least 1 along every axis, got {self.binning}")
        for box in self.alien_boxes:
            if any(not 0 <= first < end for first, end in zip(box[::2], box[1::2], strict=True)):
                raise ValueError(f"alien_boxes must hold (first, end) of frames, rows and columns, got {box}")


@dataclass(frozen=True)
class Prepared:
    """The exposure, and a line about each step that did something."""

    exposure: Exposure
    steps: tuple[str, ...]


def prepared(exposure: Exposure, config: Preparation) -> Prepared:
    """``exposure`` after the steps of ``config``.

    Raises
    ------
    ValueError
        If nothing is left, binning leaves less than 8 voxels a side, or orthogonal axes lack the geometry.
    """
    steps: list[str] = []
    for name, bad in _bad(exposure, config):
        steps.append(f"{name}: {int(bad.sum())} voxels marked unmeasured")
        exposure = _without(exposure, bad)
    exposure, lowered = _lowered(exposure, config)
    return Prepared(*_framed(exposure, config, [*steps, *lowered]))


def _bad(exposure: Exposure, config: Preparation) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    counts = exposure.counts if exposure.mask is None else np.where(exposure.mask, exposure.counts, np.float32(0))
    if config.hot_pixels:
        hot = np.broadcast_to(hot_pixels(counts), counts.shape) | zingers(counts)
        counts = np.where(hot, np.float32(0), counts)
        yield "hot pixels", hot
    if config.alien_boxes:
        inside = np.zeros(counts.shape, bool)
        for box in config.alien_boxes:
            inside[tuple(slice(first, end) for first, end in zip(box[::2], box[1::2], strict=True))] = True
        counts = np.where(inside, np.float32(0), counts)
        yield "alien boxes", inside
    if config.aliens is not None:
        yield "aliens", aliens(counts, config.aliens)


def _without(exposure: Exposure, bad: NDArray[np.bool_]) -> Exposure:
    mask = ~bad if exposure.mask is None else exposure.mask & ~bad
    if not mask.any():
        raise ValueError("preparation must leave a voxel, it marks all of them")
    return replace(exposure, counts=np.where(mask, exposure.counts, np.float32(0)), mask=mask)


def _lowered(exposure: Exposure, config: Preparation) -> tuple[Exposure, list[str]]:
    counts, steps = exposure.counts, []
    level = background_level(counts, exposure.mask) if config.background == AUTOMATIC else config.background
    if level > 0:
        counts = np.maximum(counts - np.float32(level), np.float32(0))
        steps.append(f"background: {level:.4g} counts a voxel subtracted")
    if config.threshold > 0:
        faint = (counts > 0) & (counts <= config.threshold)
        counts = np.where(faint, np.float32(0), counts)
        steps.append(f"threshold: {int(faint.sum())} voxels set to 0")
    if not counts.any():
        raise ValueError(f"background and threshold must leave a photon, got {level:g} and {config.threshold:g}")
    return replace(exposure, counts=counts), steps


def _framed(exposure: Exposure, config: Preparation, steps: list[str]) -> tuple[Exposure, tuple[str, ...]]:
    if config.centre != "none" or config.shape is not None:
        middle = np.asarray(exposure.counts.shape) // 2
        centre = middle if config.centre == "none" else CENTRES[config.centre](exposure)
        before = _shape_to_keep(exposure, config)
        exposure = cropped(exposure, centre, before)
        steps.append(f"window: {' × '.join(map(str, before))} voxels around {centre.tolist()}")
    if config.binning != (1, 1, 1):
        if any(n < 8 * f for n, f in zip(exposure.counts.shape, config.binning, strict=True)):
            raise ValueError(f"binning must leave 8 voxels a side of {exposure.counts.shape}, got {config.binning}")
        exposure = binned(exposure, config.binning)
        steps.append(f"binning: {' × '.join(map(str, config.binning))}")
    if config.orthogonal:
        exposure = orthogonal(exposure)
        steps.append(f"orthogonal: {' × '.join(map(str, exposure.counts.shape))} voxels")
    return exposure, tuple(steps)


def _shape_to_keep(exposure: Exposure, config: Preparation) -> Shape:
    """The window in unbinned voxels: ``shape`` counts binned ones."""
    if config.shape is None:
        first, second, third = exposure.counts.shape
        return first, second, third
    a, b, c = (n * f for n, f in zip(config.shape, config.binning, strict=True))
    return a, b, c
