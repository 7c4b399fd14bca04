"""A run of real ranks and workers that goes on until it is told to stop."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import yaml
from launching import environment

from inference_insitu.placement.launcher import mpiexec
from inference_insitu.ring.processes import started_at
from inference_insitu.watching.account import account
from inference_insitu.watching.events import read_events
from inference_insitu.watching.ledger_files import read_ledger

HERE = Path(__file__).parent
SIMULATION = HERE.parent / "transit" / "moving_simulation.py"
RANKS, KEEPERS = 3, 2
PATIENCE_S = 120.0


class SharingRun:
    """``RANKS`` simulate, ``KEEPERS`` are a reserve."""

    def __init__(self, folder, scaling, failure=None, **options):
        self.folder = folder / "run"
        config, paths = folder / "coupling.yaml", [HERE, SIMULATION.parent, environment()["PYTHONPATH"]]
        config.write_text(yaml.safe_dump(coupling(scaling, failure or {}, options)))
        self._said = folder / "said"
        ranks = [mpiexec(), "-n", RANKS + KEEPERS, sys.executable, "-m", "mpi4py"]
        self._process = subprocess.Popen(
            [*map(str, ranks), str(SIMULATION), str(config), str(self.folder)],
            env=environment() | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
            stdout=self._said.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def named(self, event):
        return [one for one in read_events(self.folder) if one.event == event]

    @property
    def counts(self):
        return Counter(one.event for one in read_events(self.folder))

    def until(self, ask):
        end_s = time.monotonic() + PATIENCE_S
        while not ask():
            told = [f"{one.who} {one.event} {one.fields}" for one in read_events(self.folder)[-20:]]
            assert self._process.poll() is None, self._said.read_text()[-3000:]
            assert time.monotonic() < end_s, "\n".join(told)
            time.sleep(0.05)

    def kill_worker(self, number):
        started = [one for one in self.named("worker_started") if one.who == f"worker{number}"]
        os.kill(int(started[-1].fields["pid"]), signal.SIGKILL)

    def end(self):
        """Stop it; outcomes of all frames, once the books are found whole and nothing is left behind."""
        (self.folder / "stop").touch()
        assert self._process.wait(PATIENCE_S) == 0, self._said.read_text()[-3000:]
        assert account(self.folder)["problems"] == []
        assert not list(self.folder.glob("handed-*"))
        for event in self.named("worker_started"):
            assert started_at(int(event.fields["pid"])) is None
        ledger = read_ledger(self.folder)
        steps = [json.loads((self.folder / f"simulated-{rank}.json").read_text())["steps"] for rank in range(RANKS)]
        assert sum(ledger.fate.counts().values()) == sum(steps)
        return set(ledger.fate.counts())

    @property
    def answers(self):
        lines = [line for path in self.folder.glob("results-*.jsonl") for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def clear(self):
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def coupling(scaling, failure, options):
    return {
        "streams": {"pattern": {"analysis": "counting", "steps": 4096}},
        "analyses": {
            "counting": {
                "plugin": "counting:Counting",
                "options": options,
                "batch": {"size": 4, "delay_s": 0.0},
            }
        },
        "placement": {"kind": "cores", "ranks": KEEPERS, "scaling": scaling},
        "on_inference_failure": {"backoff_s": 0.05} | failure,
    }
