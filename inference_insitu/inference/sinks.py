"""Answers as JSON lines: one file for each life of a worker, so that a killed one spoils nothing."""

import errno
import json
import os
from pathlib import Path
from typing import Any


def answers_name(worker: int, incarnation: int) -> str:
    """File name of the answers of the ``incarnation``-th life of ``worker``."""
    return f"results-{worker}.{incarnation}.jsonl"


class AnswersFile:
    """Appends lines to ``path``; each is whole or not there."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, record: dict[str, Any]) -> None:
        """Append one answer.

        Raises
        ------
        OSError
            If the disk does not take it.
        """
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        if self._file.write(line) != len(line):  # a disk that fills up takes a part
            self._file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
