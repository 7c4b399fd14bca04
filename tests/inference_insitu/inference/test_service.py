"""What a worker does with frames, whatever its analyses do: every one gets an outcome, and the next is served."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "ring"))

from rings import CAPACITY, RecordingLedger

from inference_insitu.inference.analysis import Analysis, build_analysis, plain_values
from inference_insitu.inference.batching import BatchConfig, Batcher
from inference_insitu.inference.outputs import Outputs
from inference_insitu.inference.service import Served, Service
from inference_insitu.inference.sinks import AnswersFile
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Kind, Layout, Side, SlotGroup
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.producer import Producer
from inference_insitu.ring.region import Region
from inference_insitu.ring.stream import StreamPlan
from inference_insitu.watching.events import EventLog, read_events
from inference_insitu.watching.metrics import Metrics


class Moody(Analysis):
    """Misbehaves where a frame's first value says so, and remembers what it was asked."""

    model = "moody 1"

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, int, int]]] = []

    def answer(self, frames):
        self.asked.append([(frame.stream, frame.rank, frame.step) for frame in frames])
        return [self._one(frame.array.flat[0]) for frame in frames]

    def _one(self, mood):
        if mood == 1:
            raise RuntimeError("no convergence")
        if mood == 2:
            raise MemoryError
        if mood == 3:
            return {"score": float("nan")}
        if mood == 4:
            return {"score": object()}
        if mood == 5:
            sys.exit(1)
        return {"score": np.float32(mood), "shape": (2, 3)}


class Bench:
    """Two simulation ranks with streams ``a`` and ``b``, and a service over both."""

    def __init__(self, folder, *, batch=BatchConfig(size=8, delay_s=0.0), streams=None, propose=None, analysis=None):  # noqa: B008
        self.folder = folder
        self.analysis = analysis or Moody()
        plans = {name: StreamPlan(PolicyConfig(kind="latest")) for name in "ab"}
        layout = Layout(tuple(SlotGroup(name, Kind.MEMORY, 6, CAPACITY) for name in "ab"))
        self.producers = [Producer(Region.create(layout, rank=rank), plans, RecordingLedger()) for rank in range(2)]
        self.outputs = Outputs(
            AnswersFile(folder / "results-0.0.jsonl"), EventLog(folder / "events-worker0.jsonl", "worker0"),
            Metrics(None, worker="0"), **({} if propose is None else {"propose": propose}),
        )  # fmt: skip
        consumers = [Consumer(one.region, pid=1) for one in self.producers]
        served = streams or {name: Served("moody") for name in "ab"}
        self.service = Service(consumers, {"moody": self.analysis}, served, Batcher({"moody": batch}), self.outputs)

    def publish(self, rank, stream, step, mood=0.0):
        array = np.full((6, 4), float(mood))
        return self.producers[rank].publish(stream, array, step)

    def serve(self):
        while self.service.serve_once():
            pass
        for producer in self.producers:
            producer.poll()

    def fate(self, rank=0):
        return dict(self.producers[rank].ledger.rows)

    def answers(self):
        lines = (self.folder / "results-0.0.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def test_frames_of_all_ranks_and_streams_are_answered_together(tmp_path):
    bench = Bench(tmp_path)
    for rank in range(2):
        for stream in "ab":
            bench.publish(rank, stream, 0, 7)
    bench.serve()
    assert [len(batch) for batch in bench.analysis.asked] == [4]
    assert bench.fate(0) == bench.fate(1) == {0: "inferred"}
    assert {(one["stream"], one["rank"]) for one in bench.answers()} == {("a", 0), ("a", 1), ("b", 0), ("b", 1)}
    assert bench.answers()[0]["values"] == {"score": 7.0, "shape": [2, 3]}
    assert bench.answers()[0]["model"] == "moody 1"


def test_whatever_an_analysis_does_costs_only_the_frame_that_it_did_it_with(tmp_path):
    """One batch of six: raising, out of memory, NaN, no plain value, leaving; the well one is answered."""
    bench = Bench(tmp_path)
    for step, mood in enumerate([0, 1, 2, 3, 4, 5]):
        bench.publish(0, "a", step, mood)
    bench.serve()
    assert bench.fate() == {0: "inferred", 1: "failed", 2: "failed", 3: "nonfinite", 4: "failed", 5: "failed"}
    told = [event.fields["reason"] for event in read_events(tmp_path) if event.event == "drop"]
    assert sorted(told) == ["failed", "nonfinite"]  # the first of each


def test_each_row_of_the_ledger_names_the_model_that_answered_it(tmp_path, monkeypatch):
    """Also where it is written only once another model answers."""
    bench, rows = Bench(tmp_path), {}
    ledger = bench.producers[0].ledger
    monkeypatch.setattr(ledger, "settle", lambda stream, step, settled: rows.update({step: settled.model}))
    bench.publish(0, "a", 0)
    assert bench.service.serve_once()
    bench.analysis.model = "moody 2"
    bench.publish(0, "a", 1)
    bench.serve()
    assert rows == {0: "moody 1", 1: "moody 2"}


def test_a_frame_with_nan_never_reaches_the_analysis(tmp_path):
    bench = Bench(tmp_path)
    bench.publish(0, "a", 0, float("nan"))
    bench.publish(0, "a", 1, 7)
    bench.serve()
    assert bench.fate() == {0: "nonfinite", 1: "inferred"}
    assert bench.analysis.asked == [[("a", 0, 1)]]


def test_a_full_disk_costs_answers_and_is_said(tmp_path):
    bench = Bench(tmp_path)

    class Full:
        def write(self, record):
            raise OSError(28, "No space left on device")

    bench.service._outputs = replace(bench.outputs, answers=Full())
    bench.publish(0, "a", 0)
    bench.serve()
    assert bench.fate() == {0: "unsaved"}
    (told,) = [event.fields for event in read_events(tmp_path) if event.event == "drop"]
    assert (told["reason"], told["detail"]) == ("unsaved", "[Errno 28] No space left on device")


def test_too_few_answers_are_a_failure_of_the_batch(tmp_path):
    class Forgetful(Analysis):
        def answer(self, frames):
            return []

    bench = Bench(tmp_path, analysis=Forgetful())
    bench.publish(0, "a", 0)
    bench.serve()
    assert bench.fate() == {0: "failed"}


def test_the_more_urgent_stream_goes_first_and_steps_stay_in_order(tmp_path):
    streams = {"a": Served("moody", priority=0), "b": Served("moody", priority=5)}
    bench = Bench(tmp_path, batch=BatchConfig(size=2, delay_s=0.0), streams=streams)
    for step in range(3):
        bench.publish(0, "a", step)
        bench.publish(0, "b", step)
    bench.serve()
    order = [frame for batch in bench.analysis.asked for frame in batch]
    assert [step for stream, _, step in order if stream == "a"] == [0, 1, 2]
    assert [stream for stream, _, _ in order][:3] == ["b"] * 3


def test_a_frame_whose_deadline_has_passed_is_late(tmp_path):
    bench = Bench(tmp_path, streams={"a": Served("moody", deadline_s=1e-9), "b": Served("moody")})
    bench.publish(0, "a", 0)
    bench.publish(0, "b", 0)
    bench.serve()
    rows = bench.producers[0].ledger.rows
    assert sorted(outcome for _, outcome in rows) == ["inferred", "late"]


def test_a_frame_that_was_replaced_before_its_turn_is_not_asked_for(tmp_path):
    bench = Bench(tmp_path, batch=BatchConfig(size=8, delay_s=3600.0))
    for step in range(6):
        bench.publish(0, "a", step)
    assert not bench.service.serve_once()  # all wait for a fuller batch
    for step in range(6, 9):
        bench.publish(0, "a", step)
    for producer in bench.producers:
        producer.announce_end()
    bench.serve()
    assert [step for batch in bench.analysis.asked for _, _, step in batch] == [3, 4, 5, 6, 7, 8]
    assert bench.service.finished


def test_what_a_rule_proposes_reaches_the_rank_that_published(tmp_path):
    bench = Bench(tmp_path, propose=lambda stream, analysis, rank, step, values: [b"go"] if values["score"] > 5 else [])
    bench.publish(1, "a", 0, 7)
    bench.publish(0, "a", 0, 3)
    bench.serve()
    assert [producer.region.collect() for producer in bench.producers] == [[], [b"go"]]


def test_the_service_ends_when_every_rank_has_ended_and_nothing_waits(tmp_path):
    bench = Bench(tmp_path)
    bench.publish(0, "a", 0)
    bench.producers[0].announce_end()
    assert not bench.service.ending
    bench.producers[1].announce_end()
    assert bench.service.ending
    assert not bench.service.finished
    bench.serve()
    assert bench.service.finished
    assert bench.producers[0].region.words[16] == Side.ENDING


def shift(frame, *, by=1.0):
    return {"first": float(frame.array.flat[0]) + by}


class NoAnalysis:
    pass


def test_a_function_of_one_frame_is_an_analysis(tmp_path):
    bench = Bench(tmp_path, analysis=build_analysis(f"{__name__}:shift", {"by": 2.0}))
    bench.publish(0, "a", 0, 5)
    bench.serve()
    assert bench.answers()[0]["values"] == {"first": 7.0}


def test_an_analysis_that_is_not_there_names_the_nearest():
    with pytest.raises(ValueError, match="got 'momnts'; did you mean 'moments'"):
        build_analysis("momnts", {})
    with pytest.raises(ValueError, match="importable module:object"):
        build_analysis("no_such_module:thing", {})
    with pytest.raises(ValueError, match="derive from Analysis"):
        build_analysis(f"{__name__}:NoAnalysis", {})


@pytest.mark.parametrize(
    ("value", "kind"),
    [(float("inf"), FloatingPointError), ([1.0, float("nan")], FloatingPointError), (b"x", TypeError)],
)
def test_answers_are_plain_and_finite(value, kind):
    with pytest.raises(kind, match="'x"):
        plain_values({"x": value})
