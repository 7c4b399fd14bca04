"""Two workers and a ring between them: each frame is answered once, in turn, and what was kept goes along."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from counting import Counting
from rings import frame, make_ring

from inference_insitu.inference.batching import BatchConfig, Batcher
from inference_insitu.inference.outputs import Outputs
from inference_insitu.inference.service import Served, Service
from inference_insitu.inference.sinks import AnswersFile
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.region import Region
from inference_insitu.sharing import handing as handing_module
from inference_insitu.sharing.handing import Handing, Kept
from inference_insitu.sharing.holding import begin, decline, holder, want
from inference_insitu.watching.events import EventLog, read_events
from inference_insitu.watching.metrics import Metrics

SLOTS = 8


@dataclass
class Worker:
    """One of two, in this process."""

    number: int
    region: Region
    folder: Path

    def __post_init__(self):
        self.analysis = Counting()
        self.events = EventLog(self.folder / f"events-worker{self.number}.jsonl", f"worker{self.number}")
        answers = AnswersFile(self.folder / f"results-{self.number}-0.jsonl")
        metrics = Metrics(self.folder / f"metrics-{self.number}.prom", worker=str(self.number))
        consumers = [Consumer(self.region, pid=1)] if holder(self.region) == self.number else []
        self.service = Service(
            consumers,
            {"count": self.analysis},
            {"a": Served("count")},
            Batcher({"count": BatchConfig(size=4, delay_s=0.0)}),
            Outputs(answers, self.events, metrics),
        )
        kept = Kept(self.folder, {"count": self.analysis}, {"a": "count"})
        self.handing = Handing(self.number, [self.region], self.service, kept, self.ready, self.events)
        self.handing.begin()
        for one in consumers:
            self.ready(one)

    def ready(self, consumer):
        consumer.state = Side.READY

    def look(self):
        self.handing.progress()
        self.service.serve_once()

    def answered(self):
        lines = (self.folder / f"results-{self.number}-0.jsonl").read_text().splitlines()
        return [(one["step"], one["values"]["seen"]) for one in map(json.loads, lines)]


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(handing_module, "LOOK_S", 0.0)
    ring = make_ring(slots=SLOTS, path=tmp_path / "ring")
    begin(ring.region, 0)
    return (
        ring,
        Worker(0, Region.open(tmp_path / "ring"), tmp_path),
        Worker(1, Region.open(tmp_path / "ring"), tmp_path),
    )


def publish(ring, steps):
    for step in steps:
        assert ring.producer.publish("a", frame(step), step)


def test_a_ring_changes_hands_between_two_batches_with_what_was_kept(made, tmp_path):
    ring, first, second = made
    publish(ring, range(6))
    first.look()  # answers four
    want(ring.region, 1)
    first.look()
    assert holder(ring.region) == 0, "the next reader is not there yet"
    publish(ring, range(6, 8))
    second.look()
    assert second.handing.expects
    first.look()
    assert holder(ring.region) == 1
    assert second.handing.expects, "it must not end before it takes what is its own by now"
    assert not first.service.consumers
    assert ring.region.words[Word.CONSUMER_STATE] == Side.READY, "nobody notices"
    for _ in range(4):
        first.look()
        second.look()
    answered = first.answered() + second.answered()
    assert answered == [(step, step + 1) for step in range(8)]
    assert first.answered()
    assert second.answered()
    assert not list(tmp_path.glob("handed-*"))
    assert [event.event for event in read_events(tmp_path)].count("ring_given") == 1


def test_who_has_given_a_ring_away_writes_no_frame_to_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(handing_module, "LOOK_S", 0.0)
    ring = make_ring(PolicyConfig("spill"), slots=1, staged=2, path=tmp_path / "ring", spill=tmp_path / "spill")
    begin(ring.region, 0)
    first, second = (Worker(number, Region.open(tmp_path / "ring"), tmp_path) for number in (0, 1))
    publish(ring, range(3))
    (given,) = first.service.consumers
    want(ring.region, 1)
    for worker in (second, first, second):
        worker.handing.progress()
    assert not given.move()
    (taken,) = second.service.consumers
    assert taken.move()
    second.look()
    assert second.answered() == [(step, step + 1) for step in range(3)]


def test_it_comes_back_with_the_other_s_count(made):
    ring, first, second = made
    publish(ring, range(3))
    first.look()
    want(ring.region, 1)
    for worker in (second, first, second):
        worker.look()
    publish(ring, range(3, 6))
    second.look()
    want(ring.region, 0)
    for worker in (first, second, first):
        worker.look()
    publish(ring, range(6, 8))
    first.look()
    assert sorted(first.answered() + second.answered()) == [(step, step + 1) for step in range(8)]


def test_a_taker_that_dies_before_it_takes_finds_what_was_kept(made, tmp_path):
    ring, first, second = made
    publish(ring, range(3))
    first.look()
    want(ring.region, 1)
    second.look()
    first.look()
    again = Worker(1, Region.open(tmp_path / "ring"), tmp_path)
    publish(ring, range(3, 5))
    again.look()
    assert again.answered() == [(3, 4), (4, 5)]


def test_a_giver_goes_on_where_nobody_comes_and_where_the_ring_ends(made):
    ring, first, second = made
    want(ring.region, 1)
    publish(ring, range(2))
    first.look()
    decline(ring.region)
    second.look()
    first.look()
    assert holder(ring.region) == 0
    want(ring.region, 1)
    second.look()
    ring.producer.announce_end()
    first.look()
    assert holder(ring.region) == 0, "what ends is ended by who reads it"
    assert not second.handing.expects
    assert first.answered() == [(0, 1), (1, 2)]


def test_a_state_that_does_not_fit_is_told_and_frames_are_answered(made, tmp_path):
    ring, first, second = made
    publish(ring, range(2))
    first.look()
    second.analysis.model = "another"
    want(ring.region, 1)
    for worker in (second, first, second):
        worker.look()
    publish(ring, range(2, 3))
    second.look()
    assert second.answered() == [(2, 1)]
    assert [event.event for event in read_events(tmp_path)].count("state_lost") == 1


def test_a_state_that_cannot_be_kept_leaves_the_ring_where_it_is(made, tmp_path, monkeypatch):
    ring, first, second = made
    publish(ring, range(2))
    first.look()
    monkeypatch.setattr(first.analysis, "state", lambda stream, rank: 1 / 0)
    want(ring.region, 1)
    second.look()
    first.look()
    assert holder(ring.region) == 0
    assert [event.event for event in read_events(tmp_path)].count("ring_kept") == 1


def test_nothing_is_taken_of_an_earlier_try_to_give(made):
    ring, first, second = made
    publish(ring, range(2))
    first.look()
    kept = first.handing._kept
    assert kept.leave(first.region, 0, worker=1) > 0
    first.analysis.install("a", 0, b"")  # started anew: it keeps nothing
    assert kept.leave(first.region, 0, worker=1) == 0
    second.analysis.install("a", 0, b"9")
    assert second.handing._kept.take(second.region, 0, worker=1) == ""
    assert second.analysis.state("a", 0) == b""


def test_a_worker_whose_simulation_has_died_serves_a_ring_of_one_that_lives(made, tmp_path):
    ring, first, _ = made
    ring.region.words[Word.OWNER_STARTED] += 1  # that process is no more
    assert first.service.ending
    living = make_ring(slots=SLOTS, path=tmp_path / "living")
    first.service.join(living.consumer)
    assert not first.service.ending
