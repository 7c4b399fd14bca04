"""``cdi evaluate``: the test crystals, the baselines' crystals, the scores and the report."""

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from cdi.config import read_object
from data.dataset import StoredSamples
from data.drawn import DrawnSamples
from data.recipe import Recipe
from data.sample import Sample
from models.checkpoint import load
from models.predictor import Predictor
from training.evaluation import evaluate, summary
from training.metrics import Interval
from training.report import write_report


def held_out(recipe: Recipe, samples: int, seed: int | None = None) -> Recipe:
    """The recipe's distribution under another ``seed`` (default: the next): crystals that training cannot have seen.

    Raises
    ------
    ValueError
        If ``seed`` is the recipe's own.
    """
    if seed == recipe.seed:
        raise ValueError(f"the test seed must differ from the training's, got {seed} for both")
    chosen = recipe.seed + 1 if seed is None else seed
    return replace(recipe, name=f"{recipe.name}-held-out", seed=chosen, first_index=0, samples=samples)


def evaluate_held_out(
    model: str,
    output: Path,
    *,
    dataset: str | None,
    samples: int,
    baseline_samples: int,
    workers: int,
    seed: int | None = None,
) -> dict[str, dict[str, Interval]]:
    """Evaluate on ``dataset``, or on ``samples`` crystals of the training's distribution under another seed.

    The baselines learn from ``baseline_samples`` crystals of the very recipe that the network was
    trained on. Writes the report into ``output`` and returns its table.

    Raises
    ------
    ValueError
        If ``output`` exists, the checkpoint does not carry its recipe, or ``dataset`` is bad.
    """
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"--output must be a new or empty directory, got {output}")
    recipe = training_recipe(model)
    test = held_out(recipe, samples, seed)
    chosen: Dataset[Sample] = StoredSamples(dataset) if dataset else DrawnSamples(test)
    baseline = DrawnSamples(replace(recipe, samples=baseline_samples))
    predictor = Predictor.load(model)
    crystals = evaluate(predictor, chosen, baseline, workers=workers)
    table = summary(crystals)
    facts: dict[str, Any] = {
        "model": predictor.model["name"],
        "weights sha256": predictor.model["weights_sha256"],
        "crystals": len(crystals.defects),
        "source": dataset or f"{recipe.name}, seed {test.seed}",
        "baselines trained on": f"{baseline_samples} crystals, seed {recipe.seed}",
        "machine": f"{platform.machine()}, {predictor.device}",
    }
    output.mkdir(parents=True, exist_ok=True)
    write_report(crystals, table, output, title=f"Evaluation of {predictor.model['name']}", facts=facts)
    return table


def training_recipe(model: str) -> Recipe:
    """The recipe that the checkpoint was trained on."""
    training = load(model).training
    if "config" not in training:
        raise ValueError(f"model {model!r} must carry its training configuration; train it with `cdi train`")
    return read_object(Recipe, training["config"]["recipe"], origin=f"model {model!r}")
