"""The processes of a way: started, waited for, and what they took of the machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import environment

from inference_insitu.placement.launcher import mpiexec

HERE = Path(__file__).parent
BLOCK = 512
"""Bytes of a block in a process' account."""


class Part:
    """A process and all that it starts and waits for."""

    def __init__(self, command: Sequence[object], folder: Path) -> None:
        self._said = folder / "said"
        words = [str(HERE / str(word)) if str(word).endswith(".py") else str(word) for word in command]
        self._began_s = time.monotonic()
        with self._said.open("ab") as said:
            self.process = subprocess.Popen(
                words, env=environment(HERE), stdout=said, stderr=said, start_new_session=True
            )
        self._usage: Any = None
        self.wall_s = 0.0

    @property
    def ended(self) -> bool:
        """Whether it has ended, and was waited for."""
        return self._usage is not None

    def wait(self) -> None:
        """Until it has ended.

        Raises
        ------
        RuntimeError
            If it failed.
        """
        if self._usage is None:
            _, status, self._usage = os.wait4(self.process.pid, 0)
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.wall_s = time.monotonic() - self._began_s
        if self.process.returncode:
            raise RuntimeError(f"a part has failed: {self._said.read_text()[-2000:]}")

    @property
    def cpu_s(self) -> float:
        """Seconds of processors."""
        return float(self._usage.ru_utime + self._usage.ru_stime)

    @property
    def written_bytes(self) -> int:
        """To disks."""
        return BLOCK * int(self._usage.ru_oublock)

    def clear(self) -> None:
        """End it, whatever has happened."""
        if self._usage is None:
            os.kill(self.process.pid, signal.SIGTERM)
            _, _, self._usage = os.wait4(self.process.pid, 0)
            self.process.returncode = -signal.SIGTERM


def mpi(ranks: int, program: str, folder: Path) -> Part:
    """``program`` on ``ranks`` ranks."""
    return Part([mpiexec(), "-n", ranks, sys.executable, "-m", "mpi4py", program, folder / "task.json"], folder)
