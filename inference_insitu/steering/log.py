"""What was asked, refused, vetoed and done, line by line as JSON, whole lines only."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from inference_insitu.steering.commands import Command, CommandSpec
from inference_insitu.steering.encoding import Outcome

VERSION = 1

Event = Literal["proposed"] | Outcome


@dataclass(frozen=True)
class Entry:
    """What became of ``command`` of ``rank`` at ``step``; ``reason`` where it was not applied."""

    event: Event
    step: int
    command: Command
    rank: int
    reason: str = ""

    def fields(self) -> dict[str, Any]:
        """The entry as it stands in the log."""
        command = self.command
        return {
            "event": self.event,
            "step": self.step,
            "name": command.name,
            "value": command.value,
            "step_proposed": command.step_proposed,
            "origin": command.origin,
            "once": command.once,
            "rank": self.rank,
            "reason": self.reason,
        }


class Log(Protocol):
    """Where entries go."""

    def write(self, entry: Entry) -> None:
        """Keep ``entry``.

        Raises
        ------
        OSError
            If it cannot be kept; then nothing of it is.
        """

    def close(self, step: int) -> None:
        """The run ended after ``step``."""


class NoLog:
    """The log of ranks that keep none."""

    def write(self, entry: Entry) -> None:
        """Nothing."""

    def close(self, step: int) -> None:
        """Nothing."""


class SteeringLog:
    """``steering.jsonl``, written by rank 0. A line is in the file when ``write`` returns, or nothing of it is.

    Parameters
    ----------
    path : must not exist.
    commands : the bounds of this run, kept in the first line for the reader.

    Raises
    ------
    OSError
        If the file exists or cannot be written.
    """

    def __init__(self, path: str | Path, commands: Iterable[CommandSpec] = ()) -> None:
        # Unbuffered: a buffer would write a line late that was reported as failed.
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._size_bytes = 0
        self._path = Path(path)
        bounds = {spec.name: str(spec) for spec in commands}
        try:
            self._append({"event": "opened", "version": VERSION, "commands": bounds})
        except OSError:
            self._abandon()
            raise

    def write(self, entry: Entry) -> None:
        """``entry`` as one line."""
        self._append(entry.fields())

    def close(self, step: int) -> None:
        """A last line, and the end of the file."""
        if self._file is None:
            return
        try:
            self._append({"event": "closed", "step": step})
        finally:
            self._abandon()

    def _append(self, fields: dict[str, Any]) -> None:
        if self._file is None:
            raise OSError(f"{self._path} is closed")
        stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds")} | fields
        line = (json.dumps(stamped, allow_nan=False, ensure_ascii=False) + "\n").encode()
        written = 0
        try:
            written = os.write(self._file, line)
        finally:
            if written != len(line):
                self._cut()
        if written != len(line):
            raise OSError(f"{self._path} took {written} of {len(line)} bytes")
        self._size_bytes += written

    def _cut(self) -> None:
        """Back to the last whole line; a log that cannot be cut is written no more."""
        assert self._file is not None
        try:
            os.ftruncate(self._file, self._size_bytes)
            os.lseek(self._file, self._size_bytes, os.SEEK_SET)
        except OSError:
            self._abandon()

    def _abandon(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
