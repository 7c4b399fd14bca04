"""Placement ``job``: inference in a job of its own, which may start late, be killed, and come again.

Each simulation rank has a courier, a process that takes frames out of the rank's ring in shared memory
and sends them to the serving job (``placement.job_courier``). ADIOS2 runs in couriers and in the serving
job's own child (``placement.job_serving``) alone: what it does when the other side stops, it does to them.
"""

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cdi.errors import RunError
from inference_insitu.coupling_config import CouplingConfig, FailureConfig, PlacementConfig
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.inference.supervisor import Supervisor
from inference_insitu.placement import sst
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.region import Region
from inference_insitu.starting import start_python
from inference_insitu.waiting import wait_until
from inference_insitu.watching.events import EventLog

FOLDER = "job"
"""In the run's folder: what couriers and serving jobs tell one another."""
SPEC, SESSION, LOCK = "worker.json", "session.json", "serving.lock"
COURIER, SERVING = (f"inference_insitu.placement.{name}" for name in ("job_courier", "job_serving"))
LONGEST_BACKOFF_S = 30.0
SHORTEST_NAP_S, LONGEST_NAP_S = 0.0002, 0.005
"""Between looks at what is to be carried."""
ENDED, REFUSED, GAVE_UP, LOST, ABSENT = 0, 1, 3, 4, 5
"""How a session ends: with the simulation; unable to serve it; worker failed for good; a courier is gone; none came."""
_WHY = {
    REFUSED: "the simulation cannot be served from here; the lines above say why",
    GAVE_UP: "the worker failed for good; the simulation goes on, and takes the next serving job",
    ABSENT: "no simulation has answered within {timeout_s:g} s",
}


def offer(output: Path, spec: WorkerSpec) -> None:
    """Rank 0: say in the run's folder what is to be served; a region of ``spec`` for each rank with a ring."""
    (output / FOLDER).mkdir(exist_ok=True)
    spec.write(output / FOLDER / SPEC)


class CourierSupervisor(Supervisor):
    """Keeps the courier of this rank's ``region`` running; it is started anew however often it dies."""

    def __init__(
        self, region: Region, output: Path, *, failure: FailureConfig, placement: PlacementConfig, events: EventLog
    ) -> None:
        super().__init__(output, [region], failure=failure, placement=placement, events=events)
        self._deaths = 0

    def poll(self) -> None:
        """One look. Where no serving job has ever come, the end does not wait for one."""
        super().poll()
        words = self.regions[0].words
        ending = words[Word.PRODUCER_STATE] == Side.ENDING and words[Word.CONSUMER_STATE] == Side.ABSENT
        # The courier learns of a session some time after it began, and of its worker later still.
        if ending and not announced(self._spec)[0]:
            words[Word.SUPERVISOR_STATE] = Side.FAILED

    def stop(self, *, timeout_s: float) -> None:
        """Let the courier say that the books are closed."""
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout_s)
        super().stop(timeout_s=0.0)
        with suppress(OSError):
            ended_mark(self._spec, self.regions[0].words[Word.RANK]).touch()

    def _start(self) -> None:
        region, self._start_at = self.regions[0], None
        path = self._spec / FOLDER / f"courier-{region.words[Word.RANK]}.log"
        try:
            with path.open("ab") as log:  # ADIOS2 speaks its mind there
                self._child = start_python(COURIER, str(self._spec), str(region.path), log=log)
        except OSError as error:  # no memory, process or disk to be had now
            self._events.log("courier_not_started", error=str(error))
            self._ended(-1)

    def _ended(self, code: int) -> None:
        self._child = None
        wait_s = min(self._failure.backoff_s * 2 ** min(self._deaths, 64), LONGEST_BACKOFF_S)
        self._deaths += 1
        self._events.log("courier_died", code=code, wait_s=wait_s)
        self._start_at = time.monotonic() + wait_s

    def _hangs(self) -> None:
        """A courier that hangs ends by itself (``Guard``)."""


def serve_job(folder: str | Path, *, timeout_s: float = 300.0) -> None:
    """Infer for the simulation whose run's folder is ``folder``, until it has ended.

    It may start before the simulation, after it, or in place of an earlier serving job. It ends by itself
    when the simulation has ended, or none of it has answered for ``timeout_s``.

    Raises
    ------
    RunError
        If there is no simulation within ``timeout_s``, another job serves it, or the worker fails for good.
    """
    sst.require()
    output = Path(folder).absolute()
    if not wait_until((output / FOLDER / SPEC).exists, timeout_s=timeout_s, interval_s=0.1):
        raise RunError(f"{folder} must hold a run of placement.kind 'job', got none within {timeout_s:g} s")
    with _alone(output):
        while True:
            code = _session(output, timeout_s)
            if code == ENDED:
                return
            if code in _WHY:
                raise RunError(_WHY[code].format(timeout_s=timeout_s))
            print(f"cdi: serving starts anew: its process ended with code {code}", file=sys.stderr, flush=True)
            time.sleep(0.5)


def _session(output: Path, timeout_s: float) -> int:
    child = start_python(SERVING, str(output), repr(timeout_s))
    try:
        return child.wait()
    finally:
        if child.poll() is None:  # a Ctrl-C, say
            child.terminate()
            child.wait(10.0)


def guard(config: CouplingConfig | None) -> None:
    """Have the system kill this process unless this is called again within ``hang_timeout_s``; never, for None.

    No thread could: ADIOS2 holds Python's lock while it waits.
    """
    signal.setitimer(signal.ITIMER_REAL, 0.0 if config is None else config.on_inference_failure.hang_timeout_s)


def announced(output: Path) -> tuple[int, str]:
    """Number and token of the latest session; (0, "") before the first."""
    try:
        values = json.loads((output / FOLDER / SESSION).read_text())
        return int(values["number"]), str(values["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def announce(output: Path) -> tuple[int, str]:
    """Begin a session: couriers turn to it, whatever they were about."""
    number, token = announced(output)[0] + 1, secrets.token_hex(6)
    whole = output / FOLDER / f"{SESSION}.{token}"
    whole.write_text(json.dumps({"number": number, "token": token}) + "\n")
    os.replace(whole, output / FOLDER / SESSION)
    return number, token


def ended_mark(output: Path, rank: int) -> Path:
    """The file by which a courier says that nothing of its rank will follow."""
    return output / FOLDER / f"ended-{rank}"


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    with (output / FOLDER / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{output} must be served by one job, got another one that serves it already") from error
        except OSError:
            pass  # a file system without locks: the latest session is the one that couriers turn to
        yield
