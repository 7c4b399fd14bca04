"""Does the network beat its baselines on crystals it never saw? One JSON line a method and score.

    python benchmarks/recognition.py [--model default] [--samples 1000] [--seed N]

Test crystals: the training's distribution under another seed. Both baselines learn from crystals
of the network's own training recipe. Intervals: 95 % bootstrap over crystals; the rows
``network − …`` are paired differences, so an interval above 0 is the margin.
"""

import tempfile
from dataclasses import asdict
from pathlib import Path

from jsonargparse import auto_cli
from machine import emit, machine

from models.checkpoint import weights_sha256
from training.held_out import evaluate_held_out, held_out, training_recipe


def main(
    model: str = "default", samples: int = 1000, baseline_samples: int = 4000, workers: int = 2, seed: int | None = None
) -> None:
    trained = training_recipe(model)
    test = held_out(trained, samples, seed)
    emit(benchmark="recognition", machine=machine(), model=model, weights_sha256=weights_sha256(model),
         crystals=samples, test_seed=test.seed,
         baseline_crystals=baseline_samples, training_seed=trained.seed)  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        table = evaluate_held_out(
            model, Path(directory) / "report", dataset=None, samples=samples,
            baseline_samples=baseline_samples, workers=workers, seed=test.seed,
        )  # fmt: skip
    for method, scores in table.items():
        for name, interval in scores.items():
            emit(method=method, score=name, **{key: round(value, 4) for key, value in asdict(interval).items()})


if __name__ == "__main__":
    auto_cli(main)
