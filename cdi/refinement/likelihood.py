"""Poisson likelihood of a pattern, with what every pattern has beside its object: scale, background, blur.

The model of a voxel's count is ``scale · (I ⊗ k) + background`` with a Gaussian k. Scale and background are profiled
out: the likelihood is convex in both, and Newton's steps find the pair at which it is greatest, so that no derivative
of theirs is needed (the envelope theorem). Origins are at ``N // 2``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.fourier import half_modes, inverse_real_transform, origin_to_centre, real_transform
from cdi.pattern import Exposure
from cdi.retrieval.free_voxels import deviance_terms
from cdi.retrieval.hidden_peak import check_peaks
from cdi.retrieval.measured import measured_patterns

Array = NDArray[np.float64]

LEAST_BACKGROUND = 1e-3
"""Photons a voxel that every model expects: one stray photon in a dark voxel must not reject a hypothesis."""
NEWTON_STEPS = 8
CONVERGED = 1e-9
"""Relative step in scale and background after which no other follows."""


@dataclass(frozen=True, eq=False)
class Observed:
    """Patterns of one crystal.

    Parameters
    ----------
    counts : (reflections, x, y, z) float64
        Photons, 0 where unmeasured.
    fitted, free : (reflections, x, y, z) bool
        Voxels that are fitted, and measured ones that are held out.
    """

    counts: Tensor
    fitted: Tensor
    free: Tensor

    @classmethod
    def of(cls, exposures: Sequence[Exposure], fraction: float, generator: torch.Generator) -> "Observed":
        """``exposures`` with a random ``fraction`` of their voxels held out, those of ``measured_patterns``.

        A retrieval that held out as large a share by an equal generator held out these.

        Raises
        ------
        ValueError
            As ``cdi.retrieval.measured.measured_patterns``, for a mask that hides a peak, and for a fraction out of
            (0, 0.5].
        """
        if not 0 < fraction <= 0.5:
            raise ValueError(f"free_fraction must lie in (0, 0.5], got {fraction}")
        check_peaks(exposures)
        patterns = measured_patterns(exposures, fraction, generator)
        counts, measured, free = map(origin_to_centre, (patterns.counts, patterns.measured, patterns.free))
        return cls(counts, measured & ~free, free)

    def to(self, device: torch.device | str) -> "Observed":
        """On ``device``."""
        return Observed(self.counts.to(device), self.fitted.to(device), self.free.to(device))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of a pattern."""
        x, y, z = self.counts.shape[-3:]
        return x, y, z


def blurred(intensity: Tensor, widths: Tensor) -> Tensor:
    """``convolved`` of an intensity, not negative: rounding leaves less than nothing beside a bright peak."""
    return convolved(intensity, widths).clamp_min(0)


def convolved(intensity: Tensor, widths: Tensor) -> Tensor:
    """``intensity`` (..., x, y, z) convolved with a Gaussian of ``widths`` (..., 3) in voxels, periodic.

    By its transform exp(−2π²σ²f²): exact at any width, differentiable in it.
    """
    shape = (intensity.shape[-3], intensity.shape[-2], intensity.shape[-1])
    spectrum = real_transform(intensity)
    factor = (widths.square() @ _falloffs(shape, intensity.dtype, intensity.device)).exp()
    return inverse_real_transform(spectrum * factor.reshape(*widths.shape[:-1], *spectrum.shape[-3:]), shape)


@lru_cache(maxsize=2)
def _falloffs(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """−2π²f² ``(3, modes)`` along each axis on the modes of ``real_transform``: the same in every step of a fit."""
    modes = half_modes(shape, torch.empty(0, dtype=dtype, device=device))
    turns = torch.meshgrid(*(numbers / n for numbers, n in zip(modes, shape, strict=True)), indexing="ij")
    return -2 * torch.pi**2 * torch.stack(turns).square().flatten(1)


@torch.no_grad()
def scale_and_background(counts: Tensor, intensity: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The pair ``(reflections, 1, 1, 1)`` of greatest likelihood for ``scale · intensity + background``.

    ``weight`` is 1 on the fitted voxels. The background is not below ``LEAST_BACKGROUND``.
    """
    light, told = intensity.flatten(1), (weight * counts).flatten(1)
    powers = torch.stack([torch.ones_like(light), light, light.square()], 1)
    sums = _sums(torch.stack([weight.flatten(1), told], 1), powers)
    voxels, all_light, seen = sums[:, 0, 0], sums[:, 0, 1], sums[:, 1, 0]
    pair = np.stack([seen / np.maximum(all_light, 1e-300), np.maximum(0.01 * seen / voxels, LEAST_BACKGROUND)])
    ratios = torch.empty_like(powers[:, :2])
    for _ in range(NEWTON_STEPS):
        scale, background = torch.from_numpy(pair).to(light).unsqueeze(-1)
        model = torch.addcmul(background, scale, light).clamp_min_(1e-300)
        torch.div(told, model, out=ratios[:, 0])
        torch.div(ratios[:, 0], model, out=ratios[:, 1])
        before, pair = pair, _newton_step(pair, voxels, all_light, _sums(ratios, powers))
        if (np.abs(pair - before) <= CONVERGED * before).all():
            break
    scale, background = torch.from_numpy(pair).to(intensity)[..., None, None, None]
    return scale, background


def _sums(weights: Tensor, powers: Tensor) -> Array:
    """``(reflections, weights, powers)`` on the host: what little follows from them holds no GPU up."""
    return np.asarray((weights @ powers.mT).cpu().numpy(), np.float64)


def _newton_step(pair: Array, voxels: Array, light: Array, sums: Array) -> Array:
    """Scale and background ``(2, reflections)`` after ``pair``.

    ``sums`` (reflections, 2, 3) of n/m and n/m² times the powers 0, 1, 2 of the intensity, whose own sum is ``light``.
    """
    scale, background = pair
    (ratio, ratio_light, _), (bb, sb, ss) = sums.transpose(1, 2, 0)
    slope_s, slope_b = light - ratio_light, voxels - ratio
    determinant, lone = ss * bb - sb * sb, slope_s / np.maximum(ss, 1e-300)
    regular = determinant > 1e-12 * ss * bb
    divisor = np.where(regular, determinant, 1.0)
    step_s = np.where(regular, (bb * slope_s - sb * slope_b) / divisor, lone)
    step_b = np.where(regular, (ss * slope_b - sb * slope_s) / divisor, 0.0)
    # On the bound the scale is found for itself.
    bound = (background - step_b <= LEAST_BACKGROUND) & (background <= LEAST_BACKGROUND)
    scale = np.clip(scale - np.where(bound, lone, step_s), scale / 4, scale * 4)
    return np.stack([scale, np.maximum(np.maximum(background - step_b, background / 16), LEAST_BACKGROUND)])


@dataclass(frozen=True, eq=False)
class Likelihood:
    """What ``observed`` patterns say of model intensities."""

    observed: Observed

    @cached_property
    def _weight(self) -> Tensor:
        """1 on the fitted voxels."""
        return self.observed.fitted.to(self.observed.counts.dtype)

    @cached_property
    def _told(self) -> Tensor:
        """Photons on the fitted voxels."""
        return self.observed.counts * self._weight

    @cached_property
    def _reciprocal(self) -> Tensor:
        """1/n, and 1 where there is no photon."""
        return torch.where(self.observed.counts > 0, self.observed.counts, 1.0).reciprocal()

    def of_reflection(self, number: int) -> "Likelihood":
        """What one of the patterns says."""
        one, told = slice(number, number + 1), self.observed
        return Likelihood(Observed(told.counts[one], told.fitted[one], told.free[one]))

    def model(self, intensity: Tensor, widths: Tensor) -> Tensor:
        """Expected counts ``(reflections, x, y, z)`` of ``intensity`` alike, blurred by ``widths`` (reflections, 3)."""
        light = blurred(intensity, widths)
        scale, background = scale_and_background(self.observed.counts, light.detach(), self._weight)
        return torch.addcmul(background, scale, light)

    def deviance(self, model: Tensor) -> Tensor:
        """Sum of ``deviance_terms`` over the fitted voxels of all patterns."""
        more = torch.dot(self._weight.flatten(), (model - self.observed.counts).flatten())
        return 2 * (more - torch.dot(self._told.flatten(), (model * self._reciprocal).log().flatten()))

    def free_terms(self, model: Tensor) -> Tensor:
        """Deviance ``(n,)`` of every held-out voxel."""
        return deviance_terms(self.observed.counts, model)[self.observed.free]
