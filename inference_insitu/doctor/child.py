"""Child processes with a bounded life: run, read, and killed with their whole process group.

Output goes to files, not pipes: a grandchild that outlives the child keeps a pipe open, and a reader waiting.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdi.launched import environment_without_launcher
from inference_insitu.doctor.reporting import LIMIT_VARIABLE, remove_segments, reports

GRACE_S = 1.0
"""Between asking a launcher to end its ranks and killing it."""
ORPHAN_S = 2.0
"""How long a probe that the kill missed lives on."""
TAIL_CHARACTERS = 100_000

_SIGNALLED = re.compile(r"\bsignal (\d+)\b")
"""Launchers end with codes of their own making, and tell of a rank's signal in words."""
_BANNER = re.compile(r"^[ \t]*[-=]{10,}[ \t]*$", re.MULTILINE)

POLITE_LAUNCH = {
    # Open MPI 5 and 4: a probe asks whether MPI works, not whether the machine has two cores.
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}


@dataclass(frozen=True)
class Outcome:
    """How a child ended: ``code`` is None where it had to be killed after ``bound_s`` seconds."""

    code: int | None
    stdout: str
    stderr: str
    bound_s: float = 0.0

    @property
    def hung(self) -> bool:
        """Whether the bound ran out."""
        return self.code is None

    @property
    def reports(self) -> list[dict[str, Any]]:
        """What the probe's processes reported."""
        return reports(self.stdout)

    @property
    def ending(self) -> str:
        """How it ended, in words; with a failure goes what stderr tells."""
        if self.code is None:
            return f"no answer within {self.bound_s:g} s"
        told = _SIGNALLED.search(self.stdout + self.stderr) if self.code > 0 else None
        if told and (name := _signal_name(int(told[1]))):
            return f"a rank killed by {name}"
        name = _signal_name(-self.code if self.code < 0 else self.code - 128)
        how = f"killed by {name}" if name else f"exit code {self.code}"
        said = self.complaint
        return f"{how}: {said}" if said and self.code else how

    @property
    def complaint(self) -> str:
        """The line of stderr that tells most, at most 160 characters.

        The last before a launcher's banner, the first within one where nothing stands before it.
        """
        before, *after = ([line.strip(" \t=") for line in block.split("\n")] for block in _BANNER.split(self.stderr))
        own = [line for line in before if line]
        launchers = [line for block in after for line in block if line]
        return (own[-1] if own else launchers[0] if launchers else "")[:160]


class Child:
    """A started process; leaving the ``with`` block kills what is left of its group."""

    def __init__(self, command: Sequence[str], *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._started_s = time.monotonic()
        with contextlib.ExitStack() as files:
            self._out = files.enter_context(tempfile.TemporaryFile())
            self._err = files.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                list(command),
                env=child_environment() | {LIMIT_VARIABLE: str(timeout_s + ORPHAN_S)},
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                start_new_session=True,
            )
            self._files = files.pop_all()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        remove_segments(reports(_text(self._out.fileno())))
        self._files.close()

    def outcome(self) -> Outcome:
        """Wait for the end, at most until the bound; kill after that."""
        left_s = self._started_s + self.timeout_s - time.monotonic()
        try:
            code: int | None = self._process.wait(max(0.0, left_s))
        except subprocess.TimeoutExpired:
            code = None
        self._end()
        return Outcome(code, _text(self._out.fileno()), _text(self._err.fileno()), self.timeout_s)

    def _end(self) -> None:
        """SIGTERM lets a launcher take its ranks along, wherever they are; SIGKILL does not ask.

        A process that hangs in a driver cannot be killed either: it is not waited for.
        """
        if self._process.poll() is None:
            _signal_group(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
        _signal_group(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)


def run(command: Sequence[str], *, timeout_s: float) -> Outcome:
    """Run ``command`` to its end or its bound. A command that cannot be started is an outcome too (code 127)."""
    try:
        with Child(command, timeout_s=timeout_s) as child:
            return child.outcome()
    except OSError as error:
        return Outcome(127, "", str(error))


def probe_command(module: str, *arguments: str) -> list[str]:
    """The command that runs one of this folder's modules as a probe."""
    return [sys.executable, "-m", f"inference_insitu.doctor.{module}", *arguments]


def launch_command(launcher: Path, ranks: int, module: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The command that starts ``ranks`` ranks of a probe."""
    return [str(launcher), *options, "-n", str(ranks), *probe_command(module, *arguments)]


def child_environment() -> dict[str, str]:
    """Ours, without what a launcher told this process about its own job."""
    return POLITE_LAUNCH | environment_without_launcher(keep_settings=True)


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return


def _signal_name(number: int) -> str:
    """Name of a signal; empty where there is none of that number (an exit code of 255, say)."""
    return signal.Signals(number).name if number in set(signal.Signals) else ""


def _text(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, TAIL_CHARACTERS, max(0, size - TAIL_CHARACTERS)).decode(errors="replace")
