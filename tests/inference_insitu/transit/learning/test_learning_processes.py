"""A run of real processes is learnt from: a version takes over, and goes again when the world has changed."""

import json
import os
import signal
import sys

import pytest
import yaml
from learned_simulation import CHANGED, SHIFT
from moving_run import MovingRun

from inference_insitu.watching.account import account
from inference_insitu.watching.events import read_events

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.timeout(1500)]


class LearnedRun(MovingRun):
    """A run with a learner beside it."""

    def __init__(self, folder, **given):
        super().__init__(folder, plugin="learning_twins:Offset", simulation="learned_simulation.py", **given)
        frozen = folder / "frozen.json"
        frozen.write_text(json.dumps([[0.1 * n, 0.1 * n + SHIFT / 2] for n in range(30)]))
        self._config = folder / "learning.yaml"
        told = {"analysis": "summed", "plugin": "learning_twins:OffsetTrainer", "frozen": str(frozen), "every": 60}
        told |= {"reservoir": {"frames": 60, "held_out": 30}, "rule": {"least": 6, "worse_by": 0.01}, "nice": 0}
        self._config.write_text(yaml.safe_dump(told))
        self.learner = None

    def learn(self):
        command = [sys.executable, "-m", "cdi", "insitu", "learn", self.folder, "--config", self._config]
        self.learner = self._started(*command)

    def told(self, name):
        return [one.fields for one in read_events(self.folder) if one.event == name]

    def clear(self):
        super().clear()
        if self.learner is not None and self.learner.poll() is None:
            os.killpg(self.learner.pid, signal.SIGKILL)

    def assert_learnt(self):
        """Each step once and in order, by the model of its step; the books balance."""
        found = account(self.folder)
        assert found["problems"] == [], self.said()
        assert found["in_transit"]["in_log"] == 0
        took_over = sorted({(one["cut"], one["version"]) for one in self.told("version_took_over")})
        assert [version for _, version in took_over][:2] == [1, 0]
        models = {}
        for path in self.folder.glob("results-*.jsonl"):
            for line in path.read_text().splitlines():
                row = json.loads(line)
                assert models.setdefault((row["rank"], row["step"]), row["model"]) == row["model"]
        for rank in range(self.simulating):
            steps = json.loads((self.folder / f"simulated-{rank}.json").read_text())["steps"]
            assert [step for one, step in sorted(models) if one == rank] == list(range(steps))
            for step in range(steps):
                version = [0, *(number for cut, number in took_over if step >= cut)][-1]
                assert (models[rank, step] == "offset 0") == (version == 0), (rank, step, version)


@pytest.mark.parametrize("kind", ["plain", "flink"])
def test_a_version_takes_over_while_the_run_goes_on_and_goes_again_once_it_is_worse(tmp_path, needs, kind):
    needs(kind)
    run = LearnedRun(tmp_path, engine=kind)
    try:
        run.ready()
        run.learn()
        run.move("in_transit")
        run.until(lambda: run.told("learning_started"), "the learner")
        os.killpg(run.learner.pid, signal.SIGKILL)
        run.learner.wait()
        run.learn()
        run.until(lambda: run.told("version_took_over"), "a version")
        (run.folder / CHANGED).touch()
        run.until(lambda: run.told("version_rolled_back"), "the way back")
        run.move("in_situ")
        run.end()
        assert run.learner.wait(120) == 0, run.said()
        run.assert_learnt()
    finally:
        run.clear()
