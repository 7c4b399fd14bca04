"""Every policy, frame by frame: what goes in, what is dropped, and that the books say so."""

import numpy as np
import pytest
from rings import SHAPE, Clock, frame, make_ring, no_larger_files

from inference_insitu.ring.layout import Kind, Row, Side, State, Word
from inference_insitu.ring.policies import PolicyConfig

pytestmark = pytest.mark.usefixtures("way")


def publish(ring, steps):
    return [ring.producer.publish("a", frame(step), step) for step in steps]


def test_a_frame_arrives_as_it_was_published_and_the_source_may_change_at_once():
    ring = make_ring()
    source = frame(3)
    assert ring.producer.publish("a", source, 3, {"load_nN": 1.5, "note": "Å"})
    source[:] = -1
    (ready,) = ring.consumer.ready()
    claimed = ring.consumer.claim(ready)
    assert (claimed.array == frame(3)).all()
    assert claimed.attributes == {"load_nN": 1.5, "note": "Å"}
    assert (claimed.stream, claimed.rank, claimed.step) == ("a", 0, 3)
    assert np.shares_memory(claimed.array, np.frombuffer(ring.region.bytes, np.uint8))  # no copy on this side


def test_a_reader_that_comes_later_knows_up_to_which_step_was_published():
    ring = make_ring()
    assert ring.consumer.newest_step == -1
    for steps, newest in (([0], 0), ([3, 5], 5), ([9], 9)):
        publish(ring, steps)
        assert ring.consumer.newest_step == newest
        ring.infer()
        ring.producer.poll()
        assert ring.consumer.newest_step == newest, "answered or not"
    assert publish(ring, [10, 11, 12])[-1].status == "dropped"
    assert ring.consumer.newest_step == 11, "what was refused is nobody's to answer"


def test_drop_newest_refuses_what_does_not_fit_and_says_so():
    ring = make_ring()
    said = publish(ring, range(4))
    assert [one.status for one in said] == ["accepted", "accepted", "dropped", "dropped"]
    assert said[2].reason == "full"
    assert not said[2]
    assert [one.step for one in ring.infer()] == [0, 1]
    ring.producer.poll()
    assert ring.fate() == {0: "inferred", 1: "inferred", 2: "full", 3: "full"}
    assert ring.ledger.summary()["a"] == {
        "published": 4, "accepted": 2, "inferred": 2, "handed_over": 0, "dropped": {"full": 2}, "open": 0,
    }  # fmt: skip


def test_latest_replaces_the_oldest_that_waits():
    ring = make_ring(PolicyConfig(kind="latest"))
    assert all(publish(ring, range(5)))
    assert [one.step for one in ring.infer()] == [3, 4]
    ring.producer.poll()
    assert ring.fate() == {0: "superseded", 1: "superseded", 2: "superseded", 3: "inferred", 4: "inferred"}


def test_latest_never_takes_back_what_is_being_inferred():
    ring = make_ring(PolicyConfig(kind="latest"))
    publish(ring, range(2))
    claimed = [ring.consumer.claim(ready) for ready in ring.consumer.ready()]
    (refused,) = publish(ring, [2])
    assert refused.reason == "full"
    assert [(one.array == frame(one.step)).all() for one in claimed] == [True, True]


def test_sample_takes_the_first_of_every_three():
    ring = make_ring(PolicyConfig(kind="sample", every=3), slots=4)
    publish(ring, range(7))
    assert [one.step for one in ring.infer()] == [0, 3, 6]
    ring.producer.poll()
    assert ring.ledger.streams["a"].dropped == {"sampled": 4}


def test_degrade_takes_a_coarser_frame_when_full():
    ring = make_ring(PolicyConfig(kind="degrade"))
    said = publish(ring, range(5))
    assert [bool(one) for one in said] == [True, True, True, True, False]
    taken = ring.infer()
    assert [one.array.shape for one in taken] == [SHAPE, SHAPE, (3, 2), (3, 2)]
    assert taken[2].array.sum() == frame(2).sum()


def test_spill_keeps_frames_on_disk_in_their_order_and_drains_them_later(tmp_path):
    ring = make_ring(PolicyConfig(kind="spill"), spill=tmp_path / "spill")
    assert [bool(one) for one in publish(ring, range(6))] == [True] * 5 + [False]
    assert (tmp_path / "spill").stat().st_size > 0
    assert sum(ready.slot.place.kind is Kind.SPILL for ready in ring.consumer.ready()) == 3
    assert [one.step for one in ring.infer()] == [0, 1, 2, 3, 4]
    assert all(publish(ring, range(6, 10)))
    assert [one.step for one in ring.infer()] == [6, 7, 8, 9]
    ring.producer.poll()
    assert ring.ledger.streams["a"].inferred == 9
    ring.region.unlink()
    assert not (tmp_path / "spill").exists()


def test_what_the_file_does_not_take_has_failed_and_says_why(tmp_path):
    """The simulation goes on, the slot is used again, and the books say which frame it was."""
    ring = make_ring(PolicyConfig(kind="spill"), spill=tmp_path / "spill")
    publish(ring, range(3))
    with no_larger_files(4096 + 100):
        (refused,) = publish(ring, [3])
    assert (refused.status, refused.reason) == ("failed", f"[Errno 27] File too large: '{tmp_path / 'spill'}'")
    assert [bool(one) for one in publish(ring, range(4, 7))] == [True, True, False]
    assert [one.step for one in ring.infer()] == [0, 1, 2, 4, 5]
    ring.producer.poll()
    assert ring.fate() == {3: "failed", 6: "full", **dict.fromkeys((0, 1, 2, 4, 5), "inferred")}
    assert ring.region.words[Word.PUBLISHED] == 7
    assert ring.ledger.open == 0


def test_a_spilled_frame_need_not_be_contiguous_nor_as_declared(tmp_path):
    ring = make_ring(PolicyConfig(kind="spill"), slots=1, spill=tmp_path / "spill")
    arrays = [frame(0), frame(1)[::-1, ::-1], np.asfortranarray(frame(2)), np.array(7, np.int16)]
    for step, array in enumerate(arrays):
        assert ring.producer.publish("a", array, step)
    for ready, array in zip(ring.consumer.ready(), arrays, strict=True):
        claimed = ring.consumer.claim(ready)
        assert (claimed.array.dtype, claimed.array.shape) == (array.dtype, array.shape)
        assert (claimed.array == array).all()


def blocking(fallback="drop_newest"):
    clock = Clock()
    policy = PolicyConfig(kind="block", timeout_s=0.5, fallback=fallback)
    ring = make_ring(policy, clock=clock, sleep=clock.sleep)
    ring.region.words[Word.CONSUMER_BEAT_NS] = clock.now_ns
    return ring, clock


def test_block_waits_its_time_then_falls_back():
    ring, clock = blocking()
    publish(ring, range(2))
    before = clock.now_ns
    (refused,) = publish(ring, [2])
    assert refused.reason == "timeout"
    assert 0.5e9 <= clock.now_ns - before < 0.51e9


def test_block_falls_back_to_another_policy():
    ring, _ = blocking("latest")
    assert all(publish(ring, range(3)))
    assert [one.step for one in ring.infer()] == [1, 2]


def test_block_goes_on_as_soon_as_a_slot_is_free():
    ring, clock = blocking()
    publish(ring, range(2))
    before = clock.now_ns
    ring.producer._progress = lambda: ring.infer(1)
    assert all(publish(ring, [2]))
    assert clock.now_ns - before < 0.01e9


@pytest.mark.parametrize(("busy_s", "looks"), [(0.003, 17), (0.03, 65), (0.3, 150)])
def test_a_blocked_call_goes_on_soon_and_looks_seldom(busy_s, looks):
    """A look takes processor time that inference beside it may lack."""
    ring, clock = blocking()
    publish(ring, range(2))
    before, seen = clock.now_ns, []

    def progress():
        seen.append(clock.now_ns)
        if clock.now_ns - before >= busy_s * 1e9:
            ring.infer(1)

    ring.producer._progress = progress
    assert all(publish(ring, [2]))
    assert clock.now_ns - before < (1.05 * busy_s + 0.0002) * 1e9
    assert len(seen) <= looks


@pytest.mark.parametrize("state", [Side.ABSENT, Side.STARTING, Side.CLOSED])
def test_block_does_not_wait_for_a_worker_that_is_not_there(state):
    ring, clock = blocking()
    publish(ring, range(2))
    ring.consumer.state = state
    before = clock.now_ns
    (refused,) = publish(ring, [2])
    assert refused.reason == "timeout"
    assert clock.now_ns == before


def test_block_does_not_wait_for_a_worker_that_stands_still():
    ring, clock = blocking()
    publish(ring, range(2))
    clock.now_ns += 6_000_000_000
    before = clock.now_ns
    publish(ring, [2])
    assert clock.now_ns == before


def test_presets():
    assert PolicyConfig(kind="sync").wait_s == 60
    assert PolicyConfig(kind="async").when_full == "latest"
    assert PolicyConfig(kind="drop_newest").wait_s == 0


def test_what_is_larger_than_declared_is_dropped_as_such():
    ring = make_ring()
    refused = ring.producer.publish("a", np.zeros((100, 100)), 0)
    assert (refused.status, refused.reason) == ("dropped", "too_large")
    assert ring.producer.publish("a", np.zeros((2, 3), np.int32), 1)  # smaller, and of another type
    (ready,) = ring.consumer.ready()
    assert ring.consumer.claim(ready).array.dtype == np.int32


def test_a_step_that_does_not_follow_is_dropped_as_repeated():
    ring = make_ring()
    assert [one.reason for one in publish(ring, [5, 5, 4])] == ["", "repeated", "repeated"]


def test_once_nobody_infers_frames_are_dropped_at_once():
    ring = make_ring()
    ring.region.words[Word.SUPERVISOR_STATE] = Side.FAILED
    assert publish(ring, [0])[0].reason == "no_inference"


def test_an_unknown_stream_names_the_nearest():
    ring = make_ring()
    with pytest.raises(ValueError, match="must be a stream of the configuration, got 'aa'; did you mean 'a'"):
        ring.producer.publish("aa", frame(0), 0)


@pytest.mark.parametrize("attributes", [{"x": float("nan")}, {"x": object()}, {"x": "y" * 3000}])
def test_attributes_that_do_not_travel_are_refused(attributes):
    with pytest.raises(ValueError, match="attributes must"):
        make_ring().producer.publish("a", frame(0), 0, attributes)


def test_a_type_that_no_slot_holds_is_refused():
    with pytest.raises(ValueError, match="array must be of one of the types"):
        make_ring().producer.publish("a", np.array(["text"]), 0)


def test_the_end_settles_what_is_open():
    ring = make_ring(slots=3)
    publish(ring, range(3))
    ring.consumer.claim(ring.consumer.ready()[0])
    ring.producer.announce_end()
    assert ring.consumer.producer_state is Side.ENDING
    ring.producer.close()
    assert ring.fate() == {0: "unanswered", 1: "undelivered", 2: "undelivered"}
    assert ring.ledger.open == 0


def test_what_a_dead_worker_held_is_tried_once_more_and_then_given_up():
    ring = make_ring()
    publish(ring, range(2))
    ring.consumer.claim(ring.consumer.ready()[0])
    assert ring.consumer.recover() == (1, 0)
    assert [ready.attempts for ready in ring.consumer.ready()] == [1, 0]
    ring.consumer.claim(ring.consumer.ready()[0])
    assert ring.consumer.recover() == (0, 1)
    ring.infer()
    ring.producer.poll()
    assert ring.fate() == {0: "lost", 1: "inferred"}


def test_a_worker_that_died_while_claiming_leaves_a_slot_that_can_be_replaced():
    ring = make_ring(PolicyConfig(kind="latest"), slots=1)
    publish(ring, [0])
    slot = ring.region.slots[0]
    ring.region.words[slot.base + Row.TAKEN] = 1  # its flag is up, the state not yet changed
    assert publish(ring, [1])[0].reason == "full"
    ring.consumer.recover()
    assert publish(ring, [2])[0]
    assert ring.region.words[slot.base + Row.STATE] == State.READY


def test_a_slot_that_holds_nonsense_costs_that_frame():
    ring = make_ring()
    publish(ring, range(2))
    ring.region.words[ring.region.slots[0].base + Row.SHAPE] = 1 << 40
    with pytest.raises(ValueError, match="must hold its array"):
        ring.consumer.claim(ring.consumer.ready()[0])
    ring.infer()
    ring.producer.poll()
    assert ring.fate() == {0: "failed", 1: "inferred"}


def test_the_box_brings_records_back_and_is_bounded():
    region = make_ring().region
    assert [region.leave(bytes([n]) * 200) for n in range(18)] == [True] * 16 + [False] * 2
    assert region.collect() == [bytes([n]) * 200 for n in range(16)]
    assert region.collect() == []
    assert region.leave(b"x")
