"""Poisson likelihood of a pattern, with what every pattern has beside its object: scale, background, blur.

The model of a voxel's count is ``scale · (I ⊗ k) + background`` with a Gaussian k. Scale and background are profiled
out: the likelihood is convex in both, and Newton's steps find the pair at which it is greatest, so that no derivative
of theirs is needed (the envelope theorem). Origins are at ``N // 2``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.fourier import SPATIAL, half_modes, inverse_real_transform, origin_to_centre, real_transform
from cdi.pattern import Exposure
from cdi.retrieval.free_voxels import deviance_terms
from cdi.retrieval.measured import check_peaks, measured_patterns

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
    exponent = intensity.new_zeros(())
    for axis, (n, modes) in enumerate(zip(shape, half_modes(shape, intensity), strict=True)):
        sides = [1, 1, 1]
        sides[axis] = len(modes)
        turns = (modes / n).square().reshape(sides)
        exponent = exponent + widths[..., axis, None, None, None].square() * turns
    spectrum = real_transform(intensity) * torch.exp(-2 * torch.pi**2 * exponent)
    return inverse_real_transform(spectrum, shape)


@torch.no_grad()
def scale_and_background(counts: Tensor, intensity: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The pair ``(reflections, 1, 1, 1)`` of greatest likelihood for ``scale · intensity + background``.

    ``weight`` is 1 on the fitted voxels. The background is not below ``LEAST_BACKGROUND``.
    """
    voxels = weight.sum(SPATIAL, keepdim=True)
    light, seen = (intensity * weight).sum(SPATIAL, keepdim=True), (counts * weight).sum(SPATIAL, keepdim=True)
    scale = seen / light.clamp_min(1e-300)
    background = torch.full_like(scale, LEAST_BACKGROUND).maximum(0.01 * seen / voxels)
    for _ in range(NEWTON_STEPS):
        model = (scale * intensity + background).clamp_min(1e-300)
        ratio = weight * counts / model
        curve = ratio / model
        slope = torch.stack([light - (ratio * intensity).sum(SPATIAL, keepdim=True),
                             voxels - ratio.sum(SPATIAL, keepdim=True)])  # fmt: skip
        ss, sb, bb = ((curve * part).sum(SPATIAL, keepdim=True) for part in (intensity.square(), intensity, 1.0))
        determinant = ss * bb - sb * sb
        lone = slope[0] / ss.clamp_min(1e-300)
        step_s = torch.where(determinant > 1e-12 * ss * bb, (bb * slope[0] - sb * slope[1]) / determinant, lone)
        step_b = torch.where(determinant > 1e-12 * ss * bb, (ss * slope[1] - sb * slope[0]) / determinant, 0.0)
        # On the bound the scale is found for itself.
        bound = (background - step_b) <= LEAST_BACKGROUND
        step_s = torch.where(bound & (background <= LEAST_BACKGROUND), lone, step_s)
        before = torch.stack([scale, background])
        scale = (scale - step_s).clamp(min=scale / 4, max=scale * 4)
        background = (background - step_b).clamp(min=background / 16).clamp_min(LEAST_BACKGROUND)
        if bool(((torch.stack([scale, background]) - before).abs() <= CONVERGED * before).all()):
            break
    return scale, background


@dataclass(frozen=True, eq=False)
class Likelihood:
    """What ``observed`` patterns say of model intensities."""

    observed: Observed

    def of_reflection(self, number: int) -> "Likelihood":
        """What one of the patterns says."""
        one, told = slice(number, number + 1), self.observed
        return Likelihood(Observed(told.counts[one], told.fitted[one], told.free[one]))

    def model(self, intensity: Tensor, widths: Tensor) -> Tensor:
        """Expected counts ``(reflections, x, y, z)`` of ``intensity`` alike, blurred by ``widths`` (reflections, 3)."""
        light = blurred(intensity, widths)
        scale, background = scale_and_background(
            self.observed.counts, light.detach(), self.observed.fitted.to(light.dtype)
        )
        return scale * light + background

    def deviance(self, model: Tensor) -> Tensor:
        """Sum over the fitted voxels of all patterns."""
        return (deviance_terms(self.observed.counts, model) * self.observed.fitted).sum()

    def free_terms(self, model: Tensor) -> Tensor:
        """Deviance ``(n,)`` of every held-out voxel."""
        return deviance_terms(self.observed.counts, model)[self.observed.free]
