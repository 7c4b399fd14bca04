"""A command that somebody at the page proposes, on the way that those of rules take.

It is left in the box of one of the run's rings, where the simulation rank finds it at its next step. All ranks then
agree on it as on any other: bounds, veto and log are those of the run, and the page has no say of its own.
"""

import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdi.config import read_config
from cdi.errors import RunError
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.processes import runs
from inference_insitu.ring.region import PREFIX, SHARED_MEMORY, Region
from inference_insitu.steering.commands import Command, Commands, CommandSpec
from inference_insitu.steering.encoding import encode

ORIGIN = "live view"
CONFIG = "coupling.yaml"
SPECS = ("worker-*.json", "job/worker.json")
"""Files that name the rings of a run, and what may be asked of it."""
MOST_SPECS = 10_000


@dataclass(frozen=True)
class Desk:
    """What may be proposed, and ``closed``: why nothing can be now, or nothing where it can."""

    commands: Commands | None
    closed: str

    def to_json(self) -> dict[str, Any]:
        """Commands with their bounds, for the page's form."""
        return {
            "closed": self.closed,
            "commands": [
                {
                    "name": spec.name,
                    "takes_value": spec.takes_value,
                    "minimum": spec.minimum,
                    "maximum": spec.maximum,
                    "unit": spec.unit,
                    "integer": spec.integer,
                    "bounds": str(spec),
                }
                for spec in self.commands or ()
                if _is_bounded(spec)
            ],
        }


def desk(folder: Path) -> Desk:
    """What may be proposed to the run in ``folder``; never an error."""
    try:
        specs = list(_specs(folder))
        if not specs:
            return Desk(None, "the run has said nothing of its rings yet")
        config = read_config(CouplingConfig, folder / CONFIG)
        commands = Commands(specs[0].commands, config.steering.bounds)
    except (ValueError, OSError) as error:
        return Desk(None, f"what may be asked of the run does not read: {' '.join(str(error).split())[:200]}")
    if config.steering.replay is not None:
        return Desk(commands, "the run replays a log, and takes no other command")
    return Desk(commands, "" if _ring(specs) is not None else _why_none(specs))


def propose(folder: Path, name: str, value: float | None, *, step: int) -> Command:
    """Leave the command ``name`` in a ring of the run in ``folder``; what the steering log will call it.

    Parameters
    ----------
    step : the newest step that the page has seen.

    Raises
    ------
    ValueError
        If it is no command of the run, or out of its bounds.
    RunError
        If no ring of the run can be reached from here, or its box is full.
    """
    desk_now = desk(folder)
    if desk_now.closed or desk_now.commands is None:
        raise RunError(desk_now.closed)
    # Asked for once: were it found twice, by a worker that starts anew, the second one would be refused.
    command = Command(name, value, max(step, 0), f"{ORIGIN} {secrets.token_hex(4)}", once=True)
    reason = desk_now.commands.refusal(command)
    if reason:
        raise ValueError(reason)
    region = _ring(list(_specs(folder)))
    if region is None:
        raise RunError("the run has just ended")
    if not region.leave(encode(command)):
        raise RunError("the run has not taken the commands before this one yet (does it call poll_steering?)")
    return command


def _specs(folder: Path) -> Iterator[WorkerSpec]:
    paths = [path for pattern in SPECS for path in sorted(folder.glob(pattern))]
    for path in paths[:MOST_SPECS]:
        yield WorkerSpec.read(path)


def _ring(specs: list[WorkerSpec]) -> Region | None:
    """The first ring of a simulation rank that goes on."""
    for path in _paths(specs):
        try:
            region = Region.open(path)
        except (OSError, ValueError):
            continue
        words = region.words
        if words[Word.PRODUCER_STATE] == Side.READY and runs(words[Word.OWNER_PID], words[Word.OWNER_STARTED]):
            return region
    return None


def _paths(specs: list[WorkerSpec]) -> Iterator[Path]:
    """Rings that ``specs`` name, which are a run's own files and may be anybody's: nothing else is opened."""
    for spec in specs:
        for text in spec.regions:
            path = Path(text)
            if path.parent == SHARED_MEMORY and path.name.startswith(PREFIX):
                yield path


def _is_bounded(spec: CommandSpec) -> bool:
    """Whether it can be asked for at all: a number without bounds is refused."""
    return not any(bound is not None and math.isinf(bound) for bound in (spec.minimum, spec.maximum))


def _why_none(specs: list[WorkerSpec]) -> str:
    if any(path.exists() for path in _paths(specs)):
        return "the run is ending, or its simulation has died"
    return "no ring of the run is on this machine: it has ended, or runs on other nodes (start the view on one of them)"
