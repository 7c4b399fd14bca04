"""Both sides at once: every order of their accesses, and two processes for real."""

import itertools
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from rings import frame, make_ring

from inference_insitu.native.compiled import VARIABLE
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Row, Side, State, Word
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.waiting import wait_until


class Turns:
    """Words whose every access waits for its thread's turn; ``order`` says whose turn each access is."""

    def __init__(self, words, order):
        self._words, self._order = words, order
        self._at, self._done = 0, set()
        self._moved = threading.Condition()

    def _turn(self):
        me = threading.current_thread().name
        if me not in ("P", "C"):
            return
        with self._moved:
            arrived = self._moved.wait_for(lambda: self._now() in (me, None), timeout=10)
            assert arrived

    def _now(self):
        while self._at < len(self._order) and self._order[self._at] in self._done:
            self._at += 1
        return self._order[self._at] if self._at < len(self._order) else None

    def _next(self):
        with self._moved:
            self._at += 1
            self._moved.notify_all()

    def end(self):
        with self._moved:
            self._done.add(threading.current_thread().name)
            self._moved.notify_all()

    def __getitem__(self, index):
        self._turn()
        value = self._words[index]
        self._next()
        return value

    def __setitem__(self, index, value):
        self._turn()
        self._words[index] = value
        self._next()


def test_no_order_of_accesses_lets_both_sides_have_a_frame():
    """The producer takes a slot back while the worker claims it: all orders of the first accesses of each."""
    both = neither = 0
    for order in sorted(set(itertools.permutations("PPPPCCCCC"))):
        ring = make_ring(PolicyConfig(kind="latest"), slots=1)
        ring.producer.publish("a", frame(0), 0)
        (ready,) = ring.consumer.ready()
        words = Turns(ring.region.words, order)
        ring.producer._words = ring.consumer._words = words
        found = {}

        def evict(ring=ring, found=found, words=words):
            found["P"] = ring.producer._evict(ring.producer._streams["a"])
            words.end()

        def claim(ring=ring, found=found, words=words, ready=ready):
            found["C"] = ring.consumer.claim(ready)
            words.end()

        threads = [threading.Thread(target=evict, name="P"), threading.Thread(target=claim, name="C")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        both += found["P"] is not None and found["C"] is not None
        neither += found["P"] is None and found["C"] is None
        if found["P"] is None and found["C"] is None:  # each gave way: the frame is still there for the next look
            assert ring.consumer.claim(ring.consumer.ready()[0]) is not None
    assert both == 0
    assert neither < 126


class Both(RuleBasedStateMachine):
    """Any order of publishing, claiming, answering, dying: no frame is lost, doubled or changed."""

    way = "auto"

    @initialize(
        kind=st.sampled_from(["latest", "drop_newest", "degrade", "spill", "sample"]),
        slots=st.integers(1, 3),
        staged=st.integers(0, 3),
    )
    def begin(self, kind, slots, staged):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, self.way)
            with tempfile.TemporaryDirectory() as folder:  # what is open needs no name
                policy, spill = PolicyConfig(kind=kind, every=2), Path(folder) / "spill"
                self.ring = make_ring(policy, slots=slots, staged=staged, spill=spill)
        self.step = 0
        self.held = []
        self.answered = []

    @rule()
    def publish(self):
        self.ring.producer.publish("a", frame(self.step), self.step)
        self.step += 1

    @rule(which=st.integers(0, 5))
    def claim(self, which):
        waiting = self.ring.consumer.ready()
        if waiting:
            claimed = self.ring.consumer.claim(waiting[which % len(waiting)])
            assert claimed is not None
            self.held.append(claimed)

    @rule()
    def answer(self):
        if self.held:
            claimed = self.held.pop(0)
            whole = claimed.array.shape == frame(0).shape
            assert claimed.array.sum() == frame(claimed.step).sum()
            assert not whole or (claimed.array == frame(claimed.step)).all()
            self.ring.consumer.settle(claimed, "inferred")
            self.answered.append(claimed.step)

    @rule()
    def worker_dies_and_another_starts(self):
        self.held.clear()
        self.ring.consumer = Consumer(self.ring.region, pid=2)
        self.ring.consumer.recover()

    @rule()
    def move(self):
        self.ring.consumer.move()

    @rule()
    def poll(self):
        self.ring.producer.poll()

    @invariant()
    def books_hold(self):
        if hasattr(self, "ring"):
            assert self.ring.region.words[Word.PUBLISHED] == self.step
            books = self.ring.ledger.summary().get("a")
            if books:
                lent = self.ring.producer.lanes  # it may have more, until it is asked
                assert books["published"] == self.step or (lent and books["published"] < self.step)
                assert books["open"] == self.ring.ledger.open

    def teardown(self):
        if hasattr(self, "ring"):
            self.ring.producer.close()
            rows = self.ring.ledger.rows
            assert sorted(step for step, _ in rows) == list(range(self.step))  # each exactly once
            assert sorted(self.answered) == sorted(step for step, outcome in rows if outcome == "inferred")


class BothInPython(Both):
    way = "python"


TestBoth = Both.TestCase
TestBothInPython = BothInPython.TestCase
TestBoth.settings = TestBothInPython.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


READER = """
import sys, threading, time
from pathlib import Path
from inference_insitu.inference import mover
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Side
from inference_insitu.ring.region import Region

consumer = Consumer(Region.open(Path(sys.argv[1])), pid=1)
mover.LOOK_S = 0.0001
mover.Mover([consumer], threading.Event())
consumer.state = Side.READY
wrong = 0
while True:
    ending = consumer.producer_state is Side.ENDING
    waiting = consumer.ready()
    for ready in waiting:
        claimed = consumer.claim(ready)
        if claimed is None:
            continue
        first = claimed.array.copy()
        time.sleep(0 if claimed.step % 7 else 0.0005)
        same = (claimed.array == claimed.step).all() and (first == claimed.step).all()
        consumer.settle(claimed, "inferred" if same else "failed")
    if ending and not waiting:
        break
print("done")
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("kind", "staged", "frames"),
    [("latest", 0, 20_000), ("drop_newest", 0, 20_000), ("spill", 0, 5_000), ("spill", 2, 3_000)],
)
@pytest.mark.usefixtures("way")
def test_two_processes_never_tear_a_frame(kind, staged, frames, tmp_path):
    """As fast as they go: what the reader holds never changes under its hands."""
    path = Path("/dev/shm") / f"cdi-test-{os.getpid()}-{kind}-{staged}"
    ring = make_ring(PolicyConfig(kind=kind), slots=3, staged=staged, path=path, spill=tmp_path / "spill")
    ring.consumer.state = Side.ABSENT
    reader = subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: ring.region.words[Word.CONSUMER_STATE] == Side.READY, timeout_s=60)
        for step in range(frames):
            ring.producer.publish("a", np.full((6, 4), float(step)), step)
        ring.producer.announce_end()
        assert reader.communicate(timeout=60)[0] == "done\n"
        ring.producer.close()
        books = ring.ledger.streams["a"]
        assert books.open == 0
        assert books.inferred > 10
        assert set(books.dropped) == {"superseded" if kind == "latest" else "full"}
    finally:
        reader.kill()
        ring.region.unlink()


@pytest.mark.usefixtures("way")
def test_states_are_what_the_module_says():
    """A slot passes FREE, READY, TAKEN, DONE, FREE."""
    ring = make_ring(slots=1)
    words, base = ring.region.words, ring.region.slots[0].base
    seen = [words[base + Row.STATE]]
    ring.producer.publish("a", frame(0), 0)
    seen.append(words[base + Row.STATE])
    claimed = ring.consumer.claim(ring.consumer.ready()[0])
    seen.append(words[base + Row.STATE])
    ring.consumer.settle(claimed, "inferred")
    seen.append(words[base + Row.STATE])
    ring.producer.poll()
    seen.append(words[base + Row.STATE])
    assert seen == [State.FREE, State.READY, State.TAKEN, State.DONE, State.FREE]
    assert ring.consumer.producer_state == Side.READY
