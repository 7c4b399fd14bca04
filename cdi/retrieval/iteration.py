"""The iterations of one batch of runs: everything here happens in place, without a graph, origins at index 0."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.fourier import SPATIAL
from cdi.retrieval.coherence_kernel import blurred_intensity, fitted_kernel, gaussian_kernel
from cdi.retrieval.common_frame import gather_reflections
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.projections import (
    corner_amplitude,
    corner_object,
    outside_weights,
    project_modulus_,
    squared_modulus,
    update_,
)
from cdi.retrieval.support import blurred, joined_support, shrunk_support


@dataclass(frozen=True)
class Moduli:
    """``root`` (patterns, 1, x, y, z) = √I, 0 where unknown, and ``loose``, 1 there and 0 elsewhere.

    ``weight`` (patterns, 1, 1, 1, 1) is what a pattern says of a support that it shares: √photons.
    """

    root: Tensor
    loose: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Runs:
    """What a batch ends with, each (patterns, starts, x, y, z).

    ``density`` is complex and zero outside the ``support``; ``intensity`` is its pattern as the detector would see
    it, blurred by ``kernel``, which is None for full coherence. ``iterations`` is how many were done.
    """

    density: Tensor
    support: Tensor
    intensity: Tensor
    kernel: Tensor | None
    iterations: int


class Iteration:
    """State of a batch of runs, ``density`` complex (patterns, starts, x, y, z) and ``support`` bool alike."""

    def __init__(self, density: Tensor, support: Tensor, moduli: Moduli, config: RetrievalConfig) -> None:
        self.density, self.support, self.moduli, self.config = density, support, moduli, config
        self.done = 0
        self.kernel: Tensor | None = None
        self.kernel_spectrum: Tensor | None = None
        self._intensity = torch.empty(density.shape, dtype=moduli.root.dtype, device=density.device)

    def run(self, report: Callable[[], None], stop: Callable[[], bool]) -> Runs:
        """All stages, or as many iterations as are done when ``stop`` says so; ``report`` follows each."""
        for stage in self.config.stages:
            weights = self._weights(stage.algorithm)
            for _ in range(stage.iterations):
                if stop():
                    return self._finished()
                projected = self._projected()
                if self._due(self.config.shrink_wrap.interval):
                    projected = self._shrink_wrap(projected)
                    weights = self._weights(stage.algorithm)
                update_(self.density, projected, weights)
                self.done += 1
                report()
        return self._finished()

    def _projected(self) -> Tensor:
        """``N P x``: the density with the measured moduli, times the number of voxels."""
        amplitude = corner_amplitude(self.density)
        intensity = squared_modulus(amplitude, out=self._intensity)
        settings = self.config.coherence
        if settings.kernel != "none" and self.done >= settings.first_iteration and self._due(settings.interval):
            self._fit_kernel(intensity)
        if self.kernel is not None:
            intensity = blurred_intensity(intensity, self.kernel, self.kernel_spectrum)
        return corner_object(project_modulus_(amplitude, self.moduli.root, self.moduli.loose, intensity))

    def _due(self, interval: int) -> bool:
        return interval > 0 and self.done > 0 and self.done % interval == 0

    def _weights(self, algorithm: str) -> tuple[Tensor, Tensor]:
        support = self.support.to(self.moduli.root.dtype)
        return outside_weights(algorithm, self.config.beta(algorithm), support)

    def _shrink_wrap(self, projected: Tensor) -> Tensor:
        settings = self.config.shrink_wrap
        share = self.done / self.config.iterations
        sigma = settings.sigma_start * (settings.sigma_end / settings.sigma_start) ** share
        smooth = blurred(squared_modulus(projected).sqrt_(), sigma)
        if not self.config.shared_support:
            self.support = shrunk_support(smooth, settings.threshold)
            return projected
        smooth, self.density, projected = gather_reflections(smooth, self.density, projected)
        self.support = joined_support(smooth, settings.threshold, self.config.join, self.moduli.weight)
        return projected

    def _fit_kernel(self, intensity: Tensor) -> None:
        settings = self.config.coherence
        kernel = self.kernel
        if kernel is None:
            sigma = intensity.new_full((*intensity.shape[:-3], 3), settings.sigma)
            kernel = gaussian_kernel(sigma, (intensity.shape[-3], intensity.shape[-2], intensity.shape[-1]),
                                     settings.reach)  # fmt: skip
        self.kernel = fitted_kernel(kernel, intensity, self.moduli.root.square(), self.moduli.loose, settings)
        self.kernel_spectrum = torch.fft.rfftn(self.kernel, dim=SPATIAL)

    def _finished(self) -> Runs:
        """One step of error reduction more, whatever the last algorithm left outside the support."""
        density = update_(self.density, self._projected(), self._weights("ER"))
        intensity = squared_modulus(corner_amplitude(density))
        if self.kernel is not None:
            intensity = blurred_intensity(intensity, self.kernel)
        return Runs(density, self.support, intensity, self.kernel, self.done)
