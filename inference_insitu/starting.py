"""Starting a python of our own beside the ranks: a worker, a courier, a session of a serving job."""

import subprocess
import sys
from typing import IO

from cdi.launched import environment_without_launcher


def start_python(
    module: str, *arguments: str, threads: int = 1, log: IO[bytes] | None = None
) -> "subprocess.Popen[bytes]":
    """Start ``python -m module`` as no rank, in a session of its own; ``log`` takes what it prints.

    What kills the ranks together does not reach it: it must end by itself when they have.

    Raises
    ------
    OSError
        If there is no memory or no process to be had now.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment_without_launcher() | {"OMP_NUM_THREADS": str(threads)},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
