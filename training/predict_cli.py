"""The command ``predict``. Free of torch at the top."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from cdi.command import Command
from training.question_arguments import add_question_arguments, question

if TYPE_CHECKING:
    from models.prediction import Prediction
    from training.measured_crystal import MeasuredCrystal

OUTPUTS = ("picture", "vtk", "volumes", "sites")


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=str, metavar="FILE",
        help="one a reflection of the crystal: CXI, HDF5, .npy, .npz, TIFF stack, a directory of TIFF frames; "
        "or one data set of `cdi generate`",
    )  # fmt: skip
    add_question_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
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
    from data.formats.vtk_lines import check_vtk_name
    from data.whole_file import check_output
    from models.checkpoint import resolve
    from training.measured_crystal import read_crystal

    # Whatever is wrong is told before the seconds that torch takes to import.
    resolve(arguments.model)
    for name in OUTPUTS:
        if arguments[name] is not None:
            check_output(arguments[name], overwrite=True)
    if arguments.vtk is not None:
        check_vtk_name(arguments.vtk)
    crystal = read_crystal(arguments.files, question(arguments))
    prediction, fitted = _answer(crystal, arguments.model)
    written = _write(prediction, fitted, arguments)
    if arguments.json:
        print(json.dumps(_to_json(prediction, crystal)))
        return
    from training.prediction_text import report

    for line in (*report(prediction, crystal), *written):
        print(line)


def _answer(crystal: "MeasuredCrystal", model: str) -> "tuple[Prediction, MeasuredCrystal]":
    """The prediction, and the crystal's exposures as the network saw them."""
    from models.predictor import Predictor
    from models.preprocess import fit_set

    predictor = Predictor.load(model)
    (prediction,) = predictor.predict_crystals([crystal.exposures], [crystal.known])
    return prediction, replace(crystal, exposures=fit_set(crystal.exposures, predictor.shape))


def _write(prediction: "Prediction", fitted: "MeasuredCrystal", arguments: Namespace) -> list[str]:
    """Write what is asked for; a line about each."""
    from training.prediction_files import write_lines, write_sites, write_volumes

    done = []
    if arguments.picture is not None:
        from data.whole_file import whole_file
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


def _to_json(prediction: "Prediction", crystal: "MeasuredCrystal") -> dict[str, Any]:
    """The stable object, with what it was made of."""
    known = crystal.known
    return {
        **prediction.to_json(),
        "patterns": list(crystal.names),
        "reflections": None if known is None else [list(hkl) for hkl in known.reflections],
        "lattice": None if known is None else known.lattice.formula,
        "unit": "voxel" if crystal.exposures[0].grid is None else "angstrom",
    }


predict = Command(
    "predict",
    "say what defect a crystal's patterns show: class, lines, Burgers vectors, confidence",
    _add_arguments,
    _predict,
)
