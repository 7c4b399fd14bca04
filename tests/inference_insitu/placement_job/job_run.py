"""A simulation and its serving jobs, started as two jobs and killed at will."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launching import environment

from inference_insitu.placement.launcher import mpiexec
from inference_insitu.watching.events import Event, read_events

HERE = Path(__file__).parent
PATIENCE_S = 60.0
FOR_EVER = 100_000

SERVE = """
import sys
from cdi.errors import RunError
from inference_insitu.placement.job import serve_job
try:
    serve_job(sys.argv[1], timeout_s=float(sys.argv[2]))
except RunError as error:
    sys.exit(f"serve: {error}")
"""


class JobRun:
    """One run in ``folder``; everything is killed by ``end``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder, folder / "run"
        self._processes: list[subprocess.Popen[str]] = []

    def configure(self, *, plugin: str = "job_analyses:check", wait_ready: bool = True, **failure: Any) -> None:
        """Write the configuration; ``failure`` goes to ``on_inference_failure``."""
        config = {
            "streams": {"field": {"analysis": "look", "policy": {"kind": "latest"}, "steps": 4}},
            "analyses": {"look": {"plugin": plugin}},
            "placement": {"kind": "job", "wait_ready": wait_ready, "ready_timeout_s": PATIENCE_S},
            "on_inference_failure": {"backoff_s": 0.1, "drain_timeout_s": 10.0, "hang_timeout_s": 20.0} | failure,
        }
        (self.folder / "coupling.yaml").write_text(json.dumps(config))

    def simulate(self, *, ranks: int = 1, steps: int = FOR_EVER) -> "subprocess.Popen[str]":
        """Start the simulation."""
        script = [str(HERE / "job_simulation.py"), str(self.output), str(self.folder / "coupling.yaml"), str(steps)]
        return self._start([str(mpiexec()), "-n", str(ranks), sys.executable, *script])

    def serve(self, *, timeout_s: float = PATIENCE_S) -> "subprocess.Popen[str]":
        """Start a serving job."""
        return self._start([sys.executable, "-c", SERVE, str(self.output), str(timeout_s)])

    def stop(self) -> None:
        """Let the simulation end."""
        (self.folder / "stop").touch()

    def step(self, rank: int = 0) -> int:
        """Steps that a rank has ended."""
        path = self.folder / f"progress-{rank}"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def events(self, name: str) -> list[Event]:
        return [event for event in read_events(self.output) if event.event == name]

    def pids(self, name: str) -> list[int]:
        """Processes that logged the event ``name``, in their order."""
        return [int(event.fields["pid"]) for event in self.events(name)]

    def answers(self) -> list[dict[str, Any]]:
        lines = [line for path in sorted(self.output.glob("results-*.jsonl")) for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def books(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.output / "books.json").read_text())
        return found

    def ledger(self, rank: int = 0) -> list[dict[str, str]]:
        with (self.output / f"ledger-{rank}.csv").open() as file:
            return list(csv.DictReader(file))

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        if self.output.exists():
            for name in ("session", "courier_started", "worker_started", "attach"):
                for pid in self.pids(name):
                    _kill_ours(pid)
        for process in self._processes:
            process.communicate(timeout=PATIENCE_S)

    def _start(self, command: list[str]) -> "subprocess.Popen[str]":
        paths = environment()
        process = subprocess.Popen(
            command,
            env=paths | {"PYTHONPATH": os.pathsep.join([str(HERE), paths["PYTHONPATH"]])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._processes.append(process)
        return process


def ended(process: "subprocess.Popen[str]", *, code: int = 0) -> str:
    """What the process printed, once it has ended with ``code``."""
    out, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, error
    return out + error


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _kill_ours(pid: int) -> None:
    try:
        if b"inference_insitu" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    except OSError:
        return
