"""Starts ``fault_simulation`` under a launcher, and looks at what it leaves: state, books, processes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fault_simulation import expected
from launching import environment

from inference_insitu.placement.launcher import mpiexec
from inference_insitu.ring.processes import started_at
from inference_insitu.watching.events import Event, read_events

HERE = Path(__file__).parent
SHARED_MEMORY = Path("/dev/shm")
HARD_TIMEOUT_S = 240.0
"""After this long a run has hung; it is killed, and its test fails."""
GONE_TIMEOUT_S = 30.0
"""What outlives the ranks, a worker that still ends their books, is gone after this long."""


@dataclass
class Episode:
    """One coupling: ``options`` go to the analysis, ``failure`` to ``on_inference_failure``; a stream for each policy.

    With ``settles`` every step waits until inference is done with it; ``awaits_failure`` is the step that waits until
    inference has failed.
    """

    name: str
    steps: int = 12
    options: Mapping[str, Any] = field(default_factory=dict)
    failure: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"heat": {}})
    slots: int = 4
    batch: int = 1
    plugin: str = "fault_analyses:Faulty"
    settles: bool = False
    step_s: float = 0.0
    awaits_failure: int = -1
    fault: Mapping[str, Any] = field(default_factory=dict)
    coupled: bool = True

    def config(self) -> dict[str, Any]:
        return {
            "streams": {
                name: {"analysis": "test", "policy": dict(policy), "steps": self.slots}
                for name, policy in self.policies.items()
            },
            "analyses": {
                "test": {
                    "plugin": self.plugin,
                    "options": dict(self.options),
                    "batch": {"size": self.batch, "delay_s": 0.0},
                }
            },
            "placement": {"kind": "cores"} | dict(self.placement),
            "on_inference_failure": {"backoff_s": 0.05, "hang_timeout_s": 30.0, "drain_timeout_s": 30.0}
            | dict(self.failure),
        }

    def plan(self, folder: Path) -> dict[str, Any]:
        """What the ranks are told; the configuration is written."""
        config = None
        if self.coupled:
            config = folder / f"{self.name}.yaml"
            config.write_text(yaml.safe_dump(self.config()))
        return {
            "folder": str(folder / self.name),
            "config": None if config is None else str(config),
            "steps": self.steps,
            "streams": list(self.policies),
            "settles": self.settles,
            "awaits_failure": self.awaits_failure,
            "step_s": self.step_s,
            "fault": dict(self.fault),
        }


@dataclass(frozen=True)
class Row:
    outcome: str
    status: str
    reason: str
    attempts: int


class Outcome:
    """What an episode left in its folder."""

    def __init__(self, folder: Path, episode: Episode) -> None:
        self.folder, self.steps, self.streams = folder, episode.steps, list(episode.policies)

    @property
    def events(self) -> list[Event]:
        return read_events(self.folder)

    def named(self, event: str) -> list[Event]:
        return [one for one in self.events if one.event == event]

    @property
    def counts(self) -> Counter[str]:
        return Counter(event.event for event in self.events)

    @property
    def rows(self) -> dict[tuple[str, int, int], Row]:
        """By stream, rank and step; each once."""
        found = {}
        for path in sorted(self.folder.glob("ledger-*.csv")):
            with path.open(newline="") as file:
                for line in csv.DictReader(file):
                    key = line["stream"], int(line["rank"]), int(line["step"])
                    assert key not in found, f"{key} is in the books twice"
                    found[key] = Row(line["outcome"], line["status"], line["reason"], int(line["attempts"]))
        return found

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(row.outcome for row in self.rows.values())

    def of(self, rank: int, stream: str = "heat") -> list[str]:
        """Outcomes of a rank's frames in the order of their steps."""
        return [row.outcome for key, row in sorted(self.rows.items()) if key[:2] == (stream, rank)]

    def row(self, rank: int, step: int, stream: str = "heat") -> Row:
        return self.rows[stream, rank, step]

    @property
    def answers(self) -> list[dict[str, Any]]:
        lines = [line for path in self.folder.glob("results-*.jsonl") for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def check_state(self) -> None:
        """The simulation computed what it computes alone, bit by bit."""
        strips = [np.load(path) for path in sorted(self.folder.glob("strip-*.npy"))]
        assert np.concatenate(strips).tobytes() == expected(self.steps).tobytes()

    def check_books(self, ranks: int) -> None:
        """One row for each frame, and an answer for each that is said to be inferred."""
        assert set(self.rows) == set(product(self.streams, range(ranks), range(self.steps)))
        books = json.loads((self.folder / "books.json").read_text())
        assert books["balanced"], books
        assert books["published"] == len(self.rows)
        assert {key: count for key, count in self.outcomes.items() if key != "inferred"} == books["dropped"]
        self.check_answers()

    def check_answers(self) -> None:
        answered = Counter((answer["stream"], answer["rank"], answer["step"]) for answer in self.answers)
        inferred = {key for key, row in self.rows.items() if row.outcome == "inferred"}
        assert inferred <= set(answered)
        assert max(answered.values(), default=1) <= 2  # once more only where its worker died with the answer written

    def check_estate(self) -> None:
        """Every dead rank's ledger was ended by the worker: no frame that it published is missing."""
        died = self.named("simulation_died")
        assert died
        for event in died:
            rows = sum(rank == event.fields["rank"] for _, rank, _ in self.rows)
            assert rows == event.fields["rows"]
            assert event.fields["published"] <= rows <= event.fields["published"] + 1
        self.check_answers()

    def check_nothing_left(self) -> None:
        """No segment in shared memory and no process."""
        (run,) = {event.fields["run"] for event in self.named("attach")}
        pids = [int(event.fields["pid"]) for event in self.events if event.event in ("worker_started", "attach")]
        end = time.monotonic() + GONE_TIMEOUT_S
        left: list[Any] = [None]
        while left and time.monotonic() < end:
            left = [*SHARED_MEMORY.glob(f"cdi-{run}-*"), *(pid for pid in pids if started_at(pid) is not None)]
            time.sleep(0.05)
        assert not left, f"left behind: {left}"


class Launched:
    """A run under way, in a process group of its own."""

    def __init__(
        self,
        folder: Path,
        ranks: int,
        episodes: Sequence[Episode],
        *,
        command: Sequence[str] = (),
        python: str = sys.executable,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.episodes = folder, episodes
        plan = folder / "plan.json"
        plan.write_text(json.dumps([episode.plan(folder) for episode in episodes]))
        self._streams = [(folder / name).open("wb") for name in ("stdout", "stderr")]
        command = command or [str(mpiexec())]
        paths = os.pathsep.join([str(HERE), environment()["PYTHONPATH"]])
        self.process = subprocess.Popen(
            [*command, "-n", str(ranks), python, str(HERE / "fault_simulation.py"), str(plan)],
            env=environment() | {"PYTHONPATH": paths} | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=self._streams[0],
            stderr=self._streams[1],
            start_new_session=True,
        )
        self.code: int | None = None

    def wait(self, timeout_s: float = HARD_TIMEOUT_S) -> "Launched":
        """Until the launcher has ended."""
        try:
            self.code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the run hangs\n{self.stderr}\n{self._told()}") from None
        finally:
            self.kill()
        return self

    def wait_for(self, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
        """Until ``condition`` holds, while the run goes on."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end or self.process.poll() is not None:
                self.kill()
                raise AssertionError(f"it did not come to that\n{self.stderr}\n{self._told()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End what is left of it."""
        if self._streams:  # once: its number may be another's later
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        while self._streams:
            self._streams.pop().close()

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text()

    def outcome(self, name: str = "") -> Outcome:
        episode = next(one for one in self.episodes if not name or one.name == name)
        return Outcome(self.folder / episode.name, episode)

    def _told(self) -> str:
        return "\n".join(str(event) for one in self.episodes for event in read_events(self.folder / one.name))
