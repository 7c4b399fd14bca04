"""Steering as a coupling starts it: agreed on by the ranks, or replayed from a log."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from inference_insitu.steering.agreement import Agreement, Steering
from inference_insitu.steering.collective import Collective
from inference_insitu.steering.commands import Commands, CommandSpec
from inference_insitu.steering.config import SteeringConfig
from inference_insitu.steering.encoding import encode
from inference_insitu.steering.log import Entry, SteeringLog
from inference_insitu.steering.referee import Referee, Veto
from inference_insitu.steering.replay import Replay, read_applied
from inference_insitu.steering.rules import Rules
from inference_insitu.watching.events import EventLog

LOG = "steering.jsonl"


def start_steering(
    config: SteeringConfig,
    collective: Collective,
    rank: int,
    output: Path,
    events: EventLog,
    declared: Sequence[CommandSpec] = (),
    veto: Veto | None = None,
) -> Steering:
    """Steering of simulation rank ``rank``; rank 0 keeps ``steering.jsonl`` in ``output``.

    ``events`` of another rank take what no other one hears of: proposals for which this rank has no room, or that wait
    still when it fails.

    Raises
    ------
    ValueError
        If the bounds or rules do not fit what the simulation declares, or the log to be replayed is none.
    OSError
        If a log cannot be read or written.
    """
    commands = Commands(declared, config.bounds)
    Rules(config.rules, commands)

    def tell(line: str) -> None:
        if rank == 0:  # every rank reads the same log
            events.log("steering_replay", line=line)
            print(f"cdi: {line}", file=sys.stderr, flush=True)

    # Before there is a log of this run: one that cannot be begun leaves nothing behind.
    source = "" if config.replay is None else str(config.replay)
    applied = read_applied(Path(source).read_bytes(), source, commands, tell) if source else []
    referee = Referee(commands, veto, SteeringLog(output / LOG, commands) if rank == 0 else None)
    if source:
        return Replay(applied, source, referee, tell)
    unheard = None if rank == 0 else partial(_keep_unheard, events)
    return Agreement(collective, rank, referee, lag=config.lag, timeout_s=config.timeout_s, unheard=unheard)


def _keep_unheard(events: EventLog, entry: Entry) -> None:
    fields = entry.fields()
    events.log(f"steering_{fields.pop('event')}", **fields)


def proposer(
    config: SteeringConfig, declared: Sequence[CommandSpec], report: Callable[[str], None]
) -> Callable[[str, str, int, int, Mapping[str, Any]], list[bytes]]:
    """A function from an answer (stream, analysis, rank, step, values) to the encoded commands that rules propose."""
    if not config.rules or config.replay is not None:
        return lambda stream, analysis, rank, step, values: []
    rules = Rules(config.rules, Commands(declared, config.bounds), report)

    def propose(stream: str, analysis: str, rank: int, step: int, values: Mapping[str, Any]) -> list[bytes]:
        fired = rules.consider(values, stream=stream, analysis=analysis, step=step, rank=rank)
        return [encode(command) for command in fired]

    return propose
