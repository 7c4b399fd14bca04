"""How every network among the baselines learns: the same exposures, turned and flipped, on a budget of processor time.

The learning rate falls along a cosine over the budget. Exposures held out give the curve.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from data.symmetry import AxisSymmetry
from training.baselines.exposures import LabelledExposures

POINTS = 8
"""Of a curve."""
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


@dataclass(frozen=True)
class Budget:
    """What a baseline may learn with.

    Parameters
    ----------
    minutes : of processor time, its own; None: no limit.
    batches : None: no limit.
    batch_size : exposures.
    learning_rate : of AdamW at its greatest.
    held_out : share of the exposures that it is judged by.
    seed : of weights, order and turns.

    Raises
    ------
    ValueError
        Without any limit, or for a number out of its range.
    """

    minutes: float | None = 4.0
    batches: int | None = None
    batch_size: int = 16
    learning_rate: float = 1e-3
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes is None and self.batches is None:
            raise ValueError("minutes or batches must be given, got neither: learning would not end")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes must be positive, got {self.minutes}")
        if self.batches is not None and self.batches < 1:
            raise ValueError(f"batches must be at least 1, got {self.batches}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, got {self.batch_size}: batches are normalised")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must lie between 0 and 1, got {self.held_out}")

    def spent(self, seconds: float, batches: int) -> float:
        """Share of the budget that is used up, 1 at its end."""
        of_time = 0.0 if self.minutes is None else seconds / (60 * self.minutes)
        of_batches = 0.0 if self.batches is None else batches / self.batches
        return min(1.0, max(of_time, of_batches))


@dataclass(frozen=True)
class Batch:
    """Exposures as tensors: photons and mask ``(n, x, y, z)``, labels ``(n,)`` of ``LabelledExposures``."""

    counts: Tensor
    measured: Tensor
    defect: Tensor
    determined: Tensor
    count: Tensor


Loss = Callable[[nn.Module, Batch], Tensor]


def learned(network: nn.Module, exposures: LabelledExposures, loss: Loss, budget: Budget) -> dict[str, Any]:
    """Train ``network`` in place; what it learned from, and its curve on the exposures held out.

    The last batch of a pass over the exposures is dropped where it is not whole.

    Raises
    ------
    ValueError
        If the exposures do not fill a batch.
    """
    seen, judged = exposures.held_out(budget.held_out)
    if len(seen) < budget.batch_size:
        raise ValueError(f"exposures must fill a batch of {budget.batch_size}, got {len(seen)} to learn from")
    generator = np.random.default_rng(budget.seed)
    torch.manual_seed(budget.seed)
    optimizer = torch.optim.AdamW(network.parameters(), budget.learning_rate, weight_decay=0.02)
    begin, batches, share, due = time.process_time(), 0, 0.0, 0.0
    order: list[int] = []
    curve: list[tuple[int, float]] = []
    with tqdm(total=1.0, desc=type(network).__name__, bar_format=BAR, mininterval=1.0, disable=None) as bar:
        while share < 1:
            if len(order) < budget.batch_size:
                order = generator.permutation(len(seen)).tolist()
            rows, order = np.array(order[: budget.batch_size]), order[budget.batch_size :]
            optimizer.param_groups[0]["lr"] = budget.learning_rate * (0.02 + 0.49 * (1 + np.cos(np.pi * share)))
            value = loss(network.train(), turned(batch_of(seen, rows), generator))
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            batches += 1
            before, share = share, budget.spent(time.process_time() - begin, batches)
            bar.set_postfix_str(f"{batches} batches", refresh=False)
            bar.update(share - before)
            if share >= due or share == 1:
                curve.append((batches, round(judge(network, judged, loss, budget.batch_size), 4)))
                due = share + 1 / POINTS
    return {
        "crystals": len(seen),
        "exposures": batches * budget.batch_size,
        "processor_minutes": round((time.process_time() - begin) / 60, 2),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "held_out_crystals": len(judged),
        "held_out_loss": curve,
    }


@torch.no_grad()
def judge(network: nn.Module, exposures: LabelledExposures, loss: Loss, batch_size: int) -> float:
    """Mean loss over ``exposures``, weighted by the exposures of each batch."""
    network.eval()
    total = 0.0
    for first in range(0, len(exposures), batch_size):
        rows = np.arange(first, min(first + batch_size, len(exposures)))
        total += float(loss(network, batch_of(exposures, rows))) * len(rows)
    return total / len(exposures)


def batch_of(exposures: LabelledExposures, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Batch:
    """The exposures ``rows`` as tensors."""
    labels = (torch.as_tensor(getattr(exposures, name)[rows]) for name in ("defect", "determined", "count"))
    return Batch(torch.as_tensor(exposures.counts(rows)), torch.as_tensor(exposures.measured[rows]), *labels)


def turned(batch: Batch, generator: np.random.Generator) -> Batch:
    """Each pattern in one of the orientations of its axes: all 48 of a cubic grid, the 8 flips of another.

    The class of a defect and the number of lines do not change.
    """
    shape = batch.counts.shape[1:]
    counts, measured = [], []
    for pattern, mask in zip(batch.counts.numpy(), batch.measured.numpy(), strict=True):
        symmetry = AxisSymmetry.draw(generator)
        if len(set(shape)) > 1:
            symmetry = AxisSymmetry((0, 1, 2), symmetry.flips)
        counts.append(symmetry.apply(pattern))
        measured.append(symmetry.apply(mask.astype(np.float32)) > 0)
    labels = {field.name: getattr(batch, field.name) for field in fields(Batch)[2:]}
    return Batch(torch.as_tensor(np.stack(counts)), torch.as_tensor(np.stack(measured)), **labels)
