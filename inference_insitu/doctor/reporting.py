"""What a probe says to the doctor: marked JSON objects on stdout, found again in whatever else was printed.

Standard library only; imported by the probes as well.
"""

import json
import math
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdi.launched import share_cores

MARK = "CDI-PROBE "
LIMIT_VARIABLE = "CDI_DOCTOR_LIMIT_S"
"""Seconds after which a probe ends itself, whatever became of the doctor."""

SEGMENTS = re.compile(r"/dev/shm/(mpich_shm|ucx_shm|sm_segment|vader_segment)[\w.-]*")
"""What MPICH, UCX and Open MPI leave behind."""


def begin() -> None:
    """To be called first in every probe: bounds its life, and makes ranks share cores politely.

    Launchers put ranks into process groups of their own, so that the doctor's kill can miss them. An
    alarm without a handler ends a process even where it hangs inside a library.
    """
    limit_s = os.environ.get(LIMIT_VARIABLE, "")
    if limit_s:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(max(1, math.ceil(float(limit_s))))
    share_cores()


def report(**facts: Any) -> None:
    """Write one report as a single write, so that reports of several ranks do not mix."""
    os.write(1, f"{MARK}{json.dumps(facts)}\n".encode())


def report_segments() -> None:
    """Name the shared memory that MPI maps in this process, for the doctor to remove.

    A rank that is killed, or ends without MPI's finalisation, leaves it behind: 1 to 16 MB each time.
    """
    maps = Path("/proc/self/maps")
    if maps.exists():
        mapped = {line.split()[-1] for line in maps.read_text().splitlines()}
        report(segments=sorted(path for path in mapped if SEGMENTS.fullmatch(path)))


def remove_segments(found: list[dict[str, Any]]) -> None:
    """Remove what ended probes named and did not remove themselves."""
    for path in {path for entry in found for path in entry.get("segments", ())}:
        if SEGMENTS.fullmatch(path):
            Path(path).unlink(missing_ok=True)


def leave() -> None:
    """End without MPI's finalisation, which may wait for ever for what the probe broke on purpose."""
    os._exit(0)


def run_probe(body: Callable[[], None]) -> None:
    """Run ``body``; an exception becomes a report of its one line."""
    begin()
    try:
        body()
    except Exception as error:
        report(error=" ".join(f"{type(error).__name__}: {error}".split()))
        os._exit(1)


def reports(text: str) -> list[dict[str, Any]]:
    """Every report in ``text``, broken ones left out."""
    found = []
    for piece in text.split(MARK)[1:]:
        try:
            value, _ = json.JSONDecoder().raw_decode(piece)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
