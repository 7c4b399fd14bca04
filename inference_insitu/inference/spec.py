"""What a worker process is told: a small JSON file, so that nothing but paths crosses the process boundary."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from inference_insitu.steering.commands import CommandSpec

UNUSABLE = 3
"""Exit code of a worker that can never be ready: a model that is not there, options that do not fit."""
LEFT = 4
"""Exit code of a worker that has no ring to read any more, while others have."""


@dataclass(frozen=True)
class WorkerSpec:
    """Worker number ``worker`` serves the rings at ``regions`` as ``config`` says, and writes to ``output``.

    ``commands`` are what the simulation lets itself be told beside the usual. It is one of ``workers`` of the run that
    is called ``run``.
    """

    worker: int
    regions: tuple[str, ...]
    config: str
    output: str
    commands: tuple[CommandSpec, ...] = ()
    run: str = ""
    workers: int = 1

    def write(self, path: Path) -> None:
        """Keep it at ``path``."""
        path.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> "WorkerSpec":
        """What ``write`` kept.

        Raises
        ------
        ValueError
            If it is no such file.
        """
        try:
            values = json.loads(path.read_text())
            commands = tuple(CommandSpec(**one) for one in values["commands"])
            return cls(
                int(values["worker"]),
                tuple(map(str, values["regions"])),
                values["config"],
                values["output"],
                commands,
                str(values["run"]),
                int(values["workers"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} must be the description of a worker, got: {error}") from error
