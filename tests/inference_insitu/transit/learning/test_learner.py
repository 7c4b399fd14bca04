"""The learner beside a run, with a log in memory: what is collected, judged, taken over and given back."""

import json
import threading

import numpy as np
import pytest
import yaml
from learning_twins import OffsetTrainer
from transit_twins import MemoryLog, frame

from cdi.errors import RunError
from inference_insitu.transit.engines.job import TransitJob
from inference_insitu.transit.learning import learner as learner_module
from inference_insitu.transit.learning.collecting import Collecting
from inference_insitu.transit.learning.config import LearningConfig, ReservoirConfig, RuleConfig
from inference_insitu.transit.learning.learner import Learner
from inference_insitu.transit.log.codec import encoded
from inference_insitu.transit.log.records import Answer, Move, Said
from inference_insitu.transit.log.retention import LEARNER, MOST_BEHIND, pass_over
from inference_insitu.transit.log.stream_log import ANSWERS, MOVES, LogAway, Topic, frames_topic
from inference_insitu.transit.migration.protocol import Ended, Site
from inference_insitu.watching.events import EventLog, read_events

TOPIC = frames_topic("run", "pattern", 0, 1)
SHIFT = 0.5
"""What the run's truth differs by from what the model says; in the frozen set it differs by half of that."""


class Run:
    """A run whose log lies in memory; a takeover that is asked for is committed at the next step."""

    def __init__(self, folder, monkeypatch, **config):
        self.folder, self.log, self.step, self.events = folder, MemoryLog(), 0, []
        coupling = {
            "streams": {"pattern": {"analysis": "offset"}},
            "analyses": {"offset": {"plugin": "learning_twins:Offset"}},
        }
        (folder / "coupling.yaml").write_text(yaml.safe_dump(coupling))
        TransitJob("run", str(folder / "coupling.yaml"), str(folder / "transit")).write()
        monkeypatch.setattr(TransitJob, "open_log", lambda job, patience_s=None: self.log)
        monkeypatch.setattr(learner_module, "take_over", self.take_over)
        monkeypatch.setattr(learner_module.os, "nice", lambda by: None)
        self.frozen = folder / "frozen.json"
        self.frozen.write_text(json.dumps([[0.1 * n, 0.1 * n + SHIFT / 2] for n in range(30)]))
        told = {"analysis": "offset", "plugin": "learning_twins:OffsetTrainer", "frozen": str(self.frozen)}
        rule = RuleConfig(least=5, worse_by=0.01, resamples=300, regression_frames=40)
        self.config = LearningConfig(
            **(told | {"every": 40, "rule": rule, "reservoir": ReservoirConfig(40, 20, 0.3)} | config)
        )
        self.version = 0

    def learner(self):
        return Learner(self.folder, self.config, lambda line: None)

    def take_over(self, output, analysis, version, *, timeout_s, say):
        self.say(Move("run", Said.JOINED, worker=0, step=1))
        asked = self.say(Move("run", Said.REQUEST, analysis=analysis, number=version))
        for said in (Said.READY, Said.INSTALLED):
            self.say(Move("run", said, id=asked, worker=0, step=self.step))
        self.version = version
        return Ended(asked, Site.IN_TRANSIT, self.step + 3, "", analysis, version)

    def say(self, move):
        return self.log.append(Topic("run", MOVES), encoded(move))

    def frames(self, count, *, truth=lambda value: {"is": value + SHIFT}, said=None):
        """``count`` frames, each with its truth, and what was answered where ``said`` is given."""
        for _ in range(count):
            value = float(np.sin(self.step))
            told = {"truth": truth(value)}
            one = frame(self.step, array=np.full((2, 3), value), attributes=told)
            self.log.append(TOPIC, encoded(one), once=one.once)
            if said is not None:
                answer = Answer("run", "pattern", self.step, 0, "offset", "m", "inferred", {"said": said(value)})
                self.log.append(Topic("run", ANSWERS), encoded(answer))
            self.step += 1

    def told(self, name):
        return [one.fields for one in read_events(self.folder) if one.event == name]

    def collecting(self, see=lambda one: None):
        return Collecting(
            TransitJob.read(self.folder / "transit" / "job.json"),
            self.log,
            self.folder / "learning",
            "offset",
            self.config.reservoir,
            OffsetTrainer(),
            see,
            EventLog(self.folder / "events-learner.jsonl", "learner"),
        )

    def learn(self, until, *, rounds=200):
        """Look until something is so, the thread that collects having its time."""
        stop, learner = threading.Event(), self.learner()
        look, counted = learner._look, iter(range(rounds))

        def looked(background, log):
            found = look(background, log)
            if until() or next(counted, None) is None:
                stop.set()
            return found

        learner._look = looked
        learner.learn(stop)
        assert until(), [(one.event, one.fields) for one in read_events(self.folder)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(learner_module, "LOOK_S", 0.01)
    return Run(tmp_path, monkeypatch)


def test_a_better_version_takes_over_and_what_it_was_found_to_be_worth_is_told(run):
    run.frames(80)
    run.learn(lambda: run.version == 1)
    (accepted,) = run.told("version_accepted")
    held_out, frozen = (accepted["figures"][name] for name in ("held_out", "frozen"))
    assert held_out["old"] == pytest.approx(np.exp(-SHIFT), abs=1e-3)
    assert held_out["new"] == pytest.approx(1.0, abs=1e-3)
    assert frozen["new"] == pytest.approx(frozen["old"], abs=1e-3), "as far on the other side of the truth"
    described = json.loads((run.folder / "transit/versions/offset-1.json").read_text())
    assert (described["of"], described["record"]["frozen_sha256"]) == (0, learner_frozen(run))


def learner_frozen(run):
    return json.loads((run.folder / "transit/learning/frozen.json").read_text())["sha256"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"spoil": 1.0}, "it must be better on held-out frames"),
        ({"spoil": 0.1}, "it must not be worse on the frozen set"),
        ({"broken": True}, "KeyError: 'offset'"),
    ],
)
def test_a_version_that_is_worse_or_does_not_load_is_refused_and_its_weights_go(tmp_path, monkeypatch, options, why):
    monkeypatch.setattr(learner_module, "LOOK_S", 0.01)
    run = Run(tmp_path, monkeypatch, options=options)
    run.frames(80)
    run.learn(lambda: bool(run.told("version_refused")))
    assert why in run.told("version_refused")[0]["why"]
    assert run.version == 0
    assert not [*(tmp_path / "transit/versions").glob("*.weights")]


def test_the_learner_ends_with_the_run_and_with_a_log_that_does_not_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(learner_module, "LOOK_S", 0.01)
    run = Run(tmp_path, monkeypatch, timeout_s=0.2)
    learner = run.learner()
    monkeypatch.setattr(run.log, "read", away)
    learner.learn(threading.Event())
    monkeypatch.undo()
    assert [one.event for one in read_events(tmp_path)][-1] == "learning_stopped"


def away(topic, **_):
    raise LogAway("nobody answers")


def test_the_learner_ends_once_every_worker_has(run):
    run.say(Move("run", Said.JOINED, worker=0, step=1))
    run.say(Move("run", Said.GONE, worker=0))
    run.learner().learn(threading.Event())
    assert run.told("learning_stopped")


def test_a_version_that_turns_out_to_be_worse_goes_again(run):
    run.frames(80)
    run.learn(lambda: run.version == 1)
    run.step += 3
    run.frames(60, truth=lambda value: {"is": value}, said=lambda value: value + SHIFT)  # the world has changed back
    run.learn(lambda: run.version == 0)
    (back,) = run.told("version_rolled_back")
    assert (back["version"], back["to"]) == (1, 0)
    assert back["figures"]["high"] < 0


def test_a_frozen_set_that_changed_ends_the_learning_with_the_reason(run):
    run.learner()
    run.frozen.write_text(json.dumps([[0.0, 0.0]] * 30))
    with pytest.raises(RunError, match=r"the frozen set .* must stay as it was"):
        run.learner()


def test_a_truth_that_is_none_is_set_aside_and_counted(run):
    bad = [{"is": "much"}, {"is": True}, {"more": 1}, "text", {"is": 1.0, "crystal": [1]}]
    for one in bad:
        run.frames(1, truth=lambda value, one=one: one)
    broken = frame(98, array=np.full((2, 3), np.nan), attributes={"truth": {"is": 1.0}})
    run.log.append(TOPIC, encoded(broken))
    run.log.append(TOPIC, encoded(frame(99)))  # none at all
    run.frames(4)
    collecting = run.collecting()
    assert collecting.poll()
    assert (collecting.aside, collecting.came) == (6, 4)
    assert len(collecting.training.files) + len(collecting.held_out.files) == 4
    assert len(run.told("truth_set_aside")) == 1, "one line, and the count"


def test_no_frame_is_on_both_sides_and_none_is_taken_twice(run):
    run.frames(60)
    first = run.collecting()
    while first.poll():
        pass
    run.log.commit(TOPIC, LEARNER, 0)  # what it had committed is lost
    run.frames(20)
    again = run.collecting()
    while again.poll():
        pass
    sides = [{one.step for one in again.examples(side)} for side in (again.training, again.held_out)]
    assert not sides[0] & sides[1]
    assert again.training.seen + again.held_out.seen == 80
    assert (len(sides[0]), len(sides[1])) == (40, min(20, again.held_out.seen))


def test_a_kill_between_the_two_reservoirs_costs_no_frame(run):
    run.frames(30)
    first = run.collecting()

    def killed(source, reached):
        raise KeyboardInterrupt

    first.held_out.commit = killed
    with pytest.raises(KeyboardInterrupt):
        first.poll()
    again = run.collecting()
    while again.poll():
        pass
    assert again.training.seen + again.held_out.seen == 30
    assert again.held_out.seen > 0
    assert again.missed == 0


def test_the_log_does_not_wait_for_a_learner_that_is_far_behind(run):
    collecting = run.collecting()
    run.frames(MOST_BEHIND)
    assert not pass_over(run.log, TOPIC)
    run.frames(1)
    assert pass_over(run.log, TOPIC)
    assert LEARNER not in run.log.committed(TOPIC)
    run.log.trim(TOPIC, through=100)
    while collecting.poll():
        pass
    assert collecting.missed == 100
    assert run.log.committed(TOPIC)[LEARNER] == MOST_BEHIND + 1
    collecting.close()
    assert LEARNER not in run.log.committed(TOPIC)


def test_a_kept_frame_that_was_damaged_is_told_and_left_out(run):
    run.frames(20)
    collecting = run.collecting()
    collecting.poll()
    path = collecting.training.files[0]
    path.write_bytes(path.read_bytes()[:-3])
    assert len(collecting.examples(collecting.training)) == len(collecting.training.files) - 1
    assert run.told("frame_damaged")[0]["file"] == str(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"analysis": "ofset"}, "analysis must be one of offset, got 'ofset'"),
        ({"plugin": "defect"}, "did you mean 'defects'"),
        ({"plugin": "learning_twins:Offset"}, "plugin must have checked, score, frozen, trained"),
        ({"plugin": "learning_twins:Nothing"}, "must name an importable module:object"),
        ({"frozen": "/nowhere"}, "/nowhere must be a file that can be read"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_learnt(tmp_path, monkeypatch, change, why):
    with pytest.raises(ValueError, match=why):
        Run(tmp_path, monkeypatch, **change).learner()


def test_an_empty_frozen_set_judges_nothing(tmp_path, monkeypatch):
    run = Run(tmp_path, monkeypatch)
    run.frozen.write_text("[]")
    with pytest.raises(ValueError, match="the frozen set must hold frames, got none"):
        run.learner()
