"""Answers as JSON lines: one file for each life of a worker, so that a killed one spoils nothing."""

import errno
import json
import os
from pathlib import Path
from typing import Any


def answers_name(worker: int, incarnation: int) -> str:
    """File name of the answers of the ``incarnation``-th life of ``worker``."""
    return f"results-{worker}.{incarnation}.jsonl"


class WholeLines:
    """Appends lines to ``path``; each is whole or not there. What a kill cut of an earlier writer is taken away."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        self.size = 0
        if os.fstat(self._file.fileno()).st_size:
            self._file.seek(0)
            self.size = self._file.read().rfind(b"\n") + 1
            self._file.truncate(self.size)

    def append(self, lines: bytes) -> None:
        """Append ``lines``, all of them.

        Raises
        ------
        OSError
            If the disk does not take them; none is there then.
        """
        if self._file.write(lines) != len(lines):  # a disk that fills up takes a part
            self._file.truncate(self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += len(lines)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class AnswersFile:
    """The answers of one life of a worker, at ``path``."""

    def __init__(self, path: Path) -> None:
        self._lines = WholeLines(path)

    def write(self, record: dict[str, Any]) -> None:
        """Append one answer.

        Raises
        ------
        OSError
            If the disk does not take it.
        """
        self._lines.append(json.dumps(record, allow_nan=False).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
