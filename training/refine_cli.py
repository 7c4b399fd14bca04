"""The command ``refine``. Free of torch at the top."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, tell
from cdi.device_argument import add_device_argument, chosen_device
from cdi.help_examples import add_examples
from cdi.progress import add_progress_argument, progress_bar, staged_bar
from training.question_arguments import add_question_arguments, question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cdi.refinement.config import RefinementConfig
    from cdi.refinement.refinement import Refinement
    from cdi.refinement.start import StartObject
    from training.measured_crystal import MeasuredCrystal


EXAMPLES = """
cdi refine pattern.h5 --from network retrieval            # both starts; the better one by voxels that were held out
cdi refine 111.h5 200.h5 11-1.h5 --element Au --reflections "1 1 1" "2 0 0" "1 1 -1" --output refined.h5
cdi refine pattern.h5 --from object.h5 --set order=6 --ensemble 8 --json
cdi refine pattern.h5 --set outline=true                  # and its flat faces: where each lies, with an error
cdi refine scan/frames --starts 4 --device cuda           # any file that cdi predict reads
"""

STARTS = 10
"""Of a retrieval, where none are said."""


def _add_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, EXAMPLES)
    parser.add_argument(
        "files", nargs="+", type=str, metavar="PATTERN",
        help="one a reflection of the crystal, as for `cdi predict`; or one data set of `cdi generate`",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="start", nargs="+", type=str, default=["retrieval"], metavar="network|retrieval|FILE",
        help="starts, one or more: the network's proposal, a retrieval, or a file of `cdi retrieve` or "
        "`cdi predict --volumes`",
    )  # fmt: skip
    add_question_arguments(parser)
    # None tells what was not said from what was: a model that nobody asks is an error.
    parser.set_defaults({"model": None})
    parser.add_argument("--config", type=str, default=None, metavar="FILE.yaml", help="settings of the fits")
    parser.add_argument(
        "--set", dest="overrides", nargs="+", type=str, default=None, metavar="key=value", help="e.g. order=6"
    )
    parser.add_argument(
        "--ensemble", type=int, default=None, metavar="N",
        help="the lines' errors by N refits of random halves of the voxels (default: by the curvature)",
    )  # fmt: skip
    parser.add_argument("--starts", type=int, default=None, help=f"of the retrieval (default: {STARTS})")
    add_device_argument(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the retrieval's starts and the held-out voxels")
    add_json_argument(parser)
    add_progress_argument(parser)
    parser.add_argument("--output", type=str, default=None, metavar="OBJECT.h5", help="the refined densities")
    parser.add_argument(
        "--overwrite", action=ActionYesNo(no_prefix="no-"), default=False, help="replace an existing output"
    )


def _refine(arguments: Namespace) -> None:
    from cdi.config import read_config
    from cdi.interruption import stop_at_interrupt
    from cdi.refinement.config import RefinementConfig
    from cdi.whole_file import check_output, whole_file
    from data.stack_arguments import told_warnings
    from models.checkpoint import resolve
    from training.measured_crystal import read_crystal

    _check_arguments(arguments)
    chosen_device(arguments)
    if "network" in arguments.start:
        resolve(arguments.model or "default")
    if arguments.output is not None:
        check_output(arguments.output, overwrite=arguments.overwrite)
    overrides = list(arguments.overrides or [])
    if arguments.ensemble is not None:
        overrides.append(f"ensemble={arguments.ensemble}")
    config = read_config(RefinementConfig, arguments.config, overrides)
    with told_warnings() as warnings:
        crystal = read_crystal(arguments.files, question(arguments))
    with stop_at_interrupt() as stop:
        crystal, found = _refined(crystal, arguments, config, stop)
    told = {**_to_json(found, crystal), "warnings": warnings}
    written = []
    if arguments.output is not None:
        from training.refinement_file import write_refinement

        with whole_file(arguments.output, overwrite=arguments.overwrite) as temporary:
            write_refinement(temporary, found, crystal, config, told)
        written = [f"written      {arguments.output}"]
    from training.refinement_text import report

    tell(arguments, told, [*report(told), *written])
    if not found.whole:
        raise KeyboardInterrupt(
            "what was fitted is told, further hypotheses were not asked; the same command asks them"
        )


def _refined(
    crystal: "MeasuredCrystal", arguments: Namespace, config: "RefinementConfig", stop: Callable[[], bool]
) -> "tuple[MeasuredCrystal, Refinement]":
    """The crystal as the starts have it, and what was made of them."""
    import torch

    from cdi.refinement.refinement import refine as refine_crystal
    from training.refinement_starts import lattice_windings

    crystal, starts = _starts(crystal, arguments, config.free_fraction, stop)
    if stop():
        raise KeyboardInterrupt
    with staged_bar("refining", "fit", shown=arguments.progress) as begin:
        found = refine_crystal(
            crystal.exposures, starts, config, generator=torch.Generator().manual_seed(arguments.seed),
            windings=lattice_windings(crystal.known), voxel=_voxel(crystal), begin=begin, stop=stop,
            device=chosen_device(arguments),
        )  # fmt: skip
    return crystal, found


def _check_arguments(arguments: Namespace) -> None:
    """Raise ``ValueError`` for starts that cannot be together, and for what these starts would ignore."""
    start = arguments.start
    if len(start) > 1 and set(start) - {"network", "retrieval"}:
        raise ValueError(f"--from must be a file alone, or network and retrieval, got {' '.join(start)}")
    if len(set(start)) < len(start):
        raise ValueError(f"--from must name each start once, got {' '.join(start)}")
    for name, asked in (("model", "network"), ("starts", "retrieval")):
        value = getattr(arguments, name)
        if value is not None and asked not in start:
            raise ValueError(
                f"--{name} must come with --from {asked}, got --from {' '.join(start)}: nothing asks for it"
            )
    if arguments.starts is not None and arguments.starts < 1:
        raise ValueError(f"--starts must be at least 1, got {arguments.starts}")
    if arguments.overwrite and arguments.output is None:
        raise ValueError("--overwrite must come with --output, got none: nothing is written")


def _starts(
    crystal: "MeasuredCrystal", arguments: Namespace, free_fraction: float, stop: Callable[[], bool]
) -> "tuple[MeasuredCrystal, list[StartObject]]":
    """The crystal as the starts have it, and the starts."""
    from cdi.retrieval.framing import framed
    from models.preprocess import fit_set
    from training.refinement_starts import file_start, network_starts, retrieval_starts

    if not set(arguments.start) <= {"network", "retrieval"}:
        exposures, starts = file_start(arguments.start[0], crystal.exposures)
        return replace(crystal, exposures=exposures), starts
    found: list[StartObject] = []
    if "network" in arguments.start:
        from models.predictor import Predictor

        predictor = Predictor.load(arguments.model or "default", chosen_device(arguments))
        (prediction,) = predictor.predict_crystals([crystal.exposures], [crystal.known])
        exposures = fit_set(crystal.exposures, predictor.shape)
        device = chosen_device(arguments)
        found += network_starts(prediction, exposures, arguments.seed, free_fraction, device=device)
    elif len(crystal.exposures) == 1:
        exposures = (framed(crystal.exposures[0]),)
    else:
        x, y, z = framed(crystal.exposures[0]).counts.shape
        exposures = fit_set(crystal.exposures, (x, y, z))
    if "retrieval" in arguments.start:
        with progress_bar(0, "it", "retrieving", shown=arguments.progress) as bar:

            def report(count: int, total: int) -> None:
                bar.total = total
                bar.update(count)

            found += retrieval_starts(
                exposures, arguments.starts or STARTS, arguments.seed, free_fraction,
                device=chosen_device(arguments), report=report, stop=stop,
            )  # fmt: skip
    return replace(crystal, exposures=exposures), found


def _voxel(crystal: "MeasuredCrystal") -> "NDArray[np.float64] | None":
    grid = crystal.exposures[0].grid
    return None if grid is None else grid.voxel


def _to_json(found: "Refinement", crystal: "MeasuredCrystal") -> dict[str, Any]:
    """The stable object, with the Burgers vectors that each line may have and what it was made of."""
    from cdi.refinement.report import to_json
    from training.refinement_faces import name_faces
    from training.refinement_starts import burgers_of

    known = crystal.known
    told = to_json(found, _voxel(crystal))
    if told["outline"] is not None:
        name_faces(told["outline"]["faces"], crystal)
    for line, refined in zip(told["lines"], found.lines, strict=True):
        line["burgers_candidates"] = [list(b) for b in burgers_of(refined.windings, known)]
    return {
        **told,
        "patterns": list(crystal.names),
        "reflections": None if known is None else [list(hkl) for hkl in known.reflections],
        "lattice": None if known is None else known.lattice.formula,
    }


refine = Command(
    "refine",
    "fit a crystal to its patterns, and say which hypotheses they reject: no dislocation, one less, another g·b",
    _add_arguments,
    _refine,
    "nothing was fitted yet; fewer --starts begin sooner",
)
