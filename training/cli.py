"""The commands ``train`` and ``evaluate``, and ``predict`` for the entry point. Free of torch at the top."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from cdi.command import Command
from training.predict_cli import predict

__all__ = ["evaluate", "predict", "train"]


def _train_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", type=str, help="YAML configuration (examples/train.yaml)")
    parser.add_argument("overrides", nargs="*", type=str, help="key=value overrides, e.g. epochs=5 recipe.seed=3")
    parser.add_argument("--output", type=str, required=True, help="directory of the run; a killed run continues there")


def _train(arguments: Namespace) -> None:
    from cdi.config import read_config
    from training.config import TrainConfig

    config = read_config(TrainConfig, arguments.config, arguments.overrides)
    from training.run import train as run_training

    path = run_training(config, Path(arguments.output))
    print(f"trained: {path}")


def _evaluate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--model", type=str, default="default", help="checkpoint file or shipped name")
    parser.add_argument("--dataset", type=str, help="evaluate on a data set of `cdi generate` instead of new crystals")
    parser.add_argument("--samples", type=int, default=500, help="crystals drawn anew, of the training's distribution")
    parser.add_argument("--seed", type=int, help="of those crystals (default: the training's plus one)")
    parser.add_argument(
        "--baseline-samples", type=int, default=3000, help="training crystals that the baselines learn from"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that draw crystals")
    parser.add_argument("--output", type=str, required=True, help="directory of the report; made anew")


def _evaluate(arguments: Namespace) -> None:
    for name in ("samples", "baseline_samples"):
        if arguments[name] < 20:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 20, got {arguments[name]}")
    from training.held_out import evaluate_held_out

    output = Path(arguments.output)
    table = evaluate_held_out(
        arguments.model,
        output,
        dataset=arguments.dataset,
        samples=arguments.samples,
        baseline_samples=arguments.baseline_samples,
        workers=arguments.workers,
        seed=arguments.seed,
    )
    for method, scores in table.items():
        for name, value in scores.items():
            print(f"{method:26s} {name:34s} {value}")
    print(f"report: {output / 'report.html'}")


train = Command("train", "train a network on crystals drawn on the fly", _train_arguments, _train)
evaluate = Command(
    "evaluate",
    "score a network beside its baselines on crystals it never saw, with a report",
    _evaluate_arguments,
    _evaluate,
)
