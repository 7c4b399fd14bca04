"""Moments that no run meets for certain: a frame that both sides leave, a death between two stores."""

import csv
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from inference_insitu.books.ledger import Ledger, ledger_name
from inference_insitu.coupling_config import FailureConfig, PlacementConfig
from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.batching import BatchConfig, Batcher
from inference_insitu.inference.estate import settle_estate
from inference_insitu.inference.outputs import Outputs
from inference_insitu.inference.service import Served, Service
from inference_insitu.inference.sinks import AnswersFile
from inference_insitu.inference.supervisor import LONGEST_BACKOFF_S, Supervisor
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Kind, Layout, Row, Side, SlotGroup, Word
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.producer import Producer
from inference_insitu.ring.region import Region
from inference_insitu.ring.stream import StreamPlan
from inference_insitu.watching.events import EventLog, read_events
from inference_insitu.watching.metrics import Metrics

LAYOUT = Layout((SlotGroup("heat", Kind.MEMORY, 4, 64),))
PLANS = {"heat": StreamPlan(PolicyConfig(kind="drop_newest"))}


class Counting(Analysis):
    def __init__(self):
        self.batches = []

    def answer(self, frames):
        self.batches.append([frame.step for frame in frames])
        return [{"mean": float(frame.array.mean())} for frame in frames]


@pytest.fixture
def bench(tmp_path):
    """A producer, its reader, and a service over it."""
    producer = Producer(Region.create(LAYOUT, rank=0), PLANS, Ledger(tmp_path, 0, origin_ns=0))
    consumer = Consumer(producer.region, pid=os.getpid())
    outputs = Outputs(AnswersFile(tmp_path / "results"), EventLog(None, "worker0"), Metrics(None, worker="0"))
    analysis = Counting()
    batcher = Batcher({"count": BatchConfig(size=8, delay_s=0.0)})
    return producer, consumer, Service([consumer], {"count": analysis}, {"heat": Served("count")}, batcher, outputs)


def test_a_frame_that_both_sides_left_to_the_other_is_found_again(bench):
    producer, consumer, service = bench
    producer.publish("heat", np.ones(8), 0)
    (ready,) = consumer.ready()
    slot = ready.slot
    claim = consumer.claim

    def just_then(frame):
        consumer.claim = claim
        slot.words[slot.base + Row.EVICT] = 1  # the producer asks for it back
        taken = claim(frame)
        slot.words[slot.base + Row.EVICT] = 0  # sees that it is taken, and lets it be
        return taken

    consumer.claim = just_then
    while service.serve_once():
        pass
    producer.poll()
    assert producer.open == 0


def test_a_frame_with_which_a_worker_died_goes_alone(bench):
    producer, consumer, service = bench
    for step in range(4):
        producer.publish("heat", np.ones(8), step)
    for ready in consumer.ready()[1:3]:
        consumer.claim(ready)
    assert consumer.recover() == (2, 0)  # the next life of the worker
    while service.serve_once():
        pass
    assert service._analyses["count"].batches == [[0, 3], [1], [2]]
    producer.poll()
    assert producer.open == 0


def test_books_are_whole_wherever_their_keeper_died(tmp_path):
    """Rows in the file, on their way to it and in both, a line that was cut, frames ready, taken and done."""
    path = tmp_path / "ring"
    pid = os.fork()
    if pid == 0:
        try:
            region = Region.create(LAYOUT, rank=3, path=path)
            ledger = Ledger(tmp_path, 3, origin_ns=0, journal=region.journal)
            producer = Producer(region, PLANS, ledger)
            consumer = Consumer(region, pid=0)
            for step in range(6):  # four fit
                producer.publish("heat", np.ones(8), step)
            ledger.flush()
            first, second, *_ = consumer.ready()
            consumer.settle(consumer.claim(first), "inferred")
            producer.publish("heat", np.ones(8), 6)  # finds the slot that is done
            producer.publish("heat", np.ones(8), 7)
            (tmp_path / ledger_name(3)).open("ab").write(bytes(region.journal[8:80]))  # dies as it writes
            consumer.settle(consumer.claim(second), "failed", "no, really")
            consumer.claim(consumer.ready()[0])
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    settle_estate(Consumer(Region.open(path), pid=os.getpid()), tmp_path, log := _log(tmp_path))
    log.close()
    with (tmp_path / ledger_name(3)).open(newline="") as file:
        rows = [(int(row["step"]), row["outcome"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [
        (0, "inferred"), (1, "failed"), (2, "unanswered"), (3, "undelivered"),
        (4, "full"), (5, "full"), (6, "undelivered"), (7, "full"),
    ]  # fmt: skip
    (died,) = read_events(tmp_path)
    assert (died.event, died.fields["published"], died.fields["rows"]) == ("simulation_died", 8, 8)
    assert not path.exists()


def test_an_estate_that_cannot_be_written_is_told_and_the_ring_goes(tmp_path):
    path = tmp_path / "ring"
    region = Region.create(LAYOUT, rank=0, path=path)
    region.words[Word.OWNER_PID] = 0
    settle_estate(Consumer(region, pid=0), tmp_path / "nowhere", log := _log(tmp_path))
    log.close()
    assert [event.event for event in read_events(tmp_path)] == ["estate_unwritten"]
    assert not path.exists()


def test_a_worker_that_the_system_does_not_start_is_tried_again_and_given_up(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    region = Region.create(LAYOUT, rank=0)
    supervisor = Supervisor(
        tmp_path / "spec",
        [region],
        failure=FailureConfig("restart", times=2, backoff_s=1e-3),
        placement=PlacementConfig(),
        events=(log := _log(tmp_path)),
    )
    end = time.monotonic() + 60
    while not supervisor.over and time.monotonic() < end:
        supervisor.poll()
    log.close()
    told = [event.event for event in read_events(tmp_path)]
    assert told == ["worker_not_started", "worker_died", "restart"] * 2 + [
        "worker_not_started",
        "worker_died",
        "gave_up",
    ]
    assert region.words[Word.SUPERVISOR_STATE] == Side.FAILED


def test_the_wait_before_a_restart_is_bounded(tmp_path):
    """Twice as long each time: the thousandth would be longer than a number holds."""
    region = Region.create(LAYOUT, rank=0)
    supervisor = Supervisor(
        tmp_path / "spec",
        [region],
        failure=FailureConfig("restart", times=10_000, backoff_s=0.5),
        placement=PlacementConfig(),
        events=(log := _log(tmp_path)),
    )
    for _ in range(2000):
        supervisor._ended(1)
    log.close()
    waits = [event.fields["wait_s"] for event in read_events(tmp_path) if event.event == "restart"]
    assert waits[:3] == [0.5, 1.0, 2.0]
    assert max(waits) == waits[-1] == LONGEST_BACKOFF_S


def _log(folder):
    return EventLog(folder / "events-worker0.jsonl", "worker0")
