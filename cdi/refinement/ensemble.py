"""How far a line moves from one half of the fitted voxels to another: errors without a model of the noise.

Each refit leaves a random half of the fitted voxels out. The scatter of such halves is that of all voxels (the delete-d
jackknife with d = n/2, whose factor is 1; Shao & Wu, Ann. Statist. 17, 1176, 1989), be it photons, blemishes, or a
model that different voxels pull differently. What all halves have in common, a wrong outline or a missed line, is not
in there.
"""

import torch
from torch import Tensor

from cdi.refinement.fit import fit
from cdi.refinement.likelihood import Likelihood, Observed
from cdi.refinement.trials import Ground, Trial


def ensemble_errors(
    ground: Ground, answer: Trial, likelihood: Likelihood, refits: int, iterations: int, generator: torch.Generator
) -> list[float]:
    """Root-mean-square standard error in voxels of the corners of every line, across the line, from so many ``refits``.

    Each starts from ``ground`` as the ``answer`` did. At least two.
    """
    if not answer.lines:
        return []
    told = likelihood.observed
    corners: list[list[Tensor]] = []
    for _ in range(refits):
        half = told.fitted & (torch.rand(told.fitted.shape, generator=generator) < 0.5).to(told.fitted.device)
        model = ground.model(answer.lines)
        fit(model, Likelihood(Observed(told.counts, half, told.free)), iterations)
        corners.append([track.corners.detach() for track in model.tracks()])
    freedoms = [line.track.freedoms / len(line.track.corners) for line in answer.lines]
    return [
        float((torch.stack(places).var(0, correction=1).sum(-1).mean() / ways).sqrt())
        for places, ways in zip(zip(*corners, strict=True), freedoms, strict=True)
    ]
