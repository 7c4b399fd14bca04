"""Do projections lead from a proposal to the object, or away from it? JSON lines.

    python benchmarks/consistency.py [--model default] [--crystals 64] [--seed 51000000]

Objects of one exposure after n iterations of ``models.data_consistency``, started from the truth and from the
proposal of an unrolled network, with different shares of hybrid input-output, for four detectors: none, partial
coherence alone, everything else, everything. Error: mean |Δφ| over the support up to twin and global phase, median and
mean over crystals, with the mean's standard error.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from jsonargparse import auto_cli
from machine import emit, machine
from torch import Tensor

from cdi.ambiguity import inverted
from cdi.config import read_config
from cdi.detector.ranges import DetectorRanges
from data.drawn_batches import choose, make_batch
from data.recipe import Recipe
from models.data_consistency import data_consistent
from models.predictor import Predictor
from training.batches import propose
from training.targets import Targets, targets_of_batch

RECIPE = Path(__file__).parents[1] / "examples/recipes/crystals.yaml"
SCHEDULES = ((0.0, 15), (0.2, 15), (0.6, 30), (0.8, 100))
"""Share of hybrid input-output, and iterations."""


def main(model: str = "default", crystals: int = 64, seed: int = 51_000_000, threads: int = 1) -> None:
    torch.set_num_threads(threads)
    predictor = Predictor.load(model, "cpu")
    emit(benchmark="consistency", machine=machine(), model=predictor.model, crystals=crystals, seed=seed)
    for detector, recipe in detectors(replace(read_config(Recipe, RECIPE), seed=seed, first_index=0)):
        truth = targets_of_batch(make_batch([choose(recipe, index) for index in range(crystals)], "cpu"))
        with torch.inference_mode():
            proposal = propose(predictor.network, truth.patterns)
        starts = {
            "truth": (truth.support[:, 0], torch.polar(torch.ones_like(truth.phase[:, 0]), truth.phase[:, 0])),
            "proposal": (proposal.support_logits.sigmoid(), proposal.phasor),
        }
        for start, (support, phasor) in starts.items():
            tell(truth, torch.polar(support, phasor.angle()), detector=detector, start=start, hybrid=0.0, iterations=0)
            for share, iterations in SCHEDULES:
                found = data_consistent(
                    truth.patterns.counts[:, 0], truth.patterns.measured[:, 0], support, phasor, iterations, share
                )
                tell(truth, found, detector=detector, start=start, hybrid=share, iterations=iterations)


def detectors(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """What an exposure goes through, by name."""
    full = recipe.detector
    for name, ranges in (
        ("none", DetectorRanges()),
        ("coherence", DetectorRanges(coherence=full.coherence)),
        ("all but coherence", replace(full, coherence=None)),
        ("all", full),
    ):
        yield name, replace(recipe, detector=ranges)


def tell(truth: Targets, found: Tensor, **facts: str | float) -> None:
    """Print the phase errors of ``found`` complex objects ``(n, x, y, z)``."""
    error = phase_error(found, truth)
    for name, chosen in (("none", truth.defect == 0), ("defect", truth.defect > 0)):
        some = error[chosen]
        emit(**facts, crystals=name, number=len(some), median_rad=round(float(some.median()), 4),
             mean_rad=round(float(some.mean()), 4),
             standard_error=round(float(some.std() / len(some) ** 0.5), 4))  # fmt: skip


def phase_error(found: Tensor, truth: Targets) -> Tensor:
    """Mean |Δφ| ``(n,)`` in radians over the support of the truth or its twin, whichever overlaps better."""
    overlaps, errors = [], []
    support, phase = truth.support[:, 0], truth.phase[:, 0]
    for s, p in ((support, phase), (inverted(support), -inverted(phase))):
        true = torch.polar(s, p)
        overlap = (found.conj() * true).sum((1, 2, 3))
        turned = (
            found.conj() * true * torch.polar(torch.ones_like(overlap.abs()), -overlap.angle())[:, None, None, None]
        )
        inside = s > 0.5
        overlaps.append(overlap.abs())
        errors.append((turned.angle().abs() * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp_min(1))
    return torch.where(overlaps[1] > overlaps[0], errors[1], errors[0])


if __name__ == "__main__":
    auto_cli(main)
