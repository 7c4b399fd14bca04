"""A coupled run of real processes whose query moves: ranks, workers, a Redis, an engine; each can be killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import yaml
from launching import environment
from moving_simulation import PAUSE, PAUSED, STOP, advance, initial

from inference_insitu.placement.launcher import mpiexec
from inference_insitu.ring.processes import runs
from inference_insitu.transit.engines.job import NAME, TransitJob
from inference_insitu.transit.log.records import Move, Said
from inference_insitu.transit.migration.moves import Moves
from inference_insitu.transit.migration.moving_worker import FOLDER
from inference_insitu.watching.account import account
from inference_insitu.watching.events import read_events

HERE = Path(__file__).parent
PATIENCE_S, ENGINE_PATIENCE_S = 120.0, 600.0
"""For each thing that is waited for; an engine of its own environment takes a minute to start, and is killed too."""
PHASES = {
    "begun": lambda agreement: agreement.migration is not None,
    "ready": lambda agreement: agreement.migration is not None and agreement.migration.ready,
    "cut": lambda agreement: agreement.cut is not None,
    "installed": lambda agreement: agreement.migration is not None and agreement.migration.installed,
    "committed": lambda agreement: False,
}
"""When a phase is reached; that a migration has ended counts for all of them."""


class MovingRun:
    """``simulating`` ranks and ``workers`` of a run in ``folder``; another process keeps its log and engine."""

    def __init__(
        self,
        folder,
        *,
        simulating=2,
        workers=1,
        engine="flink",
        margin=2,
        plugin="transit_twins:Summed",
        simulation="moving_simulation.py",
    ):
        self.folder, self.simulating, self.margin, self.engine = folder / "run", simulating, margin, engine
        self.killed, self.first_worker_death = Counter(), None
        self.patience_s = PATIENCE_S if engine == "plain" else ENGINE_PATIENCE_S
        config = folder / "coupling.yaml"
        config.write_text(yaml.safe_dump(coupling(workers, margin, plugin)))
        self.output = folder / "output"
        ranks = [mpiexec(), "-n", simulating + workers, sys.executable, "-m", "mpi4py"]
        self.simulation = self._started(*ranks, HERE / simulation, config, self.folder)
        self.serving = self._started(sys.executable, HERE / "moving_serving.py", self.folder, engine)

    def serve_again(self, number):
        """What keeps log and engine gets the signal ``number``, and is started anew."""
        self.serving.send_signal(number)
        self.serving.wait(self.patience_s)
        told = self.output.read_text().count("the engine runs")
        self.serving = self._started(sys.executable, HERE / "moving_serving.py", self.folder, self.engine)
        self.until(lambda: self.output.read_text().count("the engine runs") > told, "the engine")

    def _started(self, *command):
        with self.output.open("ab") as output:
            paths = f"{HERE}{os.pathsep}{environment()['PYTHONPATH']}"
            return subprocess.Popen(
                [str(word) for word in command],
                env=environment() | {"PYTHONPATH": paths},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def ready(self):
        """Until every worker has joined the log and the engine runs."""
        self.until(lambda: "the engine runs" in self.output.read_text(), "the engine")
        job = TransitJob.read(self.folder / FOLDER / NAME)
        self.run, self.moves = job.run, Moves(job.open_log(), job.run, margin=self.margin)
        self.until(lambda: len(self.agreement.workers) == self.agreement.expected > 0, "the workers")

    @property
    def agreement(self):
        while self.moves.poll():
            pass
        return self.moves.agreement

    def until(self, ask, what):
        end_s = time.monotonic() + self.patience_s
        while not ask():
            assert self.serving.poll() is self.simulation.poll() is None, self.said()
            assert time.monotonic() < end_s, f"{what} did not come within {self.patience_s} s: {self.said()}"
            time.sleep(0.002)

    def said(self):
        engine = self.folder / FOLDER / "engine.log"
        events = [f"{one.who} {one.event} {one.fields}" for one in read_events(self.folder)[-15:]]
        tail = engine.read_text(errors="replace")[-1500:] if engine.exists() else ""
        return "\n".join([self.output.read_text()[-2000:], *events, tail])

    def move(self, to, phase=None, victim=None):
        """Ask until it has moved ``to`` a site; ``victim`` is killed once the first try comes to ``phase``."""
        self._until_it_is(lambda: self.agreement.site == to, {"to": to}, phase, victim)

    def take_over(self, version, phase=None, victim=None):
        """The same for a version of the analysis."""
        asked = {"analysis": "summed", "number": version}
        self._until_it_is(lambda: self.agreement.version("summed") == version, asked, phase, victim)

    def _until_it_is(self, done, request, phase, victim):
        end_s = time.monotonic() + self.patience_s
        while not done():
            assert time.monotonic() < end_s, self.said()
            asked = self.moves.say(Move(self.run, Said.REQUEST, **request))
            if victim is not None:
                self.until(lambda at=asked: PHASES[phase](self.agreement) or self._ended(at), phase)
                self.kill(victim)
                victim = None
            self.until(lambda at=asked: self._ended(at), f"the end of {request}")
        if victim is not None:
            self.kill(victim)

    def _ended(self, asked):
        last = self.agreement.last
        return last is not None and last.id >= asked

    def kill(self, victim):
        pid = self.pid(victim)
        if victim == "worker" and self.first_worker_death is None:
            answered = [row for name in ("ledger-*.csv", "transit-*.csv") for row in self.rows(name)]
            last = [
                max((step for one, step, outcome in answered if one == rank and outcome == "inferred"), default=-1)
                for rank in range(self.simulating)
            ]
            self.first_worker_death = min(last) + 1
        (os.killpg if victim == "engine" else os.kill)(pid, signal.SIGKILL)
        self.killed[victim] += 1

    def kill_unseen(self, unseen_s):
        """The worker dies as the simulation ends; who watches over it sees nothing of that for ``unseen_s``."""
        keeper = int(Path(f"/proc/{self.pid('worker')}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(keeper, signal.SIGSTOP)
        self.kill("worker")
        (self.folder / STOP).touch()
        time.sleep(unseen_s)
        os.kill(keeper, signal.SIGCONT)

    def pid(self, victim):
        """The process that is ``victim`` now; of several workers the first."""
        if victim == "worker":
            started = [one for one in read_events(self.folder) if (one.who, one.event) == ("worker0", "worker_started")]
            return started[-1].fields["pid"]
        path = self.folder / FOLDER / ("engine.process" if victim == "engine" else "log/server.process")
        self.until(lambda: runs(*map(int, path.read_text().split())), victim)
        return int(path.read_text().split()[0])

    def pause(self):
        """Nothing more is published, and everything is answered."""
        (self.folder / PAUSE).touch()
        self.until((self.folder / PAUSED).exists, "the pause")
        steps = int((self.folder / PAUSED).read_text())
        self.until(lambda: self._inferred() == steps * self.simulating, "the last answers")

    def _inferred(self):
        rows = [row for name in ("ledger-*.csv", "transit-*.csv") for row in self.rows(name)]
        return sum(outcome == "inferred" for _, _, outcome in rows)

    def end(self):
        """Stop the simulation and wait until all have ended by themselves."""
        (self.folder / STOP).touch()
        assert self.simulation.wait(self.patience_s) == 0, self.said()
        assert self.serving.wait(self.patience_s) == 0, self.said()

    def clear(self):
        """Leave nothing behind, whatever has happened."""
        if self.simulation.poll() is None:
            os.killpg(self.simulation.pid, signal.SIGKILL)
        self.serving.terminate()  # log and engine end with it
        self.serving.wait(self.patience_s)

    def rows(self, pattern):
        """(rank, step, outcome) of the files of ``pattern``, in their order."""
        found = []
        for path in sorted(self.folder.glob(pattern)):
            with path.open(newline="") as file:
                found += [(int(row["rank"]), int(row["step"]), row["outcome"]) for row in csv.DictReader(file)]
        return found

    def assert_whole(self):
        """Each step was answered once and in order; sums and the simulation's numbers are those of a run alone."""
        found = account(self.folder)
        assert found["problems"] == [], self.said()
        assert found["in_transit"]["in_log"] == 0
        assert found["handed_over"] > 0
        here, away = self.rows("ledger-*.csv"), self.rows("transit-*.csv")
        assert {outcome for _, _, outcome in here} <= {"inferred", "handed_over"}, Counter(row[2] for row in here)
        assert {outcome for _, _, outcome in away} == {"inferred"}, Counter(row[2] for row in away)
        for rank in range(self.simulating):
            said = json.loads((self.folder / f"simulated-{rank}.json").read_text())
            inferred = [[s for r, s, outcome in rows if r == rank and outcome == "inferred"] for rows in (here, away)]
            for steps in inferred:
                assert steps == sorted(steps), "in order"
            assert sorted(inferred[0] + inferred[1]) == list(range(said["steps"])), "each once"
            self._assert_sums(rank, said)

    def _assert_sums(self, rank, said):
        """Up to a worker's death, which takes what its analysis remembers with it, the answers carry the whole past."""
        answers = {}
        for path in sorted(self.folder.glob("results-*.jsonl")):
            for line in path.read_text().splitlines():
                row = json.loads(line)
                if row["rank"] == rank:
                    answers.setdefault(row["step"], row["values"]["sum"])
        state, total = initial(rank), 0.0
        for step in range(said["steps"]):
            advance(state)
            total += state.sum()
            if self.first_worker_death is None or step < self.first_worker_death:
                assert answers[step] == total, (rank, step)
        assert state.tolist() == said["state"]


def coupling(workers, margin, plugin):
    """Rings that take whatever comes while nobody reads."""
    return {
        "streams": {"pattern": {"analysis": "summed", "policy": {"kind": "drop_newest"}, "steps": 4096}},
        "analyses": {"summed": {"plugin": plugin, "batch": {"size": 32}}},
        "placement": {"kind": "cores", "ranks": workers},
        "migration": {"margin": margin, "timeout_s": 60.0},
        "on_inference_failure": {"times": 100, "backoff_s": 0.05},
    }
