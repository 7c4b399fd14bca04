"""The compiled way into a ring: the same bytes as by Python, and Python's where it cannot be had."""

import csv
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import weakref
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rings import CAPACITY, SHAPE, blocks_added, frame, make_ring, no_larger_files

from cdi.errors import RunError
from inference_insitu.books.ledger import Ledger, ledger_name
from inference_insitu.doctor.publishing import publishing
from inference_insitu.inference.estate import settle_estate
from inference_insitu.native import compiled
from inference_insitu.native.compiled import VARIABLE, cache_folder, lane_or_reason, lane_type, loaded
from inference_insitu.reduction.group import Alone
from inference_insitu.reduction.operator_config import OperatorConfig
from inference_insitu.reduction.pipeline import pipeline
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.lane import ADDED, Said
from inference_insitu.ring.layout import Kind, Layout, Row, Side, SlotGroup, State, Word
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.producer import SAID, Producer
from inference_insitu.ring.region import Region
from inference_insitu.ring.stream import StreamPlan
from inference_insitu.watching.events import EventLog

SPARE = {
    "degrade": (SlotGroup("a", Kind.COARSE, 3, CAPACITY // 4),),
    "spill": (SlotGroup("a", Kind.SPILL, 12, CAPACITY),),
    "staged": (SlotGroup("a", Kind.SPILL, 12, CAPACITY, staged=6),),
}
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(lane_or_reason()[0] is None, reason="nothing can be compiled here")


class Told:
    """A clock that says what it was told."""

    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class Twins:
    """One ring by each way, which live through the same; times of the compiled one are told to the other."""

    def __init__(self, monkeypatch, policy, slots, **options):
        self.clock = Told()
        monkeypatch.setenv(VARIABLE, "compiled")
        self.fast = make_ring(policy, slots=slots, **options)
        self.fast.region.unlink()  # a file that it spills to has the same name in both
        self.slow = make_ring(policy, slots=slots, clock=self.clock, **options)
        assert self.fast.producer.lanes
        assert not self.slow.producer.lanes
        for ring in (self.fast, self.slow):  # which would look at a clock
            monkeypatch.setattr(ring.ledger, "keep_up", lambda now_ns: None)
        self.by_lane, self.kinds = Counter(), Counter()

    def publish(self, array, step, attributes=None):
        said = self.fast.producer.lanes["a"](array, step) if attributes is None else Said.ASK
        self.by_lane[Said(said)] += 1
        told = SAID[said] if said else self.fast.producer.publish("a", array, step, attributes)
        if told:
            newest = max(self.fast.region.slots, key=lambda slot: slot.row()[Row.SEQUENCE])
            self.clock.now_ns = newest.row()[Row.PUBLISHED_NS]
            self.kinds[newest.place.kind] += said == Said.ACCEPTED
        else:
            self.clock.now_ns = round(1e9 * float(journal(self.fast).splitlines()[-1].split(b",")[6]))
        assert self.slow.producer.publish("a", array, step, attributes) == told

    def both(self, act):
        for ring in (self.fast, self.slow):
            act(ring)


def journal(ring) -> bytes:
    length = int.from_bytes(ring.ledger.journal[:8], "little")
    return bytes(ring.ledger.journal[8 : 8 + length])


def claim_one(ring, held):
    waiting = ring.consumer.ready()
    if waiting:
        held.append(ring.consumer.claim(waiting[0]))


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "staged"),
    [("latest", 0), ("drop_newest", 0), ("degrade", 0), ("spill", 0), ("spill", 2), ("sample", 0)],
)
@pytest.mark.parametrize("slots", [1, 3])
def test_the_ring_s_memory_is_the_same_byte_by_byte(kind, staged, slots, monkeypatch, tmp_path):
    """Frames of two forms, with attributes and without, a worker that answers now and then; also the ledger's rows."""
    chance, held = random.Random(slots), ([], [])
    twins = Twins(monkeypatch, PolicyConfig(kind=kind, every=3), slots, staged=staged, spill=tmp_path / "spill")
    monkeypatch.setattr("inference_insitu.ring.consumer.time", Frozen)
    for step in range(400):
        match chance.random():
            case drawn if drawn < 0.8:
                twins.publish(frame(step), step)
            case drawn if drawn < 0.85:
                twins.publish(frame(step), step, {"load": step})
            case drawn if drawn < 0.9:
                twins.publish(frame(step)[::-1], step)
            case _:
                twins.publish(np.full((6, 2, 2), step, np.float32), step)
        if chance.random() < 0.5:
            for ring, mine in zip((twins.fast, twins.slow), held, strict=True):
                claim_one(ring, mine)
        if held[0] and chance.random() < 0.8:
            for ring, mine in zip((twins.fast, twins.slow), held, strict=True):
                ring.consumer.settle(mine.pop(0), "inferred")
        if chance.random() < 0.3:
            twins.both(lambda ring: ring.producer.poll())
        if staged and chance.random() < 0.3:
            assert twins.fast.consumer.move() == twins.slow.consumer.move()
        assert without_beats(twins.fast) == without_beats(twins.slow)
        assert journal(twins.fast) == journal(twins.slow)
    twins.both(lambda ring: ring.producer.close())
    assert twins.fast.ledger.rows == twins.slow.ledger.rows
    assert twins.fast.ledger.summary() == twins.slow.ledger.summary()
    assert twins.by_lane[Said.ACCEPTED] > 10
    assert kind == "sample" or (twins.by_lane[Said.FULL] > 10) == (kind != "latest")
    assert (twins.kinds[Kind.COARSE] > 10) == (kind == "degrade")
    assert (twins.kinds[Kind.SPILL] > 10) == (kind == "spill")
    assert (twins.by_lane[Said.SAMPLED] > 10) == (kind == "sample")


@needs_compiler
def test_a_frame_that_was_answered_is_booked_by_the_lane_as_by_python(monkeypatch):
    """Its slot is free again without a look by Python, but where what answered it is no plain text, or it failed."""
    monkeypatch.setattr("inference_insitu.ring.consumer.time", Frozen)
    twins = Twins(monkeypatch, PolicyConfig(kind="drop_newest"), 1)
    ends = [("inferred", ""), ("inferred", "net, of May"), ("failed", "why"), ("inferred", "Å"), ("inferred", "")]
    for step, (outcome, detail) in enumerate([*ends, ("inferred", "net 7")]):
        if step == 4:
            twins.both(lambda ring: setattr(ring.region, "model", "net 6"))
        twins.publish(frame(step), step)
        for ring in (twins.fast, twins.slow):
            ring.consumer.settle(ring.consumer.claim(ring.consumer.ready()[0]), outcome, detail)
    twins.publish(frame(9), 9)
    assert twins.by_lane[Said.ACCEPTED] == 3
    assert journal(twins.fast) == journal(twins.slow)
    assert [line.split(b",")[-1] for line in journal(twins.fast).splitlines()][-2:] == [b"net 6", b"net 7"]
    twins.both(lambda ring: ring.producer.poll())
    assert twins.fast.ledger.summary() == twins.slow.ledger.summary()
    assert list(twins.fast.ledger.latency_s) == list(twins.slow.ledger.latency_s)


@needs_compiler
@pytest.mark.parametrize("beyond", [-4, 0, 4, 60, 64, 68])
def test_large_frames_go_past_the_caches_into_the_same_bytes(beyond, monkeypatch):
    """Also what is left over of whole lines, from arrays that begin anywhere."""
    numbers = (2**18 + beyond) // 4
    twins = Twins(monkeypatch, PolicyConfig(kind="latest"), 2, capacity=2**18 + 128)
    source = np.random.default_rng(beyond + 4).random(numbers + 8, np.float32)
    for step in range(8):
        twins.publish(source[step : step + numbers], step)
        assert without_beats(twins.fast) == without_beats(twins.slow)
    assert twins.by_lane[Said.ACCEPTED] > 4
    claimed = [twins.fast.consumer.claim(ready) for ready in twins.fast.consumer.ready()]
    assert [one.step for one in claimed] == [6, 7]
    for one in claimed:
        assert (one.array == source[one.step : one.step + numbers]).all()


class Frozen:
    @staticmethod
    def monotonic_ns() -> int:
        return 7_000_000_000


def without_beats(ring) -> bytes:
    copied = bytearray(ring.region.bytes)
    words = memoryview(copied).cast("q")
    for word in (Word.CONSUMER_BEAT_NS, Word.OWNER_STARTED, Word.CONSUMER_STARTED):
        words[word] = 0
    return bytes(copied) + bytes(ring.region.spilled)


@needs_compiler
def test_what_a_lane_leaves_to_python_changes_nothing(monkeypatch):
    monkeypatch.setenv(VARIABLE, "compiled")
    ring = make_ring(PolicyConfig(kind="latest"), slots=2)
    lane = ring.producer.lanes["a"]
    assert not lane(frame(0), 0)  # no slot's row speaks of any form yet
    for step in range(3):
        assert ring.producer.publish("a", frame(step), step)
    before = bytes(ring.region.bytes)
    assert not lane(frame(2), 2)  # repeated
    assert not lane(frame(3).astype(np.float32), 3)
    assert not lane(frame(3).T, 3)
    assert not lane(np.asfortranarray(frame(3)), 3)
    assert not lane(frame(3).tolist(), 3)
    assert not lane(frame(3), 1 << 70)
    assert not lane(frame(3), 3.5)
    assert not lane(frame(3).view(np.recarray), 3)
    assert bytes(ring.region.bytes) == before
    ring.region.words[Word.SUPERVISOR_STATE] = Side.FAILED
    assert not lane(frame(3), 3)
    assert ring.producer.publish("a", frame(3), 3).reason == "no_inference"
    ring.region.words[Word.SUPERVISOR_STATE] = Side.READY
    assert lane(frame(4), np.int64(4))
    with pytest.raises(TypeError, match="an array and a step"):
        lane(frame(5))


@needs_compiler
def test_a_slot_that_held_another_form_is_described_anew(monkeypatch):
    monkeypatch.setenv(VARIABLE, "compiled")
    ring = make_ring(PolicyConfig(kind="latest"), slots=2)
    small = np.arange(4, dtype=np.float32).reshape(2, 2)
    for step, array in enumerate((frame(0), small)):
        assert ring.producer.publish("a", array, step, {"load": step})
        ring.consumer.settle(ring.consumer.claim(ring.consumer.ready()[0]), "inferred")
    ring.producer.poll()
    assert ring.producer.lanes["a"](small, 2)
    assert ring.producer.lanes["a"](small, 3)
    for claimed in [ring.consumer.claim(ready) for ready in ring.consumer.ready()]:
        assert claimed.array.dtype == np.float32
        assert (claimed.array == small).all()
        assert claimed.attributes == {}


FORMS = [
    ((64, 6, 48), np.float32, 2),
    ((6, 9, 12), np.float64, 3),
    ((48,), np.float32, 16),
    ((4, 2100), np.float32, 2),
    ((10, 1030), np.float64, 5),
    ((2, 4, 2, 4, 2, 4), np.float32, 2),
    ((4, 4, 4), np.int32, 2),
    ((4, 4, 4), np.complex64, 2),
]
"""Also rows that are longer than what is added up at a time, and types that are left to Python."""


@needs_compiler
@pytest.mark.parametrize(("shape", "dtype", "factor"), FORMS)
def test_blocks_are_added_up_to_the_same_bits(shape, dtype, factor, monkeypatch):
    """Numbers whose sum depends on their order, and some that are none."""
    monkeypatch.setenv(VARIABLE, "compiled")
    generator = np.random.default_rng(len(shape))
    source = (10.0 ** generator.uniform(-3, 6, shape) * generator.choice([-1, 1], shape)).astype(dtype)
    if source.dtype.kind == "f":
        source.flat[[3, 7, 20]] = np.nan, np.inf, -0.0
    adding = pipeline((OperatorConfig(kind="bin", factor=factor),), shape, dtype)
    expected = adding(source, Alone()).copy()
    groups = (SlotGroup("a", Kind.MEMORY, 1, source.nbytes), SlotGroup("a", Kind.COARSE, 3, expected.nbytes))
    region = Region.create(Layout(groups, "", {"a": (source.dtype.name, shape)}), rank=0)
    plan = StreamPlan(PolicyConfig(kind="degrade", factor=factor), lambda array: adding(array, Alone()))
    producer = Producer(region, {"a": plan}, Ledger(None, 0, origin_ns=0))
    by_lane = [bool(producer.lanes["a"](source, 0) or not producer.publish("a", source, 0))]
    by_lane += [bool(producer.lanes["a"](source, step) or not producer.publish("a", source, step)) for step in (1, 2)]
    assert by_lane == [False, *2 * [source.dtype.name in ADDED]]
    for slot in region.slots[1:3]:
        assert slot.array().tobytes() == expected.tobytes()


@needs_compiler
def test_a_file_that_does_not_take_a_frame_changes_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "compiled")
    ring = make_ring(PolicyConfig(kind="spill"), slots=1, spill=tmp_path / "spill")
    lane = ring.producer.lanes["a"]
    assert ring.producer.publish("a", frame(0), 0)
    before = bytes(ring.region.bytes)
    with no_larger_files(100):
        assert not lane(frame(1), 1)
    assert bytes(ring.region.bytes) == before
    assert all(lane(frame(step), step) for step in (1, 2, 3))
    assert [one.step for one in ring.infer()] == [0, 1, 2, 3]


@needs_compiler
def test_large_frames_that_spill_lie_in_memory_and_move_to_their_file(monkeypatch, tmp_path):
    """Past the caches too, and in several pieces."""
    monkeypatch.setattr("inference_insitu.ring.region.MOVED_BYTES", 100_000)
    policy = PolicyConfig(kind="spill")
    twins = Twins(monkeypatch, policy, 1, capacity=2**18 + 128, staged=2, spill=tmp_path / "spill")
    source = np.random.default_rng(0).random(2**16 + 32, np.float32)
    for step in range(4):
        twins.publish(source[step : step + 2**16 + 1], step)
        assert without_beats(twins.fast) == without_beats(twins.slow)
    assert twins.kinds[Kind.SPILL] == 3
    assert not any(twins.fast.region.spilled[:4096])
    twins.both(lambda ring: [ring.consumer.move() for _ in range(3)])
    assert without_beats(twins.fast) == without_beats(twins.slow)
    assert twins.fast.region.spilled[:4096] == source[1:].view(np.uint8).data[:4096]
    for ready in twins.fast.consumer.ready():
        assert (twins.fast.consumer.claim(ready).array == source[ready.step : ready.step + 2**16 + 1]).all()


@needs_compiler
def test_nothing_is_refused_while_slots_are_left_that_were_not_lent(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "compiled")
    monkeypatch.setattr("inference_insitu.ring.lane.MOST_SPARE", 1)
    ring = make_ring(PolicyConfig(kind="spill"), slots=1, spill=tmp_path / "spill")
    for first in (0, 10):
        taken = [step for step in range(first, first + 6) if ring.producer.publish("a", frame(step), step)]
        assert [one.step for one in ring.infer()] == taken == list(range(first, first + 4))


@needs_compiler
def test_a_full_journal_is_written_to_the_file_and_no_row_is_lost(monkeypatch, tmp_path):
    """Thousands are replaced without a look at the ledger meanwhile."""
    monkeypatch.setenv(VARIABLE, "compiled")
    layout = Layout((SlotGroup("a", Kind.MEMORY, 2, CAPACITY),))
    region = Region.create(layout, rank=0)
    ledger = Ledger(tmp_path, 0, origin_ns=0, journal=region.journal)
    producer = Producer(region, {"a": StreamPlan(PolicyConfig(kind="latest"))}, ledger)
    for step in range(3000):
        assert producer.publish("a", frame(step), step)
    assert producer.open == 2
    producer.close()
    with (tmp_path / ledger_name(0)).open(newline="") as file:
        rows = {int(row["step"]): row["outcome"] for row in csv.DictReader(file)}
    assert rows == {step: "superseded" if step < 2998 else "undelivered" for step in range(3000)}


@needs_compiler
@pytest.mark.parametrize("kind", ["latest", "degrade", "spill", "staged"])
def test_a_killed_producer_leaves_books_that_balance(kind, monkeypatch, tmp_path):
    """Every frame that the ring has counted has its row, once its worker has ended the ledger."""
    monkeypatch.setenv(VARIABLE, "compiled")
    path, (told, tell) = tmp_path / "ring", os.pipe()
    policy = "spill" if kind == "staged" else kind
    pid = os.fork()
    if pid == 0:
        try:
            groups = (SlotGroup("a", Kind.MEMORY, 3, CAPACITY), *SPARE.get(kind, ()))
            layout = Layout(groups, str(tmp_path / "spill"), {"a": ("float64", SHAPE)})
            region = Region.create(layout, rank=0, path=path)
            ledger = Ledger(tmp_path, 0, origin_ns=0, journal=region.journal)
            producer = Producer(region, {"a": StreamPlan(PolicyConfig(kind=policy), blocks_added)}, ledger)
            for step in range(10_000_000):
                producer.publish("a", frame(step), step)
                if step == 1000:
                    os.write(tell, b"!")
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.read(told, 1) == b"!"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    region = Region.open(path)
    published = region.words[Word.PUBLISHED]
    settle_estate(Consumer(region, pid=os.getpid()), tmp_path, EventLog(tmp_path / "events-x.jsonl", "x"))
    with (tmp_path / ledger_name(0)).open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert len(steps) == len(set(steps))
    assert set(range(published)) <= set(steps) <= set(range(published + 1))
    waiting = [slot for slot in region.slots if slot.row()[Row.STATE] == State.READY]
    for slot in waiting:  # whole, whatever it was killed at
        whole = frame(slot.row()[Row.STEP])
        assert (slot.array() == (blocks_added(whole) if slot.place.kind is Kind.COARSE else whole)).all()


@needs_compiler
def test_a_lane_takes_no_nonsense():
    lane = lane_or_reason()[0]
    ring = make_ring(slots=2)
    region, journal = ring.region, ring.ledger.journal
    given = {"region": region.bytes, "journal": journal, "capacity": CAPACITY, "prefix": b"a,0,", "origin_ns": 0}
    given |= {
        "one_in": 1,
        "model": 1024,
        "model_bytes": 128,
        "spares": [],
        "spare_capacity": CAPACITY // 4,
        "factor": 2,
        "file": -1,
        "staging": (0, 0, 0, 0, CAPACITY),
    }
    inside = [(8 * slot.base, slot.place.offset, 4096) for slot in region.slots]
    size = len(region.bytes)
    for places in ([(size, 0, 0)], [(0, size - 8, 0)], [(4, 0, 0)], [(-8, 0, 0)], [(0, 0, size - 8)], [(0, 0, -8)]):
        with pytest.raises(ValueError, match="within the ring"):
            lane(**given, places=places)
    with pytest.raises(ValueError, match="a ring and a journal"):
        lane(**given | {"journal": bytearray(8)}, places=inside)
    with pytest.raises(ValueError, match="a ring and a journal"):
        lane(**given | {"one_in": 0}, places=inside)
    with pytest.raises(ValueError, match="within the ring"):
        lane(**given | {"spares": [(0, size - 8, 0)]}, places=inside)
    with pytest.raises(OSError, match="Bad file descriptor"):
        lane(**given | {"factor": 0, "file": 1 << 20}, places=inside)
    for given_at, written_at, payloads, count, stride in (
        (size - 8, 0, 0, 1, CAPACITY),
        (0, size, 0, 1, CAPACITY),
        (4, 0, 0, 1, CAPACITY),
        (0, -8, 0, 1, CAPACITY),
        (0, 0, size - 8, 1, CAPACITY),
        (0, 0, 0, size // CAPACITY + 1, CAPACITY),
        (0, 0, 0, -1, CAPACITY),
        (0, 0, 0, 1, CAPACITY - 8),
    ):
        with pytest.raises(ValueError, match="within the ring"):
            lane(**given | {"staging": (given_at, written_at, payloads, count, stride)}, places=inside)
    with pytest.raises((TypeError, BufferError)):
        lane(**given | {"region": bytes(8192)}, places=inside)
    made = lane(**given | {"spares": inside[1:]}, places=inside[:1])
    last = -1, 0, True, True, True, True
    wrong = (
        ([1], [], []),
        ([-1], [], []),
        ([0, 0], [], []),
        ([0], [1], [0]),
        ([], [], [2]),
        ([], [0], []),
        ([], [1, 1], []),
    )
    for free, spare, line in wrong:
        with pytest.raises(ValueError, match="slot"):
            made.lend(frame(0), 11, free, spare, line, *last)
    for array in (np.zeros(CAPACITY), np.zeros((3, 8)), np.zeros((6, 4), np.int64), np.zeros(()), np.zeros((0, 2))):
        with pytest.raises(ValueError, match="fit the slots"):
            made.lend(array, 11, [0], [1], [], *last)
    assert not made.publish(frame(0), 0)
    made.lend(frame(0), 11, [0], [], [], *last)
    assert made.publish(frame(0), 0)
    with pytest.raises(ValueError, match="one thread at a time"):
        made.lend(frame(0), 11, [], [1], [], *last)
    assert [event[:2] for event in made.take()] == [(0, 0)]
    with pytest.raises(TypeError):
        made.__init__(**given, places=inside)


@needs_compiler
def test_the_ring_s_memory_goes_when_the_producer_is_closed(monkeypatch):
    monkeypatch.setenv(VARIABLE, "compiled")
    gc.disable()
    try:
        ring = make_ring(slots=1)
        ring.producer.publish("a", frame(0), 0)
        lane = weakref.ref(ring.producer._streams["a"].lane)
        ring.producer.close()
        assert lane() is None
    finally:
        gc.enable()


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has not asked yet, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    lane_or_reason.cache_clear()
    yield tmp_path / "cache" / "cdi"
    lane_or_reason.cache_clear()


def test_without_a_compiler_python_publishes(fresh, monkeypatch):
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CC", raising=False)
    assert lane_type() is None
    ring = make_ring(slots=1)
    assert not ring.producer.lanes
    assert ring.producer.publish("a", frame(0), 0)
    assert [one.step for one in ring.infer()] == [0]
    verdict = publishing()
    assert not verdict.ok
    assert "there is no C compiler" in verdict.finding
    monkeypatch.setenv(VARIABLE, "compiled")
    with pytest.raises(RunError, match="CDI_PUBLISH=compiled, but there is no C compiler"):
        lane_type()


def test_a_compiler_that_fails_leaves_nothing_behind(fresh, monkeypatch, tmp_path):
    script = tmp_path / "mycc"
    script.write_text("#!/bin/sh\necho 'fatal error: Python.h: No such file' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    assert lane_type() is None
    assert "does not compile lane.c: fatal error: Python.h" in lane_or_reason()[1]
    assert list(fresh.iterdir()) == []


def test_a_choice_that_is_none_is_told(monkeypatch):
    monkeypatch.setenv(VARIABLE, "rust")
    with pytest.raises(ValueError, match="CDI_PUBLISH must be one of auto, compiled, python, got 'rust'"):
        lane_type()
    monkeypatch.setenv(VARIABLE, "python")
    assert lane_type() is None
    assert publishing().finding == "in Python, as CDI_PUBLISH says"


@pytest.mark.timeout(120)
@needs_compiler
def test_processes_that_compile_at_once_all_have_it(fresh, tmp_path):
    """The compiler waits until both have called it."""
    compiler = tmp_path / "both"
    compiler.write_text(
        f'#!/bin/sh\ntouch {tmp_path}/called-$$\nn=0\nwhile [ "$(ls {tmp_path} | grep -c called-)" -lt 2 ] && '
        f'[ $n -lt 600 ]; do sleep 0.05; n=$((n+1)); done\nexec {COMPILER} "$@"\n'
    )
    compiler.chmod(0o755)
    code = "from inference_insitu.native.compiled import lane_or_reason; print(*lane_or_reason())"
    environment = {**os.environ, "CC": str(compiler)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {one.communicate(timeout=100)[0].strip() for one in started}
    (built,) = fresh.iterdir()
    assert said == {f"<class 'cdi_lane.Lane'> {built}"}
    assert len(list(tmp_path.glob("called-*"))) == 2
    assert fresh.stat().st_mode & 0o777 == 0o700
    assert not built.stat().st_mode & 0o077


@needs_compiler
def test_what_others_may_have_written_is_not_loaded(fresh):
    path = Path(lane_or_reason()[1])
    path.chmod(0o722)
    with pytest.raises(RunError, match="nobody else's to write to"):
        loaded(path)
    path.chmod(0o700)
    fresh.chmod(0o777)
    with pytest.raises(RunError, match="nobody else's to write to"):
        cache_folder()
    fresh.chmod(0o700)
    fresh.parent.chmod(0o777)
    with pytest.raises(RunError, match="where everybody writes"):
        cache_folder()


@needs_compiler
def test_a_lane_of_another_ring_is_refused(monkeypatch):
    path = Path(lane_or_reason()[1])
    monkeypatch.setattr(compiled, "_WORDS", ((0,), (0,), (0,)))
    with pytest.raises(RunError, match="must have the words"):
        loaded(path)


@needs_compiler
def test_the_sequence_goes_on_between_the_ways(monkeypatch):
    """A frame that Python takes between those of the lane stands in its place."""
    monkeypatch.setenv(VARIABLE, "compiled")
    ring = make_ring(slots=6)
    for step in range(6):
        ring.producer.publish("a", frame(step), step)
    ring.infer()
    ring.producer.poll()
    assert ring.producer.lanes["a"](frame(6), 6)
    assert ring.producer.publish("a", frame(7), 7, {"note": 1})
    assert ring.producer.publish("a", frame(8), 8)
    assert [one.step for one in ring.infer()] == [6, 7, 8]
    assert all(ring.region.words[slot.base + Row.STATE] in (State.DONE, State.FREE) for slot in ring.region.slots)
