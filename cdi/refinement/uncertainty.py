"""How far a line may be moved before the patterns object: the curvature of the likelihood at its maximum.

Fisher's information of Poisson counts is J = Σ (∂m/∂θ)(∂m/∂θ)ᵀ/m over the fitted voxels, all free numbers in it, so
that what modulus and smooth strain may make good counts as uncertainty (Laplace's approximation). Where the model
misses more than photon noise its inverse is multiplied by the deviance per voxel (Wedderburn, Biometrika 61, 439,
1974). What a wrong outline or a missed line moves it by is not in there.
"""

import torch
from torch import Tensor

from cdi.refinement.crystal_model import CrystalModel
from cdi.refinement.fit import expected
from cdi.refinement.likelihood import Likelihood

STEP = 1e-3
"""Of the free numbers, in their own units, for the differences."""
DARK = 0.05
"""Photons below which a voxel tells nothing of a line."""
PRIOR = 1.0
"""Standard deviation of a free number in its own units before any pattern: what no photon tells stays finite."""


@torch.no_grad()
def line_errors(model: CrystalModel, likelihood: Likelihood, widths: Tensor, deviance: float) -> list[float]:
    """Root-mean-square standard error in voxels of the corners of every line, across the line."""
    if not model.lines:
        return []
    base = expected(model, likelihood, widths)
    chosen = likelihood.observed.fitted & (base > DARK)
    weight = base[chosen].rsqrt()
    columns = []
    sizes = [sum(step.numel() for step in model.steps)]
    for numbers in (*model.steps, model.strains, model.smooth, model.modulus):
        flat = numbers.view(-1)
        for place in range(len(flat)):
            kept = float(flat[place])
            flat[place] = kept + STEP
            columns.append((((expected(model, likelihood, widths)[chosen]) - base[chosen]) * (weight / STEP)).float())
            flat[place] = kept
    jacobian = torch.stack(columns)
    information = (jacobian @ jacobian.T).double() / max(1.0, deviance)
    information = information + torch.eye(len(information), dtype=torch.float64) / PRIOR**2
    covariance = torch.linalg.inv(information).diagonal()[: sizes[0]].clamp_min(0)
    errors, first = [], 0
    for step in model.steps:
        part = covariance[first : first + step.numel()]
        errors.append(float(part.mean().sqrt()) * model.track_scale())
        first += step.numel()
    return errors
