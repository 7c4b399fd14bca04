"""A worker that computes for long still says that it lives."""

import faulthandler
import os
import threading
import time
from pathlib import Path

from inference_insitu.inference.heartbeat import Heartbeat


def test_the_time_of_a_file_tells_others_that_it_lives(tmp_path: Path) -> None:
    """While nothing else is written to it, and also where it comes late."""
    sign, stop = tmp_path / "metrics-0.prom", threading.Event()
    Heartbeat([], [], stop, hang_timeout_s=600.0, alone_timeout_s=600.0, sign=sign, leave=os.abort)
    sign.write_text("as it was")
    os.utime(sign, (0, 0))
    deadline = time.monotonic() + 20
    while sign.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    faulthandler.cancel_dump_traceback_later()  # nobody hangs here
    assert sign.stat().st_mtime > 0
    assert sign.read_text() == "as it was"
