"""The command ``insitu``. Free of torch and MPI at the top."""

from pathlib import Path

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from cdi.command import Command
from cdi.config import read_config
from cdi.errors import MissingDependencyError, optional_import
from inference_insitu.config import InsituConfig

MOST_SIMULATION_RANKS = 3
"""Of the default: the examples' crystals are too small to gain from more."""
INTERRUPTED = 130


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "arguments",
        nargs="*",
        type=str,
        metavar="run | key=value",
        help="'run' (the default action) and overrides of the configuration, e.g. load.steps=500 crystal.radius_A=40",
    )
    parser.add_argument("--config", type=str, default=None, help="YAML configuration (examples/insitu.yaml)")
    parser.add_argument("--output", type=str, default="runs/insitu", help="folder of the run")
    parser.add_argument(
        "--ranks",
        type=int,
        default=None,
        help="ranks to start (default: one per core for the simulation, at most 3, and those of the inference)",
    )
    parser.add_argument(
        "--dxa",
        action=ActionYesNo(no_prefix="no-"),
        default=None,
        help="dislocation analysis of the coupled steps after the run",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in the folder")


def _run(arguments: Namespace) -> None:
    from inference_insitu.launcher import launched_size

    action, overrides = _split_arguments(list(arguments.arguments))
    launched = launched_size()
    if launched is None:
        _launch(arguments, action, overrides)
    else:
        _take_part(arguments, overrides, launched)


def _split_arguments(given: list[str]) -> tuple[str, list[str]]:
    """Action and ``key=value`` overrides; the action may be left out."""
    if given and "=" not in given[0]:
        if given[0] != "run":
            raise ValueError(f"the action must be run, got {given[0]!r}")
        return "run", given[1:]
    return "run", given


def _launch(arguments: Namespace, action: str, overrides: list[str]) -> None:
    """Check what can be checked here, then start the ranks and leave with their exit code."""
    from inference_insitu.checks import check
    from inference_insitu.launcher import available_cores, launch

    config = _config(arguments, overrides)
    default = min(MOST_SIMULATION_RANKS, available_cores()) + config.inference.ranks
    ranks = default if arguments.ranks is None else arguments.ranks
    check(config, Path(arguments.output), ranks, overwrite=arguments.overwrite)
    code = launch(ranks, ["insitu", action, *overrides, *_options(arguments)])
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise SystemExit(code)


def _take_part(arguments: Namespace, overrides: list[str], launched: int) -> None:
    """Be one of the ranks that a launcher started."""
    from inference_insitu.launcher import launched_rank, share_cores

    share_cores()
    try:
        optional_import("mpi4py.MPI", group="mpi", purpose="a coupled run")
    except MissingDependencyError:
        if launched_rank() == 0:
            raise
        raise SystemExit(2) from None
    from inference_insitu import mpi
    from inference_insitu.session import Session, load_predictor, run_rank

    def build() -> Session:
        if arguments.ranks not in (None, launched):
            raise ValueError(f"ranks must be what the launcher started, {launched}, got --ranks {arguments.ranks}")
        return Session(_config(arguments, overrides), Path(arguments.output), arguments.overwrite, load_predictor)

    run_rank(build, mpi.world())


def _config(arguments: Namespace, overrides: list[str]) -> InsituConfig:
    switch = [] if arguments.dxa is None else [f"truth.dxa={str(arguments.dxa).lower()}"]
    return read_config(InsituConfig, arguments.config, overrides + switch)


def _options(arguments: Namespace) -> list[str]:
    """The options to hand on to the ranks."""
    options = ["--output", arguments.output]
    if arguments.config is not None:
        options += ["--config", arguments.config]
    if arguments.dxa is not None:
        options.append("--dxa" if arguments.dxa else "--no-dxa")
    return options + (["--overwrite"] if arguments.overwrite else [])


insitu = Command("insitu", "predict beside a running MPI simulation (LAMMPS)", _add_arguments, _run)
