"""A coupled run that moves: starts its ranks, its log and its engine, asks for migrations, kills its parts."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from machine import environment
from simulation import CALLS, GO, STOP

from inference_insitu.placement.launcher import mpiexec
from inference_insitu.transit.engines.engine import PROCESS as ENGINE_PROCESS
from inference_insitu.transit.log.redis_server import PROCESS as SERVER_PROCESS
from inference_insitu.transit.migration.moving_worker import FOLDER
from inference_insitu.transit.migration.protocol import Ended
from inference_insitu.transit.migration.request import migrate
from inference_insitu.watching.events import read_events

HERE = Path(__file__).parent
START_S, MOVE_S, END_S = 600.0, 300.0, 300.0
BATCH, SLOTS = 8, 512


class Moving:
    """One simulation rank, one worker; ``episodes`` are the folders of its couplings."""

    def __init__(self, folder: Path, given: dict[str, Any], *, engine: str, episodes: int = 1) -> None:
        self._engine, self.folder, self.calls_file = engine, folder, folder / CALLS
        self.outputs = [folder / f"run-{number}" for number in range(episodes)]
        config = folder / "coupling.yaml"
        config.write_text(yaml.safe_dump(coupling(given)))
        told = [{"output": str(output), "waits": output != self.outputs[0]} for output in self.outputs]
        task = folder / "task.json"
        own = {"config": str(config), "episodes": told, "calls": str(self.calls_file)}
        task.write_text(json.dumps(own | {"bytes": given["bytes"], "period_s": given["period_s"]}))
        self._said = folder / "said"
        self.simulation = self._started(
            mpiexec(), "-n", 2, sys.executable, "-m", "mpi4py", HERE / "simulation.py", task
        )
        self._serving: list[subprocess.Popen[bytes]] = []

    def serve(self, output: Path) -> None:
        """Start log and engine of the coupling in ``output``; until the engine runs."""
        self._serving.append(
            self._started(sys.executable, "-m", "cdi", "insitu", "transit", output, f"engine={self._engine}")
        )
        self.until(lambda: self.happened(output, "engine_running"), START_S, "the engine")

    def migrate(self, output: Path, to: str) -> Ended:
        """Move it; how that ended."""
        return migrate(output, to, timeout_s=MOVE_S)

    def until(self, ask: Callable[[], Any], timeout_s: float, what: str) -> None:
        """Wait until ``ask`` says yes."""
        end_s = time.monotonic() + timeout_s
        while not ask():
            if self.simulation.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError(f"{what} did not come: {self._said.read_text()[-2000:]}")
            time.sleep(0.02)

    def happened(self, output: Path, event: str) -> bool:
        """Whether anybody tells of ``event``."""
        return any(one.event == event for one in read_events(output))

    def go(self, output: Path) -> None:
        """Let the coupling in ``output``, which waits, begin."""
        (output / GO).touch()

    def stop(self, output: Path) -> None:
        """End the coupling in ``output``."""
        (output / STOP).touch()

    def pid(self, part: str) -> int:
        """The process that is ``engine``, ``broker`` or ``worker``."""
        output = self.outputs[0]
        if part == "worker":
            return int([one for one in read_events(output) if one.event == "worker_started"][-1].fields["pid"])
        name = ENGINE_PROCESS if part == "engine" else f"log/{SERVER_PROCESS}"
        return int((output / FOLDER / name).read_text().split()[0])

    def signal(self, part: str, number: int) -> float:
        """Send it to ``part``, an engine's with all that it started; when."""
        pid = self.pid(part)
        now_s = time.monotonic()
        (os.killpg if part == "engine" else os.kill)(pid, number)
        return now_s

    def end(self) -> np.ndarray:
        """Wait until all have ended; step, time and seconds of every call."""
        if self.simulation.wait(END_S):
            raise RuntimeError(f"the simulation failed: {self._said.read_text()[-2000:]}")
        for process in self._serving:
            process.wait(END_S)
        calls: np.ndarray = np.load(self.calls_file)
        return calls

    def clear(self) -> None:
        """Leave nothing behind, whatever has happened."""
        if self.simulation.poll() is None:
            os.killpg(self.simulation.pid, signal.SIGKILL)
        for process in self._serving:
            process.terminate()
            process.wait(END_S)

    def _started(self, *command: object) -> "subprocess.Popen[bytes]":
        with self._said.open("ab") as said:
            return subprocess.Popen(
                [*map(str, command)], env=environment(HERE), stdout=said, stderr=said, start_new_session=True
            )


@contextmanager
def moving(given: dict[str, Any], *, engine: str, episodes: int = 1) -> Iterator[Moving]:
    """A run as ``given`` says, in a folder that goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        run = Moving(Path(folder), given, engine=engine, episodes=episodes)
        try:
            yield run
        finally:
            run.clear()


def coupling(given: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run."""
    analysis = {"plugin": "carried:Carried", "options": {"bytes": given.get("state_bytes", 0)}}
    return {
        "streams": {
            "frame": {
                "analysis": "carried",
                "policy": given.get("policy", {"kind": "drop_newest"}),
                "steps": given.get("slots", SLOTS),
            }
        },
        "analyses": {"carried": analysis | {"batch": {"size": BATCH, "delay_s": 0.0}}},
        "placement": {"kind": "cores"},
        "on_inference_failure": {"times": 20, "backoff_s": 0.1, "drain_timeout_s": 120.0},
    }
