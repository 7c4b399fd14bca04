"""All runs of all patterns, as many at a time as a device holds, and how well each fits."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.fourier import SPATIAL
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.free_voxels import poisson_deviance
from cdi.retrieval.iteration import Iteration, Moduli, Runs
from cdi.retrieval.measured import Measured

REAL = {"single": torch.float32, "double": torch.float64}
VOXELS_AT_ONCE = {"cpu": 2**18, "cuda": 2**26}
"""Voxels that iterate together: what a processor's cache, or a share of a GPU's memory (44 bytes each), holds."""


@dataclass(frozen=True)
class Found:
    """Every run, on the CPU, origin at index 0.

    ``density``, ``support`` and ``kernel`` (patterns, starts, x, y, z), the density in √photons; ``deviance`` and
    ``error`` (patterns, starts); ``iterations`` (starts,), the fewest of any pattern.
    """

    density: Tensor
    support: Tensor
    kernel: Tensor | None
    deviance: Tensor
    error: Tensor
    iterations: Tensor


def all_runs(
    patterns: Measured,
    support: Tensor,
    starts: Tensor,
    config: RetrievalConfig,
    device: torch.device,
    report: Callable[[int], None],
    stop: Callable[[], bool],
) -> Found:
    """Iterate ``starts`` (patterns, starts, x, y, z) from ``support`` (patterns, x, y, z); see ``retrieve``."""
    count, number = starts.shape[:2]
    room = VOXELS_AT_ONCE.get(device.type, VOXELS_AT_ONCE["cpu"]) // starts[0, 0].numel()
    # Reflections that share a support iterate together, whatever their number.
    side = count if config.shared_support else max(1, min(count, room))
    wide = max(1, min(number, room // side))
    columns = []
    for begin in range(0, number, wide):
        column = [
            _batch(
                patterns, support, starts[:, begin : begin + wide], slice(row, row + side), config, device, report, stop
            )
            for row in range(0, count, side)
        ]
        columns.append(_stacked(column, 0))
    return _stacked(columns, 1)


def _batch(
    patterns: Measured, support: Tensor, starts: Tensor, rows: slice, config: RetrievalConfig, device: torch.device,
    report: Callable[[int], None], stop: Callable[[], bool],
) -> Found:  # fmt: skip
    part = Measured(patterns.counts[rows], patterns.measured[rows], patterns.free[rows])
    density = starts[rows].to(device, copy=True)
    inside = support[rows][:, None].expand(density.shape).to(device)
    moduli = _moduli(part, REAL[config.precision], device)
    runs = Iteration(density, inside, moduli, config).run(lambda: report(density.shape[0] * density.shape[1]), stop)
    return _judged(runs, part)


def _moduli(patterns: Measured, real: torch.dtype, device: torch.device) -> Moduli:
    fitted = patterns.fitted
    root = (patterns.counts / patterns.scale).sqrt() * fitted
    weight = patterns.seen.sum(SPATIAL, keepdim=True).sqrt()
    return Moduli(*(volume[:, None].to(device, real) for volume in (root, ~fitted, weight)))


def _judged(runs: Runs, patterns: Measured) -> Found:
    """``runs`` in photons, with their misfit on the voxels that they fitted and on those that they did not."""
    scale = patterns.scale[:, None]
    counts = patterns.counts[:, None]
    intensity = runs.intensity.cpu().double() * scale
    fitted = patterns.fitted[:, None]
    error = ((counts.sqrt() - intensity.sqrt()).square() * fitted).sum(SPATIAL) / (counts * fitted).sum(SPATIAL)
    density = runs.density.cpu()
    return Found(
        density * scale.sqrt().to(density.real.dtype),
        runs.support.cpu(),
        None if runs.kernel is None else runs.kernel.cpu(),
        poisson_deviance(counts, intensity, patterns.free[:, None]),
        error,
        torch.full((density.shape[1],), runs.iterations),
    )


def _stacked(parts: list[Found], axis: int) -> Found:
    """Batches joined along patterns (0) or starts (1)."""
    kernels = [part.kernel for part in parts if part.kernel is not None]
    iterations = [part.iterations for part in parts]
    return Found(
        torch.cat([part.density for part in parts], axis),
        torch.cat([part.support for part in parts], axis),
        # A batch that was stopped before the first fit has no kernel, and none is invented for it.
        torch.cat(kernels, axis) if len(kernels) == len(parts) else None,
        torch.cat([part.deviance for part in parts], axis),
        torch.cat([part.error for part in parts], axis),
        torch.cat(iterations) if axis else torch.stack(iterations).amin(0),
    )
