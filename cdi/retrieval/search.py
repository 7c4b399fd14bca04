"""One object behind each pattern, as surely as some seconds allow.

Many random starts without blur, since fitting a blur takes twice the transforms and an object still unlike the crystal
would be taken for blur; then the best few go on with a Gaussian blur. Where their best leaves more than photon noise,
others start within its support, which is tighter than what an autocorrelation tells. Of all of them that object counts
which says most of the held-out voxels, the same all along, and whose modulus is even: a crystal has one density, and a
wrong phase that fits as well leaves speckle in it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import log

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
LEAST_DEVIANCE = 1e-6
"""Keeps its logarithm finite."""
LEAST_INSIDE = 30
"""Voxels of which the evenness of a modulus is told."""


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

    @cached_property
    def unevenness(self) -> float:
        """Standard deviation of the modulus within the crystal over its mean; see ``unevenness``."""
        return unevenness(self.density, self.support)

    def misfit(self, evenness: float) -> float:
        """``ln deviance + evenness · unevenness``: of two objects of a pattern the one with less is kept."""
        return log(max(self.deviance, LEAST_DEVIANCE)) + evenness * self.unevenness


def unevenness(density: Tensor, support: Tensor) -> float:
    """Standard deviation of the modulus of ``density`` (x, y, z) over its mean, a voxel and more within ``support``.

    Such measures of an even density rank reconstructions in the field, mostly as mean to maximum (Simonne et al.,
    J. Appl. Cryst. 55, 1045, 2022). Of a support without an inside all of it counts; an object that is nothing is even.
    """
    deep = F.max_pool3d((~support)[None, None].float(), 3, 1, 1)[0, 0] == 0
    modulus = density.abs()[deep if int(deep.sum()) >= LEAST_INSIDE else support]
    return float(modulus.std(correction=0) / modulus.mean()) if bool(modulus.any()) else 0.0


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
        best = min(best, other, key=lambda found: found.misfit(chosen.evenness))
    return best


def _round(
    exposure: Exposure, config: SearchConfig, support: Tensor | None, number: int, device: torch.device | str
) -> SearchedObject:
    """The best of one search from ``support``."""

    def misfit(one: SearchedObject) -> float:
        return one.misfit(config.evenness)

    first = RetrievalConfig(config.schedule, starts=config.starts, best=config.starts)
    held_out = torch.Generator().manual_seed(config.seed)
    # The first goes on where the held-out voxels end, as any retrieval of this seed does.
    starts = torch.Generator().manual_seed(MOST_ROUNDS * config.seed + number) if number else None
    found = retrieve([exposure], first, generator=held_out, device=device, support=support, starts=starts)
    objects = sorted(_begun(found), key=misfit)[: config.kept]
    for one in objects[:]:
        with suppress(ValueError):  # too large to be phased: it would overlap itself
            objects.append(resumed(exposure, one.density, config.finish, config.seed, device=device))
    return min(objects, key=misfit)


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
    config = RetrievalConfig(
        schedule, starts=1, best=1, shared_support=several, free_fraction=free_fraction,
        coherence=CoherenceFit("gaussian", first_iteration=FIRST_FIT),
    )  # fmt: skip
    solid = _solid(density).any(0)
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


def _begun(found: Retrieval) -> list[SearchedObject]:
    """Every run of the one pattern of ``found``, where it is solid: ``found`` tells the support of the first."""
    objects = []
    for start, run in zip(found.kept[0].tolist(), found.runs[:, 0], strict=True):
        density = torch.as_tensor(run).to(torch.complex64)
        told = float(found.free_deviance[0, start]), float(found.error[0, start])
        objects.append(SearchedObject(density, _solid(density), *told))
    return objects


def _solid(density: Tensor) -> Tensor:
    """Where the modulus of ``density`` (..., x, y, z) is more than a small share of its greatest."""
    modulus = density.abs()
    return modulus > SOLID * modulus.amax((-3, -2, -1), keepdim=True)


def _object(found: Retrieval) -> SearchedObject:
    start = int(found.kept[0][0])
    return SearchedObject(
        torch.as_tensor(found.runs[0, 0]).to(torch.complex64),
        torch.as_tensor(found.support[0]),
        float(found.free_deviance[0, start]),
        float(found.error[0, start]),
    )
