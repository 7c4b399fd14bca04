"""A detector and the beam it stands in, from expected intensity to counts: every effect in its order.

    coherence → rocking errors → point spread → level → stray and background photons → beam
    fluctuation → counting → hot pixels → saturation → dead pixels, gaps, beamstop → crop → binning

Blur comes before counting, since counting noise of neighbouring pixels is independent; what the
electronics do to a count comes after. Every effect is optional: the default counts ideally.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.detector.background import Alien, Background, air_scatter, background, random_alien
from cdi.detector.coherence import Coherence, partial_coherence
from cdi.detector.photons import expected_photons, poisson_counts, require_photons, torch_generator
from cdi.detector.pixels import (
    Beamstop,
    DeadPixels,
    Gaps,
    HotPixels,
    Saturation,
    beside_beamstop,
    between_gaps,
    dead_pixels,
    hot_pixels,
    random_pixels,
    saturation,
)
from cdi.detector.point_spread import PointSpread, point_spread
from cdi.detector.regions import Shape, binned, binned_grid, cropped, cropped_grid
from cdi.detector.rocking import RockingError, beam_factors, beam_fluctuation, frame_positions, rocking_step_error
from cdi.grid import QGrid
from cdi.pattern import Exposure
from cdi.requirements import require, require_positive


@dataclass(frozen=True)
class DetectorModel:
    """What turns the ideal intensity into an exposure; None leaves an effect out.

    Parameters
    ----------
    peak_counts : photons expected from the crystal in the brightest voxel, after all blur.
    total_counts : photons expected from the crystal in the whole volume; at most one of the two levels.
        With neither, the intensity itself is the expected photons.
    coherence, rocking, point_spread, background, alien, hot, saturation, dead, gaps, beamstop
        Settings of the effects, each described by its own type.
    crop : shape of the window kept around voxel N // 2.
    binning : voxels added into one, along frames, rows and columns.

    Raises
    ------
    ValueError
        For a level that is not positive, two levels, an empty crop or a binning below 1.
    """

    peak_counts: float | None = None
    total_counts: float | None = None
    coherence: Coherence | None = None
    rocking: RockingError | None = None
    point_spread: PointSpread | None = None
    background: Background | None = None
    alien: Alien | None = None
    hot: HotPixels | None = None
    saturation: Saturation | None = None
    dead: DeadPixels | None = None
    gaps: Gaps | None = None
    beamstop: Beamstop | None = None
    crop: Shape | None = None
    binning: Shape = (1, 1, 1)

    def __post_init__(self) -> None:
        levels = [name for name in ("peak_counts", "total_counts") if getattr(self, name) is not None]
        require_positive(self, *levels)
        require(len(levels) < 2, "peak_counts and total_counts", "not both be given", self.total_counts)
        require(self.crop is None or min(self.crop) >= 1, "crop", "be three positive integers or None", self.crop)
        require(min(self.binning) >= 1, "binning", "be three positive integers", self.binning)

    def expected(self, intensity: Tensor, generator: torch.Generator, voxel: Tensor | None = None) -> Tensor:
        """Photons ``(..., frames, rows, columns)`` that each voxel of the window expects, before counting.

        Arguments and errors as ``detect``; differentiable in ``intensity``.
        """
        require_photons(intensity)
        blurred = self._blurred(intensity, generator, voxel)
        signal = expected_photons(blurred, peak=self.peak_counts, total=self.total_counts)
        lit = signal + random_alien(signal, self.alien, generator) if self.alien else signal
        if self.background:
            lit = lit + _flat_and_air(self.background, lit)
        if self.rocking:
            batch, frames = tuple(lit.shape[:-3]), lit.shape[-3]
            factors = beam_factors(batch, frames, rms=self.rocking.intensity_rms, generator=generator)
            lit = beam_fluctuation(lit, factors)
        return lit

    def detect(
        self, intensity: Tensor, generator: torch.Generator, voxel: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Counts (float32) and mask (bool, True where measured) of every pattern, on the intensity's device.

        Parameters
        ----------
        intensity : (..., frames, rows, columns)
            Ideal patterns; leading axes are batch, and each pattern has noise and pixels of its own.
        generator : on the intensity's device.
        voxel : (..., 3, 3)
            Real-space voxel vectors in Å (``QGrid.voxel``); needed by ``coherence`` alone.

        Raises
        ------
        ValueError
            If a pattern holds NaN, infinity, negatives or nothing but zeros, ``voxel`` is missing,
            the generator lives elsewhere, or crop and binning do not fit.
        """
        counts = poisson_counts(self.expected(intensity, generator, voxel), generator)
        counts, mask = self._read_out(counts, generator)
        if self.crop is not None:
            counts, mask = cropped(counts, self.crop), cropped(mask, self.crop)
        return binned(counts, self.binning).float(), binned(mask, self.binning)

    def grid(self, grid: QGrid) -> QGrid:
        """Grid of the counts that ``detect`` makes of a pattern on ``grid``."""
        window = grid if self.crop is None else cropped_grid(grid, self.crop)
        return binned_grid(window, self.binning)

    def expose(self, intensity: Tensor | NDArray[np.floating], grid: QGrid, generator: np.random.Generator) -> Exposure:
        """Exposure of one pattern ``(frames, rows, columns)`` on ``grid``; float64 up to the counts.

        The numpy ``generator`` is the sample's own and gives one number, the seed of the noise.

        Raises
        ------
        ValueError
            As ``detect`` and ``Exposure``, or if the intensity has not the grid's shape.
        """
        pattern = torch.as_tensor(intensity).detach().to("cpu", torch.float64)
        require(tuple(pattern.shape) == grid.shape, "intensity", f"have the grid's shape {grid.shape}", pattern.shape)
        counts, mask = self.detect(pattern, torch_generator(generator), torch.as_tensor(grid.voxel))
        return Exposure(counts.numpy(), self.grid(grid), None if bool(mask.all()) else mask.numpy())

    def _blurred(self, intensity: Tensor, generator: torch.Generator, voxel: Tensor | None) -> Tensor:
        blurred = intensity
        if self.coherence:
            if voxel is None:
                raise ValueError("voxel must be given where coherence is set, got None")
            lengths = torch.tensor(self.coherence.lengths_A, dtype=torch.float64, device=intensity.device)
            blurred = partial_coherence(blurred, voxel.to(lengths), lengths, self.coherence.form)
        if self.rocking and (self.rocking.jitter_steps or self.rocking.stretch):
            positions = frame_positions(
                tuple(blurred.shape[:-3]),
                blurred.shape[-3],
                jitter=self.rocking.jitter_steps,
                stretch=self.rocking.stretch,
                generator=generator,
            )
            blurred = rocking_step_error(blurred, positions)
        return point_spread(blurred, self.point_spread.sigma_pixels) if self.point_spread else blurred

    def _read_out(self, counts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        mask = torch.ones_like(counts, dtype=torch.bool)
        if self.hot:
            hot = random_pixels(counts, self.hot.fraction, generator)
            counts = hot_pixels(counts, hot, self.hot.counts, generator)
            mask = mask & ~hot if self.hot.masked else mask
        if self.saturation:
            counts, below = saturation(counts, self.saturation.counts)
            mask = mask & below if self.saturation.masked else mask
        if self.dead:
            dead = random_pixels(counts, self.dead.fraction, generator)
            counts = dead_pixels(counts, dead)
            mask = mask & ~dead if self.dead.masked else mask
        window = (counts.shape[-2], counts.shape[-1])
        for open_pixels in self._open_pixels(window, counts.device):
            counts, mask = counts * open_pixels, mask & open_pixels
        return counts, mask

    def _open_pixels(self, window: tuple[int, int], device: torch.device) -> list[Tensor]:
        open_pixels = [between_gaps(window, self.gaps, device)] if self.gaps else []
        return [*open_pixels, beside_beamstop(window, self.beamstop, device)] if self.beamstop else open_pixels


def detect_each(
    models: Sequence[DetectorModel],
    intensity: Tensor,
    generators: Sequence[torch.Generator],
    voxel: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Counts and masks of patterns ``(batch, frames, rows, columns)``, each by its own detector and generator.

    ``voxel`` is (batch, 3, 3) in Å. All models keep the same crop and binning.

    Raises
    ------
    ValueError
        As ``DetectorModel.detect``, or if the numbers of models, generators and patterns differ.
    """
    require(
        len(models) == len(generators) == len(intensity),
        "models and generators",
        f"be as many as the {len(intensity)} patterns",
        (len(models), len(generators)),
    )
    voxels: Sequence[Tensor | None] = [None] * len(models) if voxel is None else list(voxel)
    pairs = [
        model.detect(pattern, generator, cell)
        for model, pattern, generator, cell in zip(models, intensity, generators, voxels, strict=True)
    ]
    return torch.stack([counts for counts, _ in pairs]), torch.stack([mask for _, mask in pairs])


def _flat_and_air(settings: Background, like: Tensor) -> Tensor:
    window = (like.shape[-2], like.shape[-1])
    flat = background(window, settings.flat, settings.tilt, like)
    direction = float(np.radians(settings.air_direction_deg))
    return flat + air_scatter(window, settings.air, length=settings.air_length_pixels, direction=direction, like=like)
