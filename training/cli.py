"""The commands ``train``, ``calibrate``, ``tiers``, ``evaluate``; ``predict`` for the entry point. Torch comes late."""

import json
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, tell
from cdi.help_examples import add_examples
from cdi.progress import add_progress_argument
from cdi.whole_file import check_output
from training.predict_cli import predict

__all__ = ["calibrate", "evaluate", "predict", "train"]

TRAIN_EXAMPLES = """
cdi train examples/train.yaml --output output/run                         # killed? the same command goes on
cdi train examples/train-proposal.yaml minutes=20 recipe.seed=3 --output output/proposal
cdi train examples/train.yaml dataset=output/crystals reflections=[1] --output output/stored
"""
TIERS_EXAMPLES = """
cdi tiers --config examples/tiers/quick.yaml --output output/tiers
cdi tiers --only T1 T2-rod --crystals 40 --output output/tiers
cdi tiers --only T4 --real measured/ --output output/tiers                # lines implanted into measured crystals
"""
EVALUATE_EXAMPLES = """
cdi evaluate --dataset output/small --output output/report
cdi evaluate --model output/run/model.safetensors --tiers output/tiers --baselines output/baselines --output report
cdi evaluate --tiers output/tiers --crystals 25 --starts 0 --output output/quick-report
"""
CALIBRATE_EXAMPLES = """
cdi calibrate searched --objects output/searched-objects --output output/searched.safetensors
cdi calibrate output/run/model.safetensors --output output/run/model.safetensors --overwrite
"""
KEPT_OBJECTS = "a model that searches keeps here what it finds, and need not search again"
GOES_ON = "whole epochs are kept in --output, and the same command goes on after the last of them"


def _train_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, TRAIN_EXAMPLES)
    parser.add_argument("config", type=str, help="YAML configuration (examples/train.yaml)")
    parser.add_argument("overrides", nargs="*", type=str, help="key=value overrides, e.g. epochs=5 recipe.seed=3")
    parser.add_argument("--output", type=str, required=True, help="directory of the run; a killed run continues there")
    add_json_argument(parser)


def _train(arguments: Namespace) -> None:
    from cdi.config import read_config
    from training.config import TrainConfig

    config = read_config(TrainConfig, arguments.config, arguments.overrides)
    from training.run import train as run_training

    path = run_training(config, Path(arguments.output))
    told = {"output": path, "name": config.name, "config": Path(arguments.output) / "config.yaml"}
    tell(arguments, told, [f"trained: {path}"])


def _calibrate_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, CALIBRATE_EXAMPLES)
    parser.add_argument("model", type=str, help="checkpoint file or shipped name")
    parser.add_argument("--objects", type=str, default=None, metavar="DIR", help=KEPT_OBJECTS)
    parser.add_argument("--output", type=str, required=True, metavar="FILE.safetensors", help="the same weights")
    parser.add_argument("--half", action="store_true", help="weights in half precision: a file of half the size")
    parser.add_argument("--overwrite", action="store_true", help="replace an --output that is there")
    add_json_argument(parser)
    add_progress_argument(parser)


def _calibrate(arguments: Namespace) -> None:
    from dataclasses import asdict

    output = check_output(arguments.output, overwrite=arguments.overwrite)
    from training.run import calibrated_anew

    chosen = {"half": arguments.half, "progress": arguments.progress}
    calibration = calibrated_anew(arguments.model, output, arguments.objects, **chosen)
    lines = [f"{name}: {value:.4g}" for name, value in asdict(calibration).items()]
    tell(arguments, {"output": output, **asdict(calibration)}, [*lines, f"calibrated: {output}"])


def _tiers_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, TIERS_EXAMPLES)
    parser.add_argument("--output", type=str, required=True, metavar="DIR", help="a folder a tier; made, or resumed")
    parser.add_argument("--config", type=str, default=None, metavar="FILE.yaml", help="sizes (examples/tiers)")
    parser.add_argument("--only", nargs="+", type=str, default=None, metavar="TIER", help="T1, T2, T2-rod, T5, ...")
    parser.add_argument("--crystals", type=int, default=None, help="of each tier (default: each its own number)")
    parser.add_argument("--shape", nargs=3, type=int, default=None, metavar="N", help="voxels (default 32 32 32)")
    parser.add_argument(
        "--relaxed", type=str, default=None, metavar="RECIPE.yaml", help="T2-relaxed: examples/recipes/relaxed.yaml"
    )
    parser.add_argument("--real", type=str, default=None, metavar="DIR", help="T4-implanted: measured patterns")
    parser.add_argument("--processes", type=int, default=None, help="default: one a core")
    add_json_argument(parser)
    add_progress_argument(parser)


def _tiers(arguments: Namespace) -> None:
    from cdi.config import read_config
    from cdi.launched import available_cores
    from training.tiers import TierSettings, make_tiers

    names = ("only", "crystals", "shape", "relaxed", "real")
    given = [f"{name}={json.dumps(arguments[name])}" for name in names if arguments[name] is not None]
    settings = read_config(TierSettings, arguments.config, given)
    processes = available_cores() if arguments.processes is None else arguments.processes
    made: dict[str, str] = {}

    def report(line: str) -> None:
        name, made_of = line.split(maxsplit=1)
        made[name] = made_of
        if not arguments.json:
            print(line, flush=True)

    make_tiers(settings, Path(arguments.output), processes=processes, progress=arguments.progress, report=report)
    tell(arguments, {"output": arguments.output, "tiers": made}, [])


def _evaluate_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, EVALUATE_EXAMPLES)
    parser.add_argument("--model", type=str, default="default", help="checkpoint file or shipped name")
    parser.add_argument(
        "--tiers",
        type=str,
        default=None,
        metavar="DIR",
        help="of `cdi tiers`: every one there (default: T1, drawn anew)",
    )
    parser.add_argument("--dataset", type=str, default=None, help="a data set of `cdi generate` instead")
    parser.add_argument("--crystals", type=int, default=None, help="of each tier, the first so many (default: all)")
    parser.add_argument(
        "--baselines", type=str, default=None, metavar="DIR", help="of `cdi baselines`, in the table too"
    )
    parser.add_argument("--starts", type=int, default=5, help="of phase retrieval beside the baselines; 0: without it")
    parser.add_argument("--real", type=str, default=None, metavar="DIR", help="measured patterns without a known line")
    parser.add_argument("--objects", type=str, default=None, metavar="DIR", help=KEPT_OBJECTS)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw or read crystals")
    parser.add_argument("--output", type=str, required=True, help="directory of the report; made anew")
    add_json_argument(parser)


def _evaluate(arguments: Namespace) -> None:
    from cdi.interruption import stop_at_interrupt
    from training.held_out import EvaluationSettings, evaluate_held_out
    from training.report import COLUMNS, METRICS, cell

    names = ("model", "tiers", "dataset", "crystals", "baselines", "starts", "real", "objects", "workers")
    output = Path(arguments.output)
    settings = EvaluationSettings(**{name: arguments[name] for name in names})
    with stop_at_interrupt() as stop:
        tables = evaluate_held_out(settings, output, stop)
        stopped = stop()
    page = output / "report.html"
    said = [
        f"{tier:22s} {row:44s} {name:32s} {cell(cells[name])}"
        for tier, table in tables.items()
        for row, cells in table.items()
        for name in COLUMNS
    ]
    told = {"report": page, **json.loads((output / METRICS).read_text())} if arguments.json else {}
    tell(arguments, told, [*said, f"report: {page}"])
    if stopped:
        raise KeyboardInterrupt(f"{page} is of the crystals that were scored till then; --crystals N scores so many")


train = Command("train", "train a network on crystals drawn on the fly", _train_arguments, _train, GOES_ON)
calibrate = Command(
    "calibrate",
    "fit the confidences of a trained network anew, on the crystals that its training set aside",
    _calibrate_arguments,
    _calibrate,
    "nothing is written; with --objects what was searched is kept",
)
tiers = Command(
    "tiers",
    "the frozen test sets: new crystals, other physics, networks, measured crystals",
    _tiers_arguments,
    _tiers,
    "whole files are kept in --output, and the same command goes on",
)
evaluate = Command(
    "evaluate",
    "score a network beside its baselines on crystals it never saw, with a report",
    _evaluate_arguments,
    _evaluate,
    "no crystal was scored yet; --crystals N makes it shorter",
)
