"""The loss, the best over what intensity hides: twin and global phase.

Line density, support and phase are compared with the truth and with its twin *jointly*, and the
smaller sum counts (``cdi.ambiguity``); translation is fixed by the crystal's centroid.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from cdi.ambiguity import inverted
from models.network import NetworkOutput
from training.config import LossWeights
from training.targets import Targets


@dataclass(frozen=True)
class Losses:
    """Per-sample terms ``(batch,)``, each after the choice of the twin, and their weighted total ()."""

    defect: Tensor
    line: Tensor
    support: Tensor
    phase: Tensor
    total: Tensor


def losses(output: NetworkOutput, truth: Targets, weights: LossWeights) -> Losses:
    """Loss of a batch; what g·b = 0 hides (``determined`` 0) is not asked for."""
    direct = _volume_terms(output, truth.line, truth.support, truth.phase)
    mirrored = _volume_terms(output, inverted(truth.line), inverted(truth.support), -inverted(truth.phase))
    scale = torch.tensor([weights.line, weights.support, weights.phase], device=direct.device)
    twin_is_closer = (mirrored @ scale) < (direct @ scale)
    terms = torch.where(twin_is_closer[:, None], mirrored, direct)
    terms = terms * torch.stack(
        [truth.determined, torch.ones_like(truth.determined), torch.ones_like(truth.determined)], -1
    )
    defect = F.cross_entropy(output.class_logits, truth.defect, reduction="none") * truth.determined
    total = weights.defect * defect.mean() + (terms @ scale).mean()
    return Losses(defect, terms[:, 0], terms[:, 1], terms[:, 2], total)


def _volume_terms(output: NetworkOutput, line: Tensor, support: Tensor, phase: Tensor) -> Tensor:
    """``(batch, 3)``: line, support, phase."""
    return torch.stack(
        [
            line_loss(output.line_logits, line),
            F.binary_cross_entropy_with_logits(output.support_logits, support, reduction="none").mean((1, 2, 3)) * 4,
            phase_loss(output.phasor, support, phase),
        ],
        -1,
    )


def line_loss(logits: Tensor, line: Tensor) -> Tensor:
    """Cross-entropy against the soft density, minus its own entropy, plus a soft Dice term ``(batch,)``.

    Lines fill a few per cent of the volume: Dice keeps the empty answer from winning, and a
    volume without lines is asked for emptiness by the cross-entropy alone.
    """
    entropy = F.binary_cross_entropy(line, line, reduction="none")
    cross = (F.binary_cross_entropy_with_logits(logits, line, reduction="none") - entropy).sum((1, 2, 3)) / 100
    probability = logits.sigmoid()
    overlap = 2 * (probability * line).sum((1, 2, 3))
    dice = 1 - (overlap + 1) / (probability.square().sum((1, 2, 3)) + line.square().sum((1, 2, 3)) + 1)
    present = (line.amax((1, 2, 3)) > 0.5).float()
    return cross + dice * present


def phase_loss(phasor: Tensor, support: Tensor, phase: Tensor) -> Tensor:
    """``min_α ⟨|p − e^{i(φ+α)}|²⟩`` over the support ``(batch,)``: the best global phase in closed form."""
    volume = support.sum((1, 2, 3)).clamp_min(1)
    overlap = (support * phasor * torch.polar(torch.ones_like(phase), -phase)).sum((1, 2, 3)).abs()
    power = (support * (phasor.real.square() + phasor.imag.square())).sum((1, 2, 3))
    return (power - 2 * overlap) / volume + 1
