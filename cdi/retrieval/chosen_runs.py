"""The best runs of a pattern, or of reflections that share a support: aligned, averaged, compared."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cdi.fourier import SPATIAL, origin_to_centre
from cdi.grid import QGrid
from cdi.retrieval.alignment import align
from cdi.retrieval.averaging import RadialCurve, principal_mode, shell_correlation, transfer_function
from cdi.retrieval.batches import Found
from cdi.retrieval.measured import Measured
from cdi.retrieval.retrieval import Retrieval


@dataclass(frozen=True)
class Answer:
    """What ``Retrieval`` holds of one group of patterns; origin at ``N // 2``."""

    density: Tensor
    support: Tensor
    runs: Tensor
    mode_weight: Tensor
    overlap: Tensor
    kept: Tensor
    transfer: RadialCurve
    halves: RadialCurve
    kernel: Tensor | None


def answer_from(found: Found, patterns: Measured, group: list[int], best: int) -> Answer:
    """The answer for the patterns of ``group``, which lie in one frame, from their ``best`` runs."""
    kept = chosen_starts(found.deviance[group].sum(0), found.iterations, best)
    support = origin_to_centre(found.support[group][:, kept[0]])
    middle = _middle(support)
    support = torch.roll(support, middle, SPATIAL)
    densities = origin_to_centre(found.density[group][:, kept]).to(torch.complex128).transpose(0, 1)
    reference = torch.roll(densities[0], middle, SPATIAL)
    total = reference.sum(SPATIAL, keepdim=True)
    reference = reference * torch.sgn(total).conj()
    # One by one: where moduli leave the twin of one reflection to another open, runs differ in it.
    moved = [_each_aligned(density, reference) for density in densities[1:]]
    runs = torch.stack([reference, *moved])
    density, weight = principal_mode(runs)
    counts, measured = origin_to_centre(patterns.counts[group]), origin_to_centre(patterns.measured[group])
    kernel = None if found.kernel is None else origin_to_centre(found.kernel[group][:, kept[0]]).double()
    return Answer(
        density,
        support,
        runs,
        weight,
        _overlaps(runs),
        kept.expand(len(group), -1),
        transfer_function(runs, counts.sqrt(), measured),
        shell_correlation(runs[0::2].mean(0), runs[1::2].mean(0) if len(runs) > 1 else runs[0]),
        kernel,
    )


def _each_aligned(density: Tensor, reference: Tensor) -> Tensor:
    return torch.cat([align(one[None], other[None])[0] for one, other in zip(density, reference, strict=True)])


def chosen_starts(deviance: Tensor, iterations: Tensor, best: int) -> Tensor:
    """The ``best`` starts of least ``deviance`` (starts,), least first, of those that went furthest."""
    finished = iterations == iterations.max()
    order = torch.where(finished, deviance, torch.inf).argsort(stable=True)
    return order[: min(best, int(finished.sum()))]


def joined(answers: list[Answer], found: Found, grids: tuple[QGrid | None, ...]) -> Retrieval:
    """``answers``, in the order of their patterns, as one."""
    kernels = [answer.kernel for answer in answers if answer.kernel is not None]
    return Retrieval(
        density=torch.cat([answer.density for answer in answers]).numpy(),
        support=torch.cat([answer.support for answer in answers]).numpy(),
        runs=torch.cat([answer.runs for answer in answers], 1).numpy(),
        mode_weight=torch.cat([answer.mode_weight for answer in answers]).numpy(),
        overlap=torch.cat([answer.overlap for answer in answers]).numpy(),
        kept=torch.cat([answer.kept for answer in answers]).numpy(),
        free_deviance=found.deviance.numpy(),
        error=found.error.numpy(),
        iterations=found.iterations.numpy(),
        transfer=_joined_curves([answer.transfer for answer in answers]),
        halves=_joined_curves([answer.halves for answer in answers]),
        kernel=torch.cat(kernels).numpy() if kernels else None,
        grids=grids,
    )


def _joined_curves(curves: list[RadialCurve]) -> RadialCurve:
    return RadialCurve(curves[0].frequency, np.concatenate([curve.values for curve in curves]))


def _middle(support: Tensor) -> tuple[int, int, int]:
    """Whole voxels that bring the circular mean of ``support`` (patterns, x, y, z) to ``N // 2``."""
    shift = []
    for axis in range(3):
        others = tuple(number for number in range(-3, 0) if number != axis - 3)
        profile = support.any(0).double().sum(others)
        n = len(profile)
        angle = 2 * torch.pi * (torch.arange(n, dtype=torch.float64) - n // 2) / n
        place = torch.angle((profile * torch.polar(torch.ones_like(angle), angle)).sum()) * n / (2 * torch.pi)
        shift.append(-round(float(place)))
    return shift[0], shift[1], shift[2]


def _overlaps(runs: Tensor) -> Tensor:
    """Normalised overlap ``(patterns, runs)`` of each of ``runs`` (runs, patterns, x, y, z) with the first."""
    inner = (runs.conj() * runs[0]).sum(SPATIAL).abs()
    norm = runs.abs().square().sum(SPATIAL).sqrt()
    return (inner / (norm * norm[0])).T
