"""How well does the network recognise what is in crystals it never saw, beside its baselines? A JSON line a score.

    python benchmarks/recognition.py [--model default] [--tiers DIR] [--baselines DIR] [--starts N] [--real DIR] \\
        [--crystals N] [--objects DIR]

``--tiers`` is a directory of ``cdi tiers``; without it tier T1 is drawn anew. Intervals: 95 % bootstrap over crystals,
``crystals`` is how many are behind a score; rows ``network − …`` are paired differences. ``--objects`` keeps what a
model that searches finds, and adds a row of what rules read in it. ``--output`` keeps the report.
"""

import tempfile
from dataclasses import asdict
from math import isnan
from pathlib import Path

from jsonargparse import auto_cli
from machine import emit, machine

from models.checkpoint import load, weights_sha256
from training.held_out import EvaluationSettings, evaluate_held_out, test_sets


def main(
    model: str = "default",
    tiers: str | None = None,
    baselines: str | None = None,
    starts: int = 5,
    real: str | None = None,
    crystals: int | None = None,
    objects: str | None = None,
    workers: int = 1,
    output: str | None = None,
) -> None:
    settings = EvaluationSettings(
        model, tiers=tiers, baselines=baselines, starts=starts, real=real, crystals=crystals, workers=workers,
        objects=objects,
    )  # fmt: skip
    checkpoint = load(model)
    emit(benchmark="recognition", machine=machine(), model=model, weights_sha256=weights_sha256(model),
         training_seed=checkpoint.training.get("config", {}).get("recipe", {}).get("seed"),
         test_seeds={each.tier: each.seed for each in test_sets(settings, checkpoint.network.shape)})  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        tables = evaluate_held_out(settings, Path(output) if output else Path(directory) / "report")
    for tier, table in tables.items():
        for method, scores in table.items():
            for name, interval in scores.items():
                values = {key: None if isnan(value) else round(value, 4) for key, value in asdict(interval).items()}
                emit(tier=tier, method=method, score=name, **values)


if __name__ == "__main__":
    auto_cli(main)
