"""From a crystal or its atoms to amplitudes around any number of reflections: one entry for every route.

Volumes are in electrons and differentiable: with respect to displacement fields on every route, to the
shape on the route of the Bragg object (an atom is either inside or not).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cdi.atoms import Atoms
from cdi.crystal import Crystal
from cdi.grid import check_sampling
from cdi.scattering.bragg_object import check_oversampling
from cdi.scattering.geometric_sum import ROUTES, check_route
from cdi.scattering.model import ScatteringModel
from cdi.scattering.object_amplitude import View, object_amplitudes
from cdi.scattering.position_amplitude import position_amplitudes

CrystalRoute = Literal["nufft", "direct", "object"]
CRYSTAL_ROUTES = (*ROUTES, "object")


def amplitudes(
    specimen: Crystal | Atoms,
    views: Sequence[View],
    *,
    route: CrystalRoute = "nufft",
    model: ScatteringModel | None = None,
    device: torch.device | str = "cpu",
    generator: np.random.Generator | None = None,
) -> tuple[Tensor, ...]:
    """Complex amplitude of ``specimen`` for each (reflection, grid), of the grid's shape, in electrons.

    Parameters
    ----------
    specimen : Crystal or Atoms
    views : sequence of (reflection, QGrid)
        Each reflection on its own grid, orthogonal or sheared.
    route : "direct" (every atom at every voxel, float64), "nufft" (to the model's tolerance), or
        "object" (an FFT of the Bragg object, valid while q·u is small; for a Crystal only).
    generator : draws the sites that a defect leaves empty at random, where the route needs atoms.

    Raises
    ------
    ValueError
        For an unknown route, an oversampling below 2 along an axis of a grid, atoms on the route
        "object", or a crystal of more than ``cdi.crystal.MAX_ATOMS`` atoms on the others.
    """
    check_route(route, CRYSTAL_ROUTES)
    grids = [grid for _, grid in views]
    if isinstance(specimen, Atoms):
        if route == "object":
            raise ValueError("route must be one of nufft, direct for atoms, got 'object': it needs a Crystal")
        for grid in grids:
            check_sampling(specimen.positions, grid)
        positions, species, elements = torch.as_tensor(specimen.positions), specimen.species, specimen.elements
    else:
        for grid in grids:
            check_oversampling(specimen.shape, grid)
        if route == "object":
            return object_amplitudes(specimen, views, model=model, device=device)
        positions, species, elements = specimen.displaced_sites(generator)
    return position_amplitudes(positions.to(device), species, elements, grids, route=route, model=model)
