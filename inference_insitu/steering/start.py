"""Steering as a coupling starts it: agreed on by the ranks, or replayed from a log."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference_insitu.steering.agreement import Agreement, Steering
from inference_insitu.steering.collective import Collective
from inference_insitu.steering.commands import Commands, CommandSpec
from inference_insitu.steering.config import SteeringConfig
from inference_insitu.steering.encoding import encode
from inference_insitu.steering.log import SteeringLog
from inference_insitu.steering.referee import Referee, Veto
from inference_insitu.steering.replay import replay
from inference_insitu.steering.rules import Rules

LOG = "steering.jsonl"


def start_steering(
    config: SteeringConfig,
    collective: Collective,
    rank: int,
    output: Path,
    declared: Sequence[CommandSpec] = (),
    veto: Veto | None = None,
) -> Steering:
    """Steering of simulation rank ``rank``; rank 0 keeps ``steering.jsonl`` in ``output``.

    Raises
    ------
    ValueError
        If the bounds or rules do not fit what the simulation declares, or the log to be replayed is none.
    OSError
        If a log cannot be read or written.
    """
    commands = Commands(declared, config.bounds)
    Rules(config.rules, commands)
    log = SteeringLog(output / LOG, commands) if rank == 0 else None
    referee = Referee(commands, veto, log)
    if config.replay is not None:
        return replay(config.replay, commands, referee)
    return Agreement(collective, rank, referee, lag=config.lag, timeout_s=config.timeout_s)


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
