"""Starts a worker process, watches it, and starts it anew when it dies or hangs.

Runs on a rank that is given up for it, or on a simulation rank, a look at a time: ``poll`` never waits.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from inference_insitu.coupling_config import FailureConfig, PlacementConfig
from inference_insitu.inference.spec import LEFT, UNUSABLE
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.processes import started_at
from inference_insitu.ring.region import Region
from inference_insitu.sharing.holding import decline, is_heir, reads
from inference_insitu.starting import start_python
from inference_insitu.waiting import wait_until
from inference_insitu.watching.events import EventLog

GONE_BY_ITSELF_S = 5.0
LONGEST_BACKOFF_S = 60.0
NOT_STARTED = 127
"""What stands for the exit code of a worker that the system did not let us start."""


class Supervisor:
    """Keeps one worker process running.

    Parameters
    ----------
    spec : file of its ``WorkerSpec``.
    regions : the rings that it serves, opened or created by this process; where they change hands (``sharing``) all of
        the node, of which it serves what it reads.
    worker : its number, for the events.
    """

    def __init__(
        self,
        spec: Path,
        regions: Sequence[Region],
        *,
        failure: FailureConfig,
        placement: PlacementConfig,
        events: EventLog,
        first_incarnation: int = 0,
        worker: int = 0,
    ) -> None:
        self._spec, self.regions, self._number = spec, list(regions), worker
        self._failure, self._placement, self._events = failure, placement, events
        self._child: subprocess.Popen[bytes] | None = None
        self._incarnation = first_incarnation
        self._restarts = 0
        self._killed = False
        self._start_at: float | None = time.monotonic()
        self._started_at = 0.0
        self.over = False
        """Whether no worker runs and none will: it ended as it should, or was given up."""
        self._state = Side.STARTING
        if not self.regions:  # nobody to serve
            self.over = True
        self._say(Side.STARTING)

    def poll(self) -> None:
        """One look: start what is due, notice what died or hangs."""
        if self.over:
            self._decline()
            return
        self._adopt()
        if self._child is None:
            due = self._start_at is not None and time.monotonic() >= self._start_at
            if due and (self._mine or self._expected):
                self._start()
            return
        if _has_ended(self._child):
            self._ended(self._reaped(self._child))
        elif not self._killed and (why := self._hangs()) is not None:
            self._events.log("worker_hung", worker=self._number, pid=self._child.pid, why=why)
            self._killed = True
            self._signal(signal.SIGKILL)

    def stop(self, *, timeout_s: float) -> None:
        """Let the worker end by itself within ``timeout_s``, then ask it, then kill it; at once if it is not ready."""
        if self._child is not None:
            asked = False
            ready = any(region.words[Word.CONSUMER_STATE] in (Side.READY, Side.CLOSED) for region in self._mine)
            for wait_s, number in (
                (timeout_s if ready else 0.0, signal.SIGTERM),
                (GONE_BY_ITSELF_S, signal.SIGKILL),
                (GONE_BY_ITSELF_S, 0),
            ):
                if wait_until(partial(_has_ended, self._child), timeout_s=wait_s):
                    code = self._reaped(self._child)
                    if code and not asked:
                        self._tell_death(code)
                    break
                if number:
                    asked = True
                    self._signal(number)
            self._child = None
        self.over = True

    def _start(self) -> None:
        self._start_at, self._started_at, self._killed = None, time.monotonic(), False
        for region in self._mine:
            region.words[Word.CONSUMER_STATE] = Side.ABSENT
            region.words[Word.BUSY_SINCE_NS] = 0
        try:
            arguments = str(self._spec), str(self._incarnation)
            self._child = start_python("inference_insitu.inference.worker", *arguments, threads=self._placement.threads)
        except OSError as error:  # no memory or no process to be had now
            self._events.log("worker_not_started", worker=self._number, error=str(error))
            self._ended(NOT_STARTED)
            return
        self._incarnation += 1
        self._say(Side.STARTING)

    def _ended(self, code: int) -> None:
        self._child = None
        if code == LEFT:  # until a ring is to be read here again
            self._start_at = time.monotonic()
            return
        mine = self._mine
        if mine and all(region.words[Word.CONSUMER_STATE] == Side.CLOSED for region in mine):
            self.over = True
            self._say(Side.CLOSED)
            return
        for region in mine:
            region.words[Word.CONSUMER_STATE] = Side.ABSENT
        self._tell_death(code)
        if all(region.words[Word.PRODUCER_STATE] == Side.CLOSED for region in self.regions):
            self.over = True  # the books are closed: nobody needs another one
            self._say(Side.CLOSED)
            return
        if code == UNUSABLE or self._restarts >= self._failure.restarts:
            self.over = True
            self._events.log("gave_up", worker=self._number, restarts=self._restarts)
            self._say(Side.FAILED)
            return
        wait_s = min(self._failure.backoff_s * 2 ** min(self._restarts, 64), LONGEST_BACKOFF_S)
        self._restarts += 1
        self._events.log("restart", worker=self._number, attempt=self._restarts, wait_s=wait_s)
        for region in self._mine:
            region.words[Word.RESTARTS] = self._restarts
        self._start_at = time.monotonic() + wait_s

    def _reaped(self, child: "subprocess.Popen[bytes]") -> int:
        """The exit code of a worker that has ended; what it started and left ends with it.

        Its group first: the system gives its number to nobody else before it is reaped.
        """
        if child.returncode is None:
            self._signal(signal.SIGKILL)
        return child.wait()

    def _tell_death(self, code: int) -> None:
        name = _signal_name(-code) if code < 0 else None
        self._events.log("worker_died", worker=self._number, code=code, signal=name)

    def _hangs(self) -> str | None:
        now, limit_s = time.monotonic_ns(), self._failure.hang_timeout_s
        # A rank that gave up has taken its ring away: the worker shows nothing there.
        mine = self._mine
        served = [region for region in mine if region.words[Word.PRODUCER_STATE] != Side.CLOSED]
        words = (served or mine or self.regions)[0].words
        ready = words[Word.CONSUMER_STATE] in (Side.READY, Side.CLOSED) if mine else self._is_heir
        if not ready:
            ready_s = self._placement.ready_timeout_s
            slow = time.monotonic() - self._started_at > ready_s
            return f"not ready within {ready_s:g} s" if slow else None
        if not mine:  # it waits for its first ring
            return None
        busy_since = words[Word.BUSY_SINCE_NS]
        if busy_since and now - busy_since > limit_s * 1e9:
            return f"busy with one batch for more than {limit_s:g} s"
        if now - words[Word.CONSUMER_BEAT_NS] > limit_s * 1e9:
            return f"no sign of life for more than {limit_s:g} s"
        return None

    def _signal(self, number: int) -> None:
        if self._child is not None:
            try:
                os.killpg(self._child.pid, number)
            except (ProcessLookupError, PermissionError):
                return

    @property
    def _mine(self) -> list[Region]:
        """The rings that the worker reads."""
        return [region for region in self.regions if reads(region, self._number)]

    @property
    def _expected(self) -> bool:
        """Whether it is to read another one."""
        return any(is_heir(region, self._number) for region in self.regions)

    @property
    def _is_heir(self) -> bool:
        """Whether it has said that it can."""
        pid = -1 if self._child is None else self._child.pid
        return any(is_heir(region, self._number) and region.words[Word.HEIR] == pid for region in self.regions)

    def _decline(self) -> None:
        """No ring must wait for a worker that will not come."""
        for region in self.regions:
            if is_heir(region, self._number):
                decline(region)

    def _adopt(self) -> None:
        """Answer for the rings that the worker has taken since."""
        pid = os.getpid()
        if any(region.words[Word.SUPERVISOR_PID] != pid for region in self._mine):
            self._say(self._state)

    def _say(self, state: Side) -> None:
        self._state = state
        for region in self._mine:
            region.words[Word.SUPERVISOR_STARTED] = started_at(os.getpid()) or 0
            region.words[Word.SUPERVISOR_PID] = os.getpid()
            region.words[Word.SUPERVISOR_STATE] = state


def _has_ended(child: "subprocess.Popen[bytes]") -> bool:
    """Whether it is a zombie, and left to be one."""
    try:
        return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody else took its exit code
        return True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
