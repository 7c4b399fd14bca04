"""The command ``insitu``: runs LAMMPS beside inference, and looks at any coupled run.

Free of torch and MPI at the top.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, json_text, tell
from cdi.config import read_config
from cdi.errors import MissingDependencyError, RunError, optional_import
from cdi.help_examples import add_examples
from cdi.launched import INTERRUPTED, available_cores, launched_rank, launched_size, share_cores
from inference_insitu.lammps.config import InsituConfig

MOST_SIMULATION_RANKS = 3
"""Of the default: the examples' crystals are too small to gain from more."""
OUTPUT = "runs/insitu"
SERVE_TIMEOUT_S = 300.0
LAST_PORT = 65535


EXAMPLES = """
cdi insitu run load.steps=600 --config examples/insitu-quick.yaml --output runs/quick     # ten seconds, to see
mpiexec -n 4 cdi insitu run --config examples/insitu.yaml --output runs/insitu
cdi insitu watch runs/insitu                   # in the terminal; view: in a browser
cdi insitu watch runs/insitu --once --json     # how it stands now, for programs
cdi insitu books runs/insitu --json            # exit code 1 where a frame is not accounted for
cdi insitu serve runs/job                      # infer for a run of placement.kind=job
cdi insitu transit runs/yours engine=spark     # keep its stream log and engine; then, from anywhere:
cdi insitu migrate runs/yours in_transit
cdi insitu learn runs/yours frozen=data/frozen # fine-tune the model beside the run
cdi insitu workers runs/yours 3                # of placement.scaling: as many workers on each node, or rule
"""


def _add_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, EXAMPLES)
    parser.add_argument(
        "arguments",
        nargs="*",
        type=str,
        metavar="run | watch | view | report | books | serve | transit | migrate | workers | learn | take-over",
        help=(
            "run key=value …: LAMMPS beside the inference (the default action), with overrides of the configuration, "
            "e.g. load.steps=500 crystal.radius_A=40; watch FOLDER: how a run stands, live, in the terminal; view "
            "FOLDER: the same in a browser, with the pattern and the predicted lines in 3D, every step so far, and "
            "commands to the run; report FOLDER: its report.html; "
            "books FOLDER: what became of every frame, and whether the account is whole; "
            "serve FOLDER: infer, as a job of its own, for a run of placement.kind=job; "
            "transit FOLDER key=value …: keep the run's stream log and stream engine, e.g. engine=spark; "
            "migrate FOLDER in_transit: have its frames answered by the engine from some step on, or in_situ again; "
            "workers FOLDER 3: have so many workers of placement.scaling share the rings of each node, or as many as "
            "its rule says; "
            "learn FOLDER key=value …: fine-tune the model beside the run on frames whose truth is known, and let a "
            "version that is better take over; "
            "take-over FOLDER defects 2: have that version answer from some step on, 0 being the configured one"
        ),
    )
    parser.add_argument("--config", type=str, default=None, help="run: YAML configuration (examples/insitu.yaml)")
    parser.add_argument("--output", type=str, default=None, help=f"run: folder of the run (default: {OUTPUT})")
    parser.add_argument(
        "--ranks",
        type=int,
        default=None,
        help="run: ranks to start (default: one per core for the simulation, at most 3, and those of the inference)",
    )
    parser.add_argument(
        "--dxa",
        action=ActionYesNo(no_prefix="no-"),
        default=None,
        help="run: dislocation analysis of the coupled steps after the run",
    )
    parser.add_argument("--overwrite", action="store_true", help="run: replace an earlier run in the folder")
    parser.add_argument("--once", action="store_true", help="watch: show what is there now, and return")
    parser.add_argument("--port", type=int, default=None, help="view: port on 127.0.0.1 (default: any free one)")
    add_json_argument(parser)
    parser.add_argument(
        "--timeout-s",
        type=float,
        default=None,
        help=(
            "serve, migrate, workers, take-over: how long the simulation may be away, or the change take "
            f"(default: {SERVE_TIMEOUT_S:g})"
        ),
    )


@dataclass(frozen=True)
class _Action:
    """What the first word asks for, and the options that belong to it."""

    do: Callable[[Namespace, list[str]], None]
    options: tuple[str, ...]


def _run(arguments: Namespace) -> None:
    name, words = _split(list(arguments.arguments))
    action = _ACTIONS[name]
    for option in ("config", "output", "ranks", "dxa", "overwrite", "once", "port", "json", "timeout_s"):
        if option not in action.options and arguments[option] not in (None, False):
            raise ValueError(f"--{option.replace('_', '-')} is no option of cdi insitu {name}")
    action.do(arguments, words)


def _split(given: list[str]) -> tuple[str, list[str]]:
    """Action and what follows it; ``run`` may be left out."""
    if given and "=" not in given[0]:
        if given[0] not in _ACTIONS:
            raise ValueError(f"the action must be one of {', '.join(_ACTIONS)}, got {given[0]!r}")
        return given[0], given[1:]
    return "run", given


def _simulate(arguments: Namespace, overrides: list[str]) -> None:
    launched = launched_size()
    if launched is None:
        _launch(arguments, overrides)
    else:
        _take_part(arguments, overrides, launched)


def _launch(arguments: Namespace, overrides: list[str]) -> None:
    """Check what can be checked here, then start the ranks and leave with their exit code."""
    from inference_insitu.lammps.checks import check
    from inference_insitu.lammps.coupled import ranks_given_up
    from inference_insitu.placement.launcher import launch

    config = _config(arguments, overrides)
    default = min(MOST_SIMULATION_RANKS, available_cores()) + ranks_given_up(config)
    ranks = default if arguments.ranks is None else arguments.ranks
    check(config, _output(arguments), ranks, overwrite=arguments.overwrite)
    code = launch(ranks, ["insitu", "run", *overrides, *_options(arguments)])
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise SystemExit(code)


def _take_part(arguments: Namespace, overrides: list[str], launched: int) -> None:
    """Be one of the ranks that a launcher started."""
    share_cores()
    try:
        mpi = optional_import("mpi4py.MPI", group="mpi", purpose="a coupled run")
    except MissingDependencyError:
        if launched_rank() == 0:
            raise
        raise SystemExit(2) from None
    from inference_insitu.lammps.session import Session, run_rank

    def build() -> Session:
        if arguments.ranks not in (None, launched):
            raise ValueError(f"ranks must be what the launcher started, {launched}, got --ranks {arguments.ranks}")
        return Session(_config(arguments, overrides), _output(arguments), arguments.overwrite)

    run_rank(build, mpi.COMM_WORLD)


def _config(arguments: Namespace, overrides: list[str]) -> InsituConfig:
    switch = [] if arguments.dxa is None else [f"truth.dxa={str(arguments.dxa).lower()}"]
    return read_config(InsituConfig, arguments.config, overrides + switch)


def _output(arguments: Namespace) -> Path:
    return Path(arguments.output or OUTPUT)


def _options(arguments: Namespace) -> list[str]:
    """The options to hand on to the ranks."""
    options = ["--output", str(_output(arguments))]
    if arguments.config is not None:
        options += ["--config", arguments.config]
    if arguments.dxa is not None:
        options.append("--dxa" if arguments.dxa else "--no-dxa")
    return options + (["--overwrite"] if arguments.overwrite else [])


def _folder(name: str, words: list[str]) -> Path:
    if len(words) != 1:
        raise ValueError(f"cdi insitu {name} must be given one folder, got {' '.join(words) or 'none'}")
    return Path(words[0])


def _watch(arguments: Namespace, words: list[str]) -> None:
    from inference_insitu.watching.live import watch

    folder = _folder("watch", words)
    if not arguments.json:
        watch(folder, once=arguments.once)
        return
    if not arguments.once:
        raise ValueError("--json must come with --once: a view that goes on is no object")
    from inference_insitu.watching.page.followed_run import FollowedRun
    from inference_insitu.watching.page.snapshot import plain, snapshot

    run = FollowedRun(folder)
    run.refresh()
    print(json_text(plain(snapshot(run))), flush=True)


def _view(arguments: Namespace, words: list[str]) -> None:
    """Serve the page; where it cannot be, show the terminal view and say so."""
    folder, port = _folder("view", words), arguments.port or 0
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder must be the folder of a run, got the file {folder}")
    if not 0 <= port <= LAST_PORT:
        raise ValueError(f"port must lie in [0, {LAST_PORT}], got {port}")
    try:
        optional_import("aiohttp", group="view", purpose="the view in a browser")
    except MissingDependencyError as error:
        from inference_insitu.watching.live import watch

        print(f"cdi: {error}; here is the view for the terminal", file=sys.stderr, flush=True)
        watch(folder)
        return
    from inference_insitu.watching.page.server import serve

    serve(folder, port)


def _report(arguments: Namespace, words: list[str]) -> None:
    from inference_insitu.watching.report import write_report

    page = write_report(_folder("report", words))
    tell(arguments, {"report": page}, [str(page)])


def _books(arguments: Namespace, words: list[str]) -> None:
    """Print the account of a run; exit code 1 where it is not whole."""
    from inference_insitu.watching.account import account, described

    found = account(_folder("books", words))
    tell(arguments, found, [described(found)])
    problems: list[Any] = found["problems"]
    if problems:
        raise RunError("the books do not balance: " + "; ".join(problems))


def _serve(arguments: Namespace, words: list[str]) -> None:
    from inference_insitu.placement.job import serve_job

    timeout_s = SERVE_TIMEOUT_S if arguments.timeout_s is None else arguments.timeout_s
    serve_job(_folder("serve", words), timeout_s=timeout_s)


def _transit(arguments: Namespace, words: list[str]) -> None:
    from inference_insitu.transit.migration.serving import Serving, TransitConfig

    config = read_config(TransitConfig, arguments.config, words[1:])
    # Log and engine have sessions of their own: a batch system's SIGTERM is to reach them too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    Serving(_folder("transit", words[:1]), config, _tell).serve()


def _migrate(arguments: Namespace, words: list[str]) -> None:
    from inference_insitu.transit.migration.request import migrate

    if len(words) != 2:
        raise ValueError(f"cdi insitu migrate must be given a folder and a site, got {' '.join(words) or 'nothing'}")
    timeout_s = SERVE_TIMEOUT_S if arguments.timeout_s is None else arguments.timeout_s
    ended = migrate(Path(words[0]), words[1], timeout_s=timeout_s, say=_tell)
    told = {"step": ended.cut, "to": str(ended.to)}
    tell(arguments, told, [f"from step {ended.cut} on, frames are answered {ended.to}"])


def _workers(arguments: Namespace, words: list[str]) -> None:
    from inference_insitu.sharing.wish import ask_for_workers

    if len(words) != 2:
        raise ValueError(
            f"cdi insitu workers must be given a folder and a number or rule, got {' '.join(words) or 'nothing'}"
        )
    timeout_s = SERVE_TIMEOUT_S if arguments.timeout_s is None else arguments.timeout_s
    nodes = ask_for_workers(Path(words[0]), words[1], timeout_s=timeout_s)
    lines = []
    for node in nodes:
        rings = ", ".join(f"worker {worker}: {count}" for worker, count in node.fields["rings"].items())
        lines.append(f"{node.who}: {node.fields['count']} workers share its rings ({rings})")
    told = {node.who: {"workers": node.fields["count"], "rings": node.fields["rings"]} for node in nodes}
    tell(arguments, told, lines)


def _learn(arguments: Namespace, words: list[str]) -> None:
    from inference_insitu.transit.learning.config import LearningConfig

    folder = _folder("learn", words[:1])
    config = read_config(LearningConfig, arguments.config, words[1:])
    # Before numpy and torch are there: they ask once how many threads they may take.
    os.environ.update(OMP_NUM_THREADS=str(config.threads), MKL_NUM_THREADS=str(config.threads))
    from inference_insitu.transit.learning.learner import Learner

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stop.set())
    Learner(folder, config, _tell).learn(stop)


def _take_over(arguments: Namespace, words: list[str]) -> None:
    from inference_insitu.transit.migration.request import take_over

    if len(words) != 3 or not words[2].isdecimal():
        got = " ".join(words) or "nothing"
        raise ValueError(f"cdi insitu take-over must be given a folder, an analysis and a number, got {got}")
    timeout_s = SERVE_TIMEOUT_S if arguments.timeout_s is None else arguments.timeout_s
    ended = take_over(Path(words[0]), words[1], int(words[2]), timeout_s=timeout_s, say=_tell)
    told = {"step": ended.cut, "analysis": ended.analysis, "version": ended.version}
    tell(arguments, told, [f"from step {ended.cut} on, version {ended.version} of {ended.analysis} answers"])


def _tell(line: str) -> None:
    print(f"cdi: {line}", file=sys.stderr, flush=True)


_ACTIONS = {
    "run": _Action(_simulate, ("config", "output", "ranks", "dxa", "overwrite")),
    "watch": _Action(_watch, ("once", "json")),
    "view": _Action(_view, ("port",)),
    "report": _Action(_report, ("json",)),
    "books": _Action(_books, ("json",)),
    "serve": _Action(_serve, ("timeout_s",)),
    "transit": _Action(_transit, ("config",)),
    "migrate": _Action(_migrate, ("json", "timeout_s")),
    "learn": _Action(_learn, ("config",)),
    "take-over": _Action(_take_over, ("json", "timeout_s")),
    "workers": _Action(_workers, ("json", "timeout_s")),
}

insitu = Command(
    "insitu",
    f"inference beside a running MPI simulation: {', '.join(_ACTIONS)}",
    _add_arguments,
    _run,
    "the folder keeps what was answered (cdi insitu books, report, view); a run begins anew with --overwrite",
)
