"""A replay as a coupling begins one, of a log's path."""

from pathlib import Path

from inference_insitu.steering.commands import Commands
from inference_insitu.steering.referee import Referee
from inference_insitu.steering.replay import Replay, read_applied


def replay(
    path: str | Path, commands: Commands | None = None, referee: Referee | None = None, told: list[str] | None = None
) -> Replay:
    """The steering of the log at ``path``; ``told`` takes what it says."""
    tell = ([] if told is None else told).append
    return Replay(read_applied(Path(path).read_bytes(), str(path), commands, tell), str(path), referee, tell)
