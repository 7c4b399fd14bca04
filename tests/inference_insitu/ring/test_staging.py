"""Spilled frames wait in memory for their file: nobody's death and no disk loses, doubles or changes one."""

import threading

import pytest
from rings import CAPACITY, frame, make_ring, no_larger_files

from inference_insitu.inference import mover
from inference_insitu.inference.mover import Mover
from inference_insitu.ring import consumer as consumer_module
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Row, State
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.region import Region
from inference_insitu.ring.spill import SpillFile
from inference_insitu.waiting import wait_until

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture
def ring(tmp_path):
    """One slot in memory, three in the file, two places before that."""
    return make_ring(PolicyConfig(kind="spill"), slots=1, staged=2, spill=tmp_path / "spill")


def publish(ring, steps):
    return [ring.producer.publish("a", frame(step), step) for step in steps]


def in_file(ring):
    """For each of its slots, the step whose frame the file holds; None where that is no frame."""
    data = [bytes(ring.region.spilled[at : at + CAPACITY]) for at in range(0, 3 * 4096, 4096)]
    return [next((step for step in range(20) if one == frame(step).tobytes()), None) for one in data]


def test_they_wait_in_memory_then_in_the_file_and_are_answered_from_either(ring):
    assert all(publish(ring, range(4)))
    assert in_file(ring) == [None, None, 3]  # nobody has moved anything: the third went to the file itself
    assert ring.consumer.move()
    assert in_file(ring) == [None, 2, 3]  # the newest: the other one's turn to be answered comes first
    assert [one.step for one in ring.infer(2)] == [0, 1]
    assert not ring.consumer.move()  # what is answered need not be kept
    assert [one.step for one in ring.infer()] == [2, 3]
    assert all(publish(ring, range(4, 8)))
    while ring.consumer.move():
        pass
    assert [one.step for one in ring.infer()] == [4, 5, 6, 7]
    ring.producer.close()
    assert ring.fate() == dict.fromkeys(range(8), "inferred")


def test_a_place_is_free_again_once_its_frame_is_moved_or_answered(ring):
    publish(ring, range(3))
    ring.consumer.move()
    ring.infer(2)
    for step in (3, 4, 5):  # one in memory, one for each place
        assert ring.producer.publish("a", frame(step), step)
    assert not set(in_file(ring)) & {3, 4, 5}
    assert [one.step for one in ring.infer()] == [2, 3, 4, 5]


def test_a_worker_that_dies_while_it_moves_leaves_the_frame_in_memory(ring, monkeypatch):
    publish(ring, range(2))
    write_bytes = SpillFile.write_bytes

    def half(file, data, offset):
        write_bytes(file, data[: len(data) // 2], offset)
        raise KeyboardInterrupt

    monkeypatch.setattr(SpillFile, "write_bytes", half)
    with pytest.raises(KeyboardInterrupt):
        ring.consumer.move()
    ring.consumer = Consumer(ring.region, pid=2)
    assert ring.consumer.recover() == (0, 0)
    assert [one.step for one in ring.infer()] == [0, 1]


def test_a_file_that_takes_nothing_more_fails_only_what_has_no_place_in_memory(ring, tmp_path):
    publish(ring, range(3))
    with no_larger_files(100):
        with pytest.raises(OSError, match="File too large"):
            ring.consumer.move()
        (refused,) = publish(ring, [3])
    assert (refused.status, refused.reason) == ("failed", f"[Errno 27] File too large: '{tmp_path / 'spill'}'")
    assert ring.consumer.move()
    assert publish(ring, [4])[0]
    assert [one.step for one in ring.infer()] == [0, 1, 2, 4]
    ring.producer.close()
    assert ring.fate() == {3: "failed", **dict.fromkeys((0, 1, 2, 4), "inferred")}


def test_a_slot_is_not_given_back_while_its_frame_is_being_moved(ring, monkeypatch):
    """What is written late would be over the next frame's. It may be answered meanwhile, and from memory."""
    publish(ring, range(2))
    slot = ring.region.slots[1]
    answers = threading.Thread(target=ring.infer)
    write_bytes = SpillFile.write_bytes

    def slowly(file, data, offset):
        answers.start()
        assert wait_until(lambda: slot.row()[Row.STATE] != State.READY, timeout_s=60)
        answers.join(0.1)
        assert slot.row()[Row.STATE] == State.TAKEN
        write_bytes(file, data, offset)

    monkeypatch.setattr(SpillFile, "write_bytes", slowly)
    assert ring.consumer.move()
    answers.join(60)
    assert slot.row()[Row.STATE] == State.DONE


@pytest.mark.parametrize("waits", ["infer", "stop_moving"])
def test_a_file_that_never_takes_a_frame_is_not_waited_for_for_ever(ring, tmp_path, monkeypatch, waits):
    monkeypatch.setattr(consumer_module, "MOVE_TIMEOUT_S", 0.05)
    publish(ring, range(2))
    begun, over = threading.Event(), threading.Event()

    def hang(file, data, offset):
        begun.set()
        assert over.wait(60)

    monkeypatch.setattr(SpillFile, "write_bytes", hang)
    moving = threading.Thread(target=ring.consumer.move)
    moving.start()
    try:
        assert begun.wait(60)
        with pytest.raises(RuntimeError, match=f"{tmp_path / 'spill'} has not taken a frame in 0.05 s"):
            ring.infer() if waits == "infer" else ring.consumer.stop_moving()
    finally:
        over.set()
        moving.join(60)


def test_a_frame_that_is_read_from_memory_keeps_its_place(ring, monkeypatch):
    """Also where it was claimed while it was written to the file."""
    publish(ring, range(2))
    write_bytes, claimed = SpillFile.write_bytes, []

    def meanwhile(file, data, offset):
        claimed.extend(ring.consumer.claim(ready) for ready in ring.consumer.ready())
        write_bytes(file, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(SpillFile, "write_bytes", meanwhile)
        ring.consumer.move()
    publish(ring, range(2, 4))
    for one in claimed:
        assert (one.array == frame(one.step)).all()


def test_who_gives_a_ring_away_moves_nothing_more(ring):
    publish(ring, range(3))
    ring.consumer.stop_moving()
    assert not ring.consumer.move()
    ring.consumer = Consumer(ring.region, pid=2)
    assert ring.consumer.move()
    assert [one.step for one in ring.infer()] == [0, 1, 2]


def test_a_mover_goes_on_after_a_refusal_until_it_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(mover, "REFUSED_S", 0.001)
    spill = tmp_path / "spill"
    ring = make_ring(PolicyConfig(kind="spill"), slots=1, staged=2, path=tmp_path / "ring", spill=spill)
    refusals, write_bytes = [], SpillFile.write_bytes

    def refuse_twice(file, data, offset):
        if len(refusals) < 2:
            refusals.append(offset)
            raise OSError(28, "No space left on device")
        write_bytes(file, data, offset)

    monkeypatch.setattr(SpillFile, "write_bytes", refuse_twice)
    publish(ring, range(3))
    stop = threading.Event()
    Mover([ring.consumer], stop)
    try:
        assert wait_until(lambda: in_file(ring) == [1, 2, None], timeout_s=60)
        assert len(refusals) == 2
    finally:
        stop.set()
    assert [one.step for one in ring.infer()] == [0, 1, 2]


@pytest.mark.parametrize("base", [-1, 1 << 20, 1 << 60])
def test_words_that_are_nonsense_lead_nowhere(ring, base):
    publish(ring, range(2))
    ring.region.stagings["a"].give(1, 99, base)
    assert ring.producer.publish("a", frame(2), 2)
    ring.region.stagings["a"].give(0, 99, base)
    assert ring.consumer.move()
    assert not ring.consumer.move()
    assert in_file(ring) == [None, 2, None]


def test_another_process_sees_the_same_frames(tmp_path):
    path, spill = tmp_path / "ring", tmp_path / "spill"
    ring = make_ring(PolicyConfig(kind="spill"), slots=1, staged=2, path=path, spill=spill)
    publish(ring, range(4))
    ring.consumer.move()
    ring.consumer = Consumer(Region.open(path), pid=2)
    assert [one.step for one in ring.infer()] == [0, 1, 2, 3]
