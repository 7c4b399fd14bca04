"""Objects such as a search finds, made in no time: from the truth, led astray as far as retrievals go.

A search takes seconds a pattern, and a training step has twenty-four of them. Error reduction stays where it starts,
hybrid input-output leaves it (docs/experiments.md): started at the truth, the phase error after n iterations runs over
what finished retrievals have. Some start elsewhere, as retrievals that fail do: at both twins at once, or at no phase.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cdi.ambiguity import twin
from models.data_consistency import data_consistent
from models.network import Proposal
from models.searched_stage import object_proposal
from training.targets import Targets

HYBRID = (4, 20, 60, 100)
"""Iterations of hybrid input-output, one of these a batch."""
REDUCTION = 12
"""Of error reduction after them."""
BOTH_TWINS, NO_PHASE = 0.15, 0.12
"""Shares of exposures that start there."""
WRONG_TWIN = 0.05
"""Share of exposures that are laid over the others of their crystal as the wrong twin."""
LOOSEST = (0.8, 1.6)
"""By what the blurred support is multiplied: supports of a retrieval are looser or tighter than the crystal."""


@torch.no_grad()
def near_objects(batch: Targets, seed: int) -> Proposal:
    """A proposal for every exposure of ``batch``; the same for the same ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    support, phase = batch.support.flatten(0, 1), batch.phase.flatten(0, 1)
    number, device = len(support), support.device

    def drawn(low: float, high: float) -> Tensor:
        values = low + (high - low) * torch.rand(number, generator=generator, dtype=torch.float64)
        return values.to(support)[:, None, None, None]

    loose = F.avg_pool3d(support[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    loose = (loose * drawn(*LOOSEST)).clamp(0, 1)
    kind = drawn(0, 1)
    start = torch.polar(torch.ones_like(phase), phase)
    mixed = support * start + drawn(0.3, 1.0) * twin(support * start)
    start = torch.where(kind < BOTH_TWINS, mixed, start)
    start = torch.where(kind > 1 - NO_PHASE, torch.ones_like(start), start)
    hybrid = HYBRID[int(torch.randint(len(HYBRID), (), generator=generator))]
    counts, measured = batch.patterns.counts.flatten(0, 1), batch.patterns.measured.flatten(0, 1)
    density = data_consistent(counts, measured, loose, start, hybrid + REDUCTION, hybrid / (hybrid + REDUCTION))
    # A pattern leaves its twin open, those of a crystal are laid over each other: seldom wrongly.
    reflections = batch.support.shape[1]
    whole = (torch.rand(len(batch), generator=generator) < 0.5).repeat_interleave(reflections)
    alone = torch.rand(number, generator=generator) < WRONG_TWIN
    turned = (whole ^ alone).to(device)[:, None, None, None]
    density = torch.where(turned, twin(density), density)
    return object_proposal(density, density.abs() > 0)
