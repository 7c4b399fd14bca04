"""A stream engine behind a small interface: a program in an environment of its own, which a folder speaks for.

An engine is started with a job (``job.TransitJob``) and talks to the rest through the log alone. What it says of itself
lies in the job's folder: ``status.json``, its log, checkpoints and savepoints. SIGTERM stops it with a savepoint.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from cdi.errors import MissingDependencyError, RunError
from cdi.requirements import nearest
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.log.left_behind import end_left_behind, remember
from inference_insitu.waiting import wait_until

STATUS, OUTPUT, PROCESS = "status.json", "engine.log", "engine.process"
STARTING, RUNNING, STOPPED, FAILED, DEAD = "starting", "running", "stopped", "failed", "dead"
ENVIRONMENTS = "CDI_ENGINES"
"""Variable that names the folder of the engines' environments; without it ``.engines`` beside the packages."""
INSTALL = "make engines"
STOP_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class EngineStatus:
    """How an engine's program stands.

    Parameters
    ----------
    state : ``starting``, ``running``, ``stopped`` (with a savepoint), ``failed`` (``problem`` says why) or ``dead``.
    pid : of the program.
    seen, committed : by topic, offsets of what is answered and of what a completed checkpoint holds.
    savepoint : where it can go on from, once stopped.
    """

    state: str
    pid: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)
    committed: Mapping[str, int] = field(default_factory=dict)
    savepoint: str = ""
    problem: str = ""


class Engine(Protocol):
    """A kind of engine."""

    name: str

    def command(self, job: TransitJob, restore: Path | None) -> Sequence[str]:
        """What starts it; ``restore`` is a savepoint or checkpoint, None takes the last one in the job's folder.

        Raises
        ------
        MissingDependencyError
            If its environment, or what it needs beside, is not there.
        """
        ...

    def environment(self, job: TransitJob) -> Mapping[str, str]:
        """Variables that it is to have beside one's own."""
        ...


def engine(name: str) -> Engine:
    """The engine that is called ``name``.

    Raises
    ------
    ValueError
        If there is none.
    """
    from inference_insitu.transit.engines.flink_engine import FlinkEngine
    from inference_insitu.transit.engines.spark_engine import SparkEngine

    known: dict[str, type[Engine]] = {"flink": FlinkEngine, "spark": SparkEngine}
    if name not in known:
        raise ValueError(f"engine must be one of {', '.join(known)}, got {name!r}; {nearest(name, known)}")
    return known[name]()


def engine_python(name: str) -> Path:
    """The python of the environment of the engine ``name``.

    Raises
    ------
    MissingDependencyError
        If that is not made.
    """
    beside = Path(__file__).resolve().parents[3] / ".engines"
    python = Path(os.environ.get(ENVIRONMENTS) or beside) / name / "bin" / "python"
    if not python.exists():
        raise MissingDependencyError(
            f"the engine {name} needs its environment {python.parents[1]}; make it with: {INSTALL}"
        )
    return python


class RunningEngine:
    """The program of ``kind`` for ``job``."""

    def __init__(self, kind: Engine, job: TransitJob) -> None:
        self._kind, self._job = kind, job
        self._folder = Path(job.folder)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, restore: Path | None = None) -> int:
        """Start it, from ``restore``, or from the last checkpoint in the job's folder, if any; its process number.

        Raises
        ------
        MissingDependencyError
            If the engine is not there.
        """
        self._job.write()
        command = self._kind.command(self._job, restore)
        # Its last checkpoint is known once it has ended.
        if end_left_behind(self._folder / PROCESS, STOP_TIMEOUT_S):
            command = self._kind.command(self._job, restore)
        write_status(self._folder, EngineStatus(STARTING))
        own = {"OMP_NUM_THREADS": str(self._job.threads), "PYTHONUNBUFFERED": "1"}
        with (self._folder / OUTPUT).open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **own, **self._kind.environment(self._job)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # all that it starts ends with it
            )
        remember(self._folder / PROCESS, self._process.pid)
        return self._process.pid

    def status(self) -> EngineStatus:
        """How it stands."""
        said = read_status(self._folder)
        ended = self._process is None or self._process.poll() is not None
        if ended and said.state in (STARTING, RUNNING):
            return EngineStatus(DEAD, problem=f"it ended without a word; see {self._folder / OUTPUT}")
        return said

    def wait_running(self, timeout_s: float) -> EngineStatus:
        """Until it reads the log.

        Raises
        ------
        RunError
            If it ends, or is not running in time.
        """
        wait_until(lambda: self.status().state != STARTING, timeout_s=timeout_s, interval_s=0.1)
        if (status := self.status()).state != RUNNING:
            raise RunError(
                f"the engine {self._kind.name} must run within {timeout_s:g} s, is {status.state}: "
                f"{status.problem or 'see ' + str(self._folder / OUTPUT)}"
            )
        return status

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> EngineStatus:
        """End it with a savepoint, from which it can be started again; killed where that takes too long."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.status()

    def kill(self) -> None:
        """End it at once, and all that it started."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def write_status(folder: Path, status: EngineStatus) -> None:
    """Let others read ``status``, whole."""
    partial = folder / (STATUS + ".partial")
    partial.write_text(json.dumps(asdict(status)))
    partial.rename(folder / STATUS)


def read_status(folder: Path) -> EngineStatus:
    """What an engine last said."""
    try:
        return EngineStatus(**json.loads((folder / STATUS).read_text()))
    except FileNotFoundError:
        return EngineStatus(STARTING)
