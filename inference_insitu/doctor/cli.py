"""The command ``doctor``. Free of torch and MPI: whatever needs them runs in a child."""

from collections.abc import Iterable

from jsonargparse import ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, json_text
from cdi.help_examples import add_examples
from inference_insitu.doctor.verdict import Level, Verdict

DEFAULT_TIMEOUT_S = 60.0
NAME_WIDTH = 19


EXAMPLES = """
cdi doctor                               # exit code 1 where a coupled run cannot start
cdi doctor --json > machine.json
cdi doctor --clean                       # remove what killed runs left in shared memory
"""


def _add_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, EXAMPLES)
    add_json_argument(parser)
    parser.add_argument("--clean", action="store_true", help="only remove what killed runs left in shared memory")
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT_S, help="most seconds that one trial may take")


def _run(arguments: Namespace) -> None:
    from cdi.launched import launched_rank
    from inference_insitu.doctor.examination import examine

    if not 0 < arguments.timeout < float("inf"):
        raise ValueError(f"timeout must be a positive number of seconds, got {arguments.timeout:g}")
    if launched_rank() > 0:
        return  # under a launcher one report is enough
    if arguments.get("clean"):
        _clean()
        return
    verdicts = examine(arguments.timeout)
    usable = _print_json(list(verdicts)) if arguments.json else _print_table(verdicts)
    if not usable:
        raise SystemExit(1)


def _clean() -> None:
    from inference_insitu.ring.stale import remove_stale

    removed = remove_stale()
    for stale in removed:
        spilled = "" if stale.spill_file is None else f", and {stale.spill_file}"
        print(f"removed {stale.path}, {stale.bytes / (1 << 20):.1f} MiB of process {stale.owner_pid}{spilled}")
    if not removed:
        print("nothing to remove: no killed run of yours left a ring in shared memory")


def _print_table(verdicts: Iterable[Verdict]) -> bool:
    """A line for each verdict as soon as it is there; whether a coupled run can start."""
    blocking: list[str] = []
    for verdict in verdicts:
        print(table_lines(verdict), flush=True)
        blocking += [verdict.name] if verdict.blocking else []
    if blocking:
        print(f"\na coupled run cannot start here: mend {', '.join(blocking)}")
    else:
        print("\na coupled run can start here")
    return not blocking


def table_lines(verdict: Verdict) -> str:
    """Level, name and finding in columns; below them what to do, where there is something to do."""
    line = f"{verdict.level.value:<8} {verdict.name:<{NAME_WIDTH}} {_one_line(verdict.finding)}"
    return line + (f"\n{'':8} {'':{NAME_WIDTH}} -> {_one_line(verdict.advice)}" if verdict.advice else "")


def _print_json(verdicts: list[Verdict]) -> bool:
    usable = not any(verdict.blocking for verdict in verdicts)
    counts = {level.value: sum(verdict.level is level for verdict in verdicts) for level in Level}
    print(json_text({"usable": usable, "counts": counts, "checks": [verdict.to_dict() for verdict in verdicts]}))
    return usable


def _one_line(text: str) -> str:
    return " ".join(text.split())


doctor = Command("doctor", "say what this machine can do for a coupled run", _add_arguments, _run)
