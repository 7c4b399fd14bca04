"""The command ``baselines``. Free of torch at the top."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, tell
from cdi.help_examples import add_examples

EXAMPLES = """
cdi baselines --output output/baselines                          # those that the shipped network must beat
cdi baselines --model output/run/model.safetensors --minutes 20 --output output/baselines
cdi baselines --only [prior,radial] --crystals 1000 --output output/shortcut
"""


def _arguments(parser: ArgumentParser) -> None:
    add_examples(parser, EXAMPLES)
    parser.add_argument("--model", type=str, default="default", help="checkpoint whose training recipe they learn from")
    parser.add_argument("--recipe", type=str, help="YAML of another recipe (examples/recipes/crystals.yaml)")
    parser.add_argument("--output", type=str, required=True, help="directory to keep them in; a stopped run goes on")
    parser.add_argument("--crystals", type=int, default=6400, help="crystals that all of them learn from")
    parser.add_argument("--minutes", type=float, default=4.0, help="of processor time for each network among them")
    parser.add_argument("--only", type=list[str], default=[], help="train these alone, e.g. [prior,radial]")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw crystals")
    add_json_argument(parser)


def _run(arguments: Namespace) -> None:
    from cdi.config import read_config
    from data.recipe import Recipe

    if arguments.recipe:
        recipe = read_config(Recipe, arguments.recipe)
    else:
        from training.held_out import training_recipe

        recipe = training_recipe(arguments.model)
    from training.baselines.learning import Budget
    from training.baselines.registry import Kept, train_baselines

    def report(baseline: Kept) -> None:
        if not arguments.json:
            facts = "  ".join(f"{key} {value}" for key, value in baseline.facts.items())
            print(f"{baseline.name:30s} {facts}", flush=True)

    kept = train_baselines(
        recipe,
        Path(arguments.output),
        crystals=arguments.crystals,
        budget=Budget(minutes=arguments.minutes),
        only=arguments.only,
        workers=arguments.workers,
        report=report,
    )
    told = {"output": arguments.output, "baselines": {baseline.name: dict(baseline.facts) for baseline in kept}}
    tell(arguments, told, [f"baselines: {arguments.output}"])


baselines = Command(
    "baselines",
    "train what a network must beat: prior, shortcut, classifiers, phase network",
    _arguments,
    _run,
    "finished ones are kept in --output, and the same command goes on",
)
