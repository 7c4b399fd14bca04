"""The command ``predict``. Free of torch at the top."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, tell
from cdi.help_examples import add_examples
from data.stack_arguments import PATTERN_FILES
from training.question_arguments import add_question_arguments, question

if TYPE_CHECKING:
    from training.measured_crystal import MeasuredCrystal
    from training.prediction_page import PredictionReport

OUTPUTS = ("report", "picture", "vtk", "volumes", "sites")


EXAMPLES = """
cdi predict scan/frames --element Au --reflections "1 1 1" --report answer.html
cdi predict 111.cxi 200.cxi --element Au --reflections "1 1 1" "2 0 0" --vtk lines.vtp --volumes answer.h5
cdi predict run.nxs --dataset /entry/data/counts --geometry beamline.yaml --mask dead.npy --json
"""


def _add_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, EXAMPLES)
    parser.add_argument(
        "files", nargs="+", type=str, metavar="FILE",
        help=f"one a reflection of the crystal: {PATTERN_FILES}",
    )  # fmt: skip
    add_question_arguments(parser)
    add_json_argument(parser)
    parser.add_argument(
        "--report", type=str, default=None, metavar="OUT.html", help="one page: quality, answer, pictures, alternatives"
    )
    parser.add_argument(
        "--picture", type=str, default=None, metavar="OUT.png", help="what the network saw and answered"
    )
    parser.add_argument("--vtk", type=str, default=None, metavar="OUT.vtp", help="lines for ParaView, in Å")
    parser.add_argument(
        "--volumes", type=str, default=None, metavar="OUT.h5", help="line density, support, phases, displacement"
    )
    parser.add_argument(
        "--sites", type=str, default=None, metavar="OUT.extxyz", help="lattice sites, from three reflections or more"
    )


def _predict(arguments: Namespace) -> None:
    from cdi.whole_file import check_output
    from data.formats.vtk_lines import check_vtk_name
    from data.stack_arguments import told_warnings
    from models.checkpoint import resolve
    from training.measured_crystal import read_crystal

    # Whatever is wrong is told before the seconds that torch takes to import.
    resolve(arguments.model)
    for name in OUTPUTS:
        if arguments[name] is not None:
            check_output(arguments[name], overwrite=True)
    if arguments.vtk is not None:
        check_vtk_name(arguments.vtk)
    if arguments.report is not None and Path(arguments.report).suffix != ".html":
        raise ValueError(f"report must end in .html, got {arguments.report!r}")
    with told_warnings() as warnings:
        crystal = read_crystal(arguments.files, question(arguments))
    report = _report(crystal, arguments, warnings)
    written = _write(report, arguments)
    from training.prediction_quality import quality_text
    from training.prediction_text import report as answer_text

    quality = quality_text(report.quality, report.familiar)
    tell(arguments, _to_json(report), [*quality, *answer_text(report.prediction, crystal), *written])


def _report(crystal: "MeasuredCrystal", arguments: Namespace, warnings: list[str]) -> "PredictionReport":
    """The answer, with the exposures as the network saw them and what they are worth."""
    from models.checkpoint import load
    from models.predictor import Predictor
    from models.preprocess import fit_set
    from training.prediction_page import PredictionReport
    from training.prediction_quality import familiarity, pattern_quality

    quality = [pattern_quality(*named) for named in zip(crystal.names, crystal.exposures, strict=True)]
    predictor = replace(Predictor.load(arguments.model), progress=True)
    (prediction,) = predictor.predict_crystals([crystal.exposures], [crystal.known])
    fitted = replace(crystal, exposures=fit_set(crystal.exposures, predictor.shape))
    element = None if crystal.known is None else crystal.known.lattice.formula
    familiar = familiarity(quality, fitted.exposures, load(arguments.model).training, element)
    first = Path(arguments.files[0]).resolve()
    title = f"{first.parent.name}/{first.name}" if first.is_dir() else first.name
    return PredictionReport(title, prediction, crystal, fitted, quality, familiar, tuple(warnings))


def _write(report: "PredictionReport", arguments: Namespace) -> list[str]:
    """Write what is asked for; a line about each."""
    from cdi.whole_file import whole_file
    from training.prediction_files import write_lines, write_sites, write_volumes

    prediction, fitted = report.prediction, report.fitted
    done = []
    if arguments.report is not None:
        from training.prediction_page import write_page

        with whole_file(arguments.report) as temporary:
            write_page(report, temporary)
        done.append(f"report       {arguments.report}")
    if arguments.picture is not None:
        from training.prediction_picture import save_prediction_picture

        with whole_file(arguments.picture) as temporary:
            save_prediction_picture(fitted, prediction, temporary, title=Path(arguments.files[0]).name)
        done.append(f"picture      {arguments.picture}")
    if arguments.vtk is not None:
        write_lines(arguments.vtk, prediction)
        done.append(f"lines        {arguments.vtk}")
    if arguments.volumes is not None:
        write_volumes(arguments.volumes, prediction, fitted)
        done.append(f"volumes      {arguments.volumes}")
    if arguments.sites is not None:
        done.append(f"sites        {write_sites(arguments.sites, prediction, fitted)} in {arguments.sites}")
    return done


def _to_json(report: "PredictionReport") -> dict[str, Any]:
    """The stable object, with what it was made of and what that is worth."""
    crystal = report.crystal
    known = crystal.known
    return {
        **report.prediction.to_json(),
        "patterns": list(crystal.names),
        "reflections": None if known is None else [list(hkl) for hkl in known.reflections],
        "lattice": None if known is None else known.lattice.formula,
        "unit": "voxel" if crystal.exposures[0].grid is None else "angstrom",
        "quality": [quality.to_json() for quality in report.quality],
        "familiarity": [asdict(entry) for entry in report.familiar],
        "warnings": list(report.warnings),
    }


predict = Command(
    "predict",
    "say what defect a crystal's patterns show: class, lines, Burgers vectors, confidence",
    _add_arguments,
    _predict,
    "files that were written are whole",
)
