"""One object behind each pattern, as surely as some seconds allow.

Many random starts without blur, since fitting a blur takes twice the transforms and an object still unlike the crystal
would be taken for blur; then the best few go on with a Gaussian blur. Where their best leaves more than photon noise,
others start within its support, which is tighter than what an autocorrelation tells. Of all of them the object counts
that says most of the held-out voxels, which are the same all along.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cdi.pattern import Exposure
from cdi.retrieval.config import MOST_ROUNDS, CoherenceFit, RetrievalConfig, SearchConfig
from cdi.retrieval.phase_retrieval import retrieve
from cdi.retrieval.retrieval import Retrieval

FIRST_FIT = 5
"""Iterations of a start that goes on before its blur is fitted."""
SOLID = 0.1
"""Of the greatest modulus: where an object that goes on may be, until shrink-wrap says better."""


@dataclass(frozen=True, eq=False)
class SearchedObject:
    """What a search found behind one pattern; origin at ``N // 2``.

    Parameters
    ----------
    density : (x, y, z) complex64
    support : (x, y, z) bool
    deviance : Poisson deviance per held-out voxel; about 1 where only photon noise is left.
    error : Σ(√I − |F|)² / ΣI over the voxels that were fitted.
    """

    density: Tensor
    support: Tensor
    deviance: float
    error: float


def search(
    exposure: Exposure,
    config: SearchConfig | None = None,
    *,
    support: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> SearchedObject:
    """The object behind ``exposure``; repeats on the same machine.

    ``support`` (x, y, z), bool, origin at ``N // 2``, is about where it lies; by default the autocorrelation tells.
    With it a pattern can be phased whose peak lies behind a gap, or whose gaps spoil the autocorrelation.

    Raises
    ------
    ValueError
        For a pattern that cannot be phased, as ``retrieve``.
    """
    chosen = config or SearchConfig()
    best = _round(exposure, chosen, None if support is None else room_around(support), 0, device)
    for number in range(1, chosen.rounds):
        if best.deviance <= chosen.settled:
            break
        try:
            other = _round(exposure, chosen, room_around(best.support), number, device)
        except ValueError:  # shrink-wrap has left a support beyond half of the array
            break
        best = min(best, other, key=lambda found: found.deviance)
    return best


def _round(
    exposure: Exposure, config: SearchConfig, support: Tensor | None, number: int, device: torch.device | str
) -> SearchedObject:
    """The best of one search from ``support``."""
    first = RetrievalConfig(config.schedule, starts=config.starts, best=config.kept)
    held_out = torch.Generator().manual_seed(config.seed)
    # The first goes on where the held-out voxels end, as any retrieval of this seed does.
    starts = torch.Generator().manual_seed(MOST_ROUNDS * config.seed + number) if number else None
    found = retrieve([exposure], first, generator=held_out, device=device, support=support, starts=starts)
    objects = [_object(found)]
    for run in found.runs:
        with suppress(ValueError):  # too large to be phased: it would overlap itself
            objects.append(resumed(exposure, torch.as_tensor(run[0]), config.finish, config.seed, device=device))
    return min(objects, key=lambda found: found.deviance)


def resumed(
    exposure: Exposure, density: Tensor, schedule: str, seed: int, *, device: torch.device | str = "cpu"
) -> SearchedObject:
    """What becomes of ``density`` (x, y, z) in ``schedule``, as ``finished``; ``seed`` is that of the search.

    Its deviance is that of the same held-out voxels, to be compared with that of the search.

    Raises
    ------
    ValueError
        As ``finished``.
    """
    held_out = torch.Generator().manual_seed(seed)
    return _object(finished([exposure], density[None], schedule, generator=held_out, device=device))


def finished(
    exposures: Sequence[Exposure],
    density: Tensor,
    schedule: str,
    *,
    generator: torch.Generator,
    free_fraction: float = RetrievalConfig.free_fraction,
    device: torch.device | str = "cpu",
) -> Retrieval:
    """What becomes of ``density`` (reflections, x, y, z) in ``schedule`` with a Gaussian blur, where it is solid.

    ``generator`` and ``free_fraction`` are those of the voxels held out.

    Raises
    ------
    ValueError
        If it is too large to be phased, or empty.
    """
    several = len(exposures) > 1
    modulus = density.abs()
    solid = (modulus > SOLID * modulus.amax((-3, -2, -1), keepdim=True)).any(0)
    config = RetrievalConfig(
        schedule, starts=1, best=1, shared_support=several, free_fraction=free_fraction,
        coherence=CoherenceFit("gaussian", first_iteration=FIRST_FIT),
    )  # fmt: skip
    return retrieve(exposures, config, generator=generator, device=device, support=solid, density=density)


def room_around(support: Tensor) -> Tensor:
    """``support`` (x, y, z), bool, and a voxel around it, along each axis where that fits into half of the array."""
    inside = support
    for axis, n in enumerate(support.shape):
        place = inside.any(tuple(other for other in range(3) if other != axis)).nonzero()
        if len(place) and 2 * (int(place.max() - place.min()) + 3) <= n:
            sides = [1, 1, 1]
            sides[axis] = 3
            grown = F.max_pool3d(inside[None, None].float(), sides, 1, tuple(side // 2 for side in sides))
            inside = grown[0, 0] > 0
    return inside


def _object(found: Retrieval) -> SearchedObject:
    start = int(found.kept[0][0])
    return SearchedObject(
        torch.as_tensor(found.runs[0, 0]).to(torch.complex64),
        torch.as_tensor(found.support[0]),
        float(found.free_deviance[0, start]),
        float(found.error[0, start]),
    )
