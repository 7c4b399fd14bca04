"""One object behind each pattern, as surely as some seconds allow.

Many random starts without blur, since fitting a blur takes twice the transforms and an object still unlike the crystal
would be taken for blur; then the best few go on with a Gaussian blur. Of all of them the object counts that says most
of the held-out voxels, which are the same all along.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.pattern import Exposure
from cdi.retrieval.config import CoherenceFit, RetrievalConfig, SearchConfig
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
    exposure: Exposure, config: SearchConfig | None = None, *, device: torch.device | str = "cpu"
) -> SearchedObject:
    """The object behind ``exposure``; repeats on the same machine.

    Raises
    ------
    ValueError
        For a pattern that cannot be phased, as ``retrieve``.
    """
    chosen = config or SearchConfig()
    first = RetrievalConfig(chosen.schedule, starts=chosen.starts, best=chosen.kept)
    found = retrieve([exposure], first, generator=_generator(chosen), device=device)
    objects = [_object(found)]
    second = RetrievalConfig(
        chosen.finish, starts=1, best=1, coherence=CoherenceFit("gaussian", first_iteration=FIRST_FIT)
    )
    for run in found.runs:
        density = torch.as_tensor(run)
        modulus = density.abs()[0]
        try:
            whole = retrieve(
                [exposure], second, generator=_generator(chosen), device=device,
                support=modulus > SOLID * modulus.max(), density=density,
            )  # fmt: skip
        except ValueError:  # too large to be phased: it would overlap itself
            continue
        objects.append(_object(whole))
    return min(objects, key=lambda found: found.deviance)


def _generator(config: SearchConfig) -> torch.Generator:
    return torch.Generator().manual_seed(config.seed)


def _object(found: Retrieval) -> SearchedObject:
    start = int(found.kept[0][0])
    return SearchedObject(
        torch.as_tensor(found.runs[0, 0]).to(torch.complex64),
        torch.as_tensor(found.support[0]),
        float(found.free_deviance[0, start]),
        float(found.error[0, start]),
    )
