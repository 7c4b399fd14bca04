"""Losses over the joint ambiguity group: each crystal is compared with its truth or its twin, whichever is closer.

The twin is chosen once for everything that depends on it, all reflections included; the global phase of each
reflection is free.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cdi.ambiguity import inverted
from models.network import NetworkOutput, Proposal
from training.config import LossWeights
from training.targets import Targets


@dataclass(frozen=True)
class Losses:
    """Per-crystal terms ``(batch,)``, each after the choice of the twin, and their weighted total ()."""

    defect: Tensor
    count: Tensor
    line: Tensor
    winding: Tensor
    support: Tensor
    phase: Tensor
    total: Tensor


def losses(output: NetworkOutput, truth: Targets, weights: LossWeights) -> Losses:
    """Loss of a batch; what g·b = 0 hides (``determined`` 0) is not asked for."""
    straight = _volume_terms(output, truth.line, truth.winding, truth.support, truth.phase)
    turned = _volume_terms(
        output, inverted(truth.line), -inverted(truth.winding), inverted(truth.support), -inverted(truth.phase)
    )
    scale = torch.tensor([weights.line, weights.winding, weights.support, weights.phase], device=straight.device)
    terms = torch.where(((turned @ scale) < (straight @ scale))[:, None], turned, straight)
    defect = F.cross_entropy(output.class_logits, truth.defect, reduction="none") * truth.determined
    count = F.cross_entropy(output.count_logits, truth.count, reduction="none")
    total = weights.defect * defect.mean() + weights.count * count.mean() + (terms @ scale).mean()
    line, winding, support, phase = terms.unbind(1)
    return Losses(defect, count, line, winding, support, phase, total)


def proposal_losses(proposal: Proposal, truth: Targets, weights: LossWeights) -> Tensor:
    """Total () for the first stage, which sees each exposure by itself: here each has its own twin."""
    reflections = truth.patterns.present.shape[1]
    line = truth.line.repeat_interleave(reflections, 0)
    support, phase = truth.support.flatten(0, 1), truth.phase.flatten(0, 1)

    def terms(line: Tensor, support: Tensor, phase: Tensor) -> Tensor:
        return (
            weights.line * line_loss(proposal.line_logits, line)
            + weights.support * support_loss(proposal.support_logits, support)
            + weights.phase * phase_loss(proposal.phasor, support, phase)
        )

    both = torch.minimum(terms(line, support, phase), terms(inverted(line), inverted(support), -inverted(phase)))
    present = truth.patterns.present.flatten().to(both)
    return (both * present).sum() / present.sum().clamp_min(1)


def _volume_terms(output: NetworkOutput, line: Tensor, winding: Tensor, support: Tensor, phase: Tensor) -> Tensor:
    """``(batch, 4)``: line, winding, support, phase; means over the reflections of a crystal."""
    return torch.stack(
        [
            line_loss(output.line_logits, line),
            winding_loss(output.winding, winding),
            support_loss(output.support_logits, support).mean(1),
            phase_loss(output.phasor, support, phase).mean(1),
        ],
        -1,
    )


def line_loss(logits: Tensor, line: Tensor) -> Tensor:
    """Cross-entropy against the soft density, minus its own entropy, plus a soft Dice term ``(batch,)``.

    Lines fill a few per cent of the volume: Dice keeps the empty answer from winning, and a
    volume without lines is asked for emptiness by the cross-entropy alone.
    """
    # Not by the library's cross-entropy of probabilities, which mixed precision refuses.
    entropy: Tensor = -torch.special.xlogy(line, line) - torch.special.xlogy(1 - line, 1 - line)
    cross = (F.binary_cross_entropy_with_logits(logits, line, reduction="none") - entropy).sum((1, 2, 3)) / 100
    probability = logits.sigmoid()
    overlap = 2 * (probability * line).sum((1, 2, 3))
    dice = 1 - (overlap + 1) / (probability.square().sum((1, 2, 3)) + line.square().sum((1, 2, 3)) + 1)
    present = (line.amax((1, 2, 3)) > 0.5).float()
    return cross + dice * present


def winding_loss(winding: Tensor, truth: Tensor) -> Tensor:
    """Squared error over the power of the truth, softened by that of a short line, mean over reflections ``(batch,)``.

    Shapes ``(batch, reflections, 3, x, y, z)``.
    """
    wrong = (winding - truth).square().sum((2, 3, 4, 5))
    return (wrong / (truth.square().sum((2, 3, 4, 5)) + SHORT_LINE)).mean(1)


SHORT_LINE = 20.0
"""Power Σ |ξ ρ|² of a line about 8 voxels long."""


def support_loss(logits: Tensor, support: Tensor) -> Tensor:
    """Mean cross-entropy over the volume, ``(...)`` of ``(..., x, y, z)``."""
    return F.binary_cross_entropy_with_logits(logits, support, reduction="none").mean((-3, -2, -1)) * 4


def phase_loss(phasor: Tensor, support: Tensor, phase: Tensor) -> Tensor:
    """``min_α ⟨|p − e^{i(φ+α)}|²⟩`` over the support ``(...)``: the best global phase in closed form."""
    volume = support.sum((-3, -2, -1)).clamp_min(1)
    overlap = (support * phasor * torch.polar(torch.ones_like(phase), -phase)).sum((-3, -2, -1)).abs()
    power = (support * (phasor.real.square() + phasor.imag.square())).sum((-3, -2, -1))
    return (power - 2 * overlap) / volume + 1
