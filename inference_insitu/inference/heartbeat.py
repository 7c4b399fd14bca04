"""A worker's signs of life, from a thread beside its answers, and its end where nobody is left to end it.

Whoever supervises a worker kills it when it hangs. A worker that outlived its supervisor and the simulation must see
to that itself, or it would stay for ever.
"""

import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.processes import runs
from inference_insitu.ring.region import Region

BEAT_S = 0.2
SIGN_S = 1.0
"""Between signs of life in the run's folder."""


class Heartbeat:
    """Beats until ``stop`` is set.

    Parameters
    ----------
    consumers : of the rings that are served; may change meanwhile.
    regions : rings whose processes are the others.
    hang_timeout_s : the process ends by itself where even this thread has not run for twice as long.
    sign : file, once it is there, whose time tells machines that do not see this process that it lives.
    alone_timeout_s : how long it may go on answering once all the others are dead; not at all before it is ready.
    leave : ends the process.
    """

    def __init__(
        self,
        consumers: Sequence[Consumer],
        regions: Sequence[Region],
        stop: threading.Event,
        *,
        hang_timeout_s: float,
        alone_timeout_s: float,
        sign: Path,
        leave: Callable[[], None],
    ) -> None:
        self._consumers, self._regions, self._stop, self._sign = consumers, regions, stop, sign
        self._hang_timeout_s, self._alone_timeout_s, self._leave = hang_timeout_s, alone_timeout_s, leave
        self._alone_since: float | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        armed = signed = float("-inf")
        while not self._stop.wait(BEAT_S):
            for consumer in tuple(self._consumers):
                consumer.beat()
            now = time.monotonic()
            if now - armed > self._hang_timeout_s / 4:
                # Needs no interpreter: also ends an extension that never gives it back.
                faulthandler.dump_traceback_later(2 * self._hang_timeout_s, exit=True)
                armed = now
            if now - signed > SIGN_S:
                with contextlib.suppress(OSError):  # not written yet, or its disk is away
                    os.utime(self._sign)
                signed = now
            if self._overdue(now):
                self._leave()

    def _overdue(self, now: float) -> bool:
        if not all(map(_alone, self._regions)):
            self._alone_since = None
            return False
        self._alone_since = self._alone_since or now
        ready = all(consumer.state is Side.READY for consumer in tuple(self._consumers))
        return not ready or now - self._alone_since > self._alone_timeout_s


def _alone(region: Region) -> bool:
    words = region.words
    sides = (Word.OWNER_PID, Word.OWNER_STARTED), (Word.SUPERVISOR_PID, Word.SUPERVISOR_STARTED)
    return not any(runs(words[pid], words[started]) for pid, started in sides)
