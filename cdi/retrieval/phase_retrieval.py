"""From exposures to densities: many random starts, the best of them by what they never saw, and their mean.

Each start takes the same random phases for every pattern, so that a batch gives what its patterns give one by one.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.fourier import origin_to_corner
from cdi.pattern import Exposure
from cdi.retrieval.batches import REAL, all_runs
from cdi.retrieval.chosen_runs import answer_from, joined
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.hidden_peak import check_peaks
from cdi.retrieval.measured import (
    Measured,
    check_shared_voxels,
    checked_support,
    measured_patterns,
    support_to_start,
)
from cdi.retrieval.retrieval import Retrieval


def retrieve(
    exposures: Sequence[Exposure],
    config: RetrievalConfig | None = None,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    support: NDArray[np.bool_] | Tensor | None = None,
    density: Tensor | None = None,
    starts: torch.Generator | None = None,
    report: Callable[[int], None] = lambda count: None,
    stop: Callable[[], bool] = lambda: False,
) -> Retrieval:
    """Retrieve the densities behind ``exposures``, all of one shape.

    Parameters
    ----------
    exposures : patterns of different crystals, or (``config.shared_support``) reflections of one on grids with the
        same voxels. The peak is near index ``N // 2`` (``cdi.retrieval.framing``); sizes with small prime factors
        transform fastest.
    generator : of the held-out voxels and the starts, on the CPU: results repeat with it.
    support : (x, y, z) first support, origin at ``N // 2``; by default from the autocorrelation, which a peak behind a
        mask spoils.
    density : (patterns, x, y, z) complex that the first start takes instead of random phases, origin at
        ``N // 2``; with ``support``, since it says where the object lies.
    starts : of the starts alone: others by the same held-out voxels; by default ``generator`` goes on.
    report : called with the number of runs that went one iteration further, ``len(exposures) * starts *
        iterations`` in all.
    stop : asked before each iteration; once True, the runs end as they are, and unfinished ones count only
        where none is finished.

    Raises
    ------
    ValueError
        For patterns that cannot be phased: a mask over the peak where no support is given, a support or autocorrelation
        too large for the array, unequal shapes, reflections on different voxels; for a ``density`` of another shape or
        without support.
    """
    chosen = config or RetrievalConfig()
    patterns = measured_patterns(exposures, chosen.free_fraction, generator)
    if chosen.shared_support:
        check_shared_voxels(exposures)
    shape = exposures[0].counts.shape
    if support is None:
        check_peaks(exposures)
        first = support_to_start(patterns, chosen)
    else:
        first = checked_support(support, (shape[0], shape[1], shape[2])).expand_as(patterns.counts)
    if chosen.shared_support:
        first = first.any(0, keepdim=True).expand_as(first)
    begun = _starts(patterns, first, chosen, generator if starts is None else starts)
    if density is not None:
        _check_density(density, patterns, support)
        begun[:, 0] = origin_to_corner(density).to(begun) / patterns.scale.sqrt().to(begun)
    found = all_runs(patterns, first, begun, chosen, torch.device(device), report, stop)
    groups = [list(range(len(exposures)))] if chosen.shared_support else [[n] for n in range(len(exposures))]
    answers = [answer_from(found, patterns, group, chosen.best) for group in groups]
    return joined(answers, found, tuple(exposure.grid for exposure in exposures))


def _starts(patterns: Measured, support: Tensor, config: RetrievalConfig, generator: torch.Generator) -> Tensor:
    """Random densities ``(patterns, starts, x, y, z)`` within ``support``, with the power of unit mean intensity."""
    real = REAL[config.precision]
    shape = (config.starts, *patterns.counts.shape[-3:])
    modulus, turns = (torch.rand(shape, generator=generator, dtype=real) for _ in range(2))
    random = torch.polar(modulus, 2 * torch.pi * turns) * support[:, None]
    power = random.abs().square().sum((-3, -2, -1), keepdim=True)
    return random / power.sqrt()


def _check_density(density: Tensor, patterns: Measured, support: object) -> None:
    if support is None:
        raise ValueError("density must come with a support, got none: it says where the object lies")
    if density.shape != patterns.counts.shape:
        raise ValueError(
            f"density must have the shape of the patterns {tuple(patterns.counts.shape)}, got {tuple(density.shape)}"
        )
