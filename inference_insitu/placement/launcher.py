"""Starting the ranks: the ``mpiexec`` of this very environment, or the one we are already under.

Another MPI's launcher would start N jobs of one rank, so ours is looked for beside the
interpreter first. Free of MPI.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from cdi.launched import TERMINAL_VARIABLE

GRACE_S = 10.0


def mpiexec() -> Path:
    """The launcher beside the interpreter, else the one on PATH.

    Raises
    ------
    ValueError
        If there is none.
    """
    beside = Path(sys.executable).parent / "mpiexec"
    found = str(beside) if beside.is_file() else shutil.which("mpiexec")
    if found is None:
        raise ValueError(
            f"the run needs mpiexec, found none beside {sys.executable} nor on PATH; "
            "install it with: pip install 'crystal-defects-insitu[md]'"
        )
    return Path(found)


def launch(ranks: int, arguments: list[str]) -> int:
    """Run ``cdi`` with ``arguments`` on ``ranks`` ranks and return the exit code.

    SIGINT and SIGTERM are passed on; ranks that outlive ``GRACE_S`` seconds after that are
    killed with their whole process group.
    """
    command = [str(mpiexec()), "-n", str(ranks), sys.executable, "-m", "cdi", *arguments]
    environment = dict(os.environ)
    if sys.stderr.isatty():
        environment[TERMINAL_VARIABLE] = "1"
    # A group of its own: a Ctrl-C reaches the ranks once, through us, and none survives us.
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = _wait(child, received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _kill_group(child.pid)
    if received:
        return 128 + received[0]
    return code if code >= 0 else 1


def _wait(child: "subprocess.Popen[bytes]", received: list[int]) -> int:
    waited = 0.0
    while True:
        try:
            return child.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            waited += 0.2 if received else 0.0
            if waited > GRACE_S:
                _kill_group(child.pid)


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
