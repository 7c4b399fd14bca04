"""The commands ``train``, ``evaluate`` and ``predict``. Free of torch at the top."""

import json
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


def _predict_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=str, help="exposure: HDF5, .npy, .npz, TIFF stack, or a directory of TIFF frames")
    parser.add_argument("--model", type=str, default="default", help="checkpoint file or shipped name")
    parser.add_argument("--index", type=int, help="sample of a data set of `cdi generate`")
    parser.add_argument(
        "--spec", type=str, help="SPEC file with the scan's angles (default: the one beside the frames)"
    )
    parser.add_argument("--scan", type=int, help="scan number in the SPEC file")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--picture", type=str, help="write a PNG of what the network saw and answered")


def _predict(arguments: Namespace) -> None:
    from data.pattern_files import read_exposure
    from models.checkpoint import resolve

    resolve(arguments.model)  # a missing model is told before the seconds that torch takes to import
    exposure = read_exposure(arguments.file, index=arguments.index, spec=arguments.spec, scan=arguments.scan)
    from models.predictor import Predictor
    from models.preprocess import fit_to_grid

    predictor = Predictor.load(arguments.model)
    prediction = predictor.predict([exposure])[0]
    if arguments.picture:
        from training.pictures import save_prediction_picture

        save_prediction_picture(
            fit_to_grid(exposure, predictor.shape), prediction, arguments.picture, title=Path(arguments.file).name
        )
    answer = prediction.to_json()
    if arguments.json:
        print(json.dumps(answer))
        return
    unit = "voxels" if exposure.grid is None else "Å"
    print(f"class        {answer['class']}{'  (undetermined)' if answer['undetermined'] else ''}")
    print(f"P(defect)    {answer['defect_probability']:.3f}")
    print(f"lines        {answer['count']}")
    for line in answer["lines"]:
        ends = line["points_A"][0], line["points_A"][-1]
        print(f"  from {ends[0]} to {ends[1]} {unit}, confidence {line['confidence']:.2f}")
    print(f"model        {answer['model']['name']} {answer['model']['weights_sha256'][:12]}")
    if arguments.picture:
        print(f"picture      {arguments.picture}")


train = Command("train", "train a network on crystals drawn on the fly", _train_arguments, _train)
evaluate = Command(
    "evaluate",
    "score a network beside its baselines on crystals it never saw, with a report",
    _evaluate_arguments,
    _evaluate,
)
predict = Command(
    "predict", "say what defect an exposure shows: class, lines, confidence", _predict_arguments, _predict
)
