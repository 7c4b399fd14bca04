"""The commands ``train``, ``evaluate`` and ``predict``. Free of torch at the top."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from cdi.command import Command


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


train = Command("train", "train a network on crystals drawn on the fly", _train_arguments, _train)
