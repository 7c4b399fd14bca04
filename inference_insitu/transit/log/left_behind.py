"""Programs of ours that outlived whoever started them: remembered in a file, ended before others take their place."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from cdi.errors import RunError
from inference_insitu.ring.processes import runs, started_at
from inference_insitu.waiting import wait_until


def remember(path: Path, pid: int) -> None:
    """Note the process ``pid``, which leads a session of its own, at ``path``."""
    path.write_text(f"{pid} {started_at(pid) or 0}\n")


def end_left_behind(path: Path, timeout_s: float) -> bool:
    """End the process that is noted at ``path``, and its group, in order if it can be; whether there was one.

    Raises
    ------
    RunError
        If it does not end.
    """
    try:
        pid, started = (int(word) for word in path.read_text().split())
    except (OSError, ValueError):
        return False
    if not runs(pid, started):
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(pid, number)
        if wait_until(lambda: not runs(pid, started), timeout_s=timeout_s, interval_s=0.02):
            return True
    raise RunError(f"process {pid}, which {path} tells of, must end for another to take its place, and does not")
