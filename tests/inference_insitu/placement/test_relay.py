"""A relay loses nothing: whatever leaves a simulation rank's ring, its end comes back, or is known."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from relays import SHAPE, Relay, coarser, frame, make_relay

from inference_insitu.placement import relay_message, relay_outbox, relay_receiver, relay_sender, relay_wire
from inference_insitu.placement.relay_wire import TO_KEEPER_TAG, TO_SIMULATION_TAG, stream_capacities
from inference_insitu.ring.layout import BOX_RECORDS, Row, Side, State, Word
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.region import Region
from inference_insitu.watching.events import read_events


def balanced(relay: Relay) -> bool:
    books = relay.ledger.streams["a"]
    return books.open == 0 and books.published == len(relay.ledger.fate)


def test_frames_arrive_whole_and_their_end_comes_back(tmp_path):
    relay = make_relay(tmp_path)
    relay.start_worker()
    assert relay.publish(4, 7, load_nN=2.5, phase="loading") == ["accepted"] * 2
    relay.pump()
    assert relay.work() == [4, 7]
    assert relay.seen[0].attributes == {"load_nN": 2.5, "phase": "loading"}
    assert relay.seen[0].rank == 3
    relay.pump()
    relay.producer.poll()
    assert relay.ledger.fate == {4: "inferred", 7: "inferred"}
    settled = relay.ledger.settled[4]
    assert settled.model == "model 7"
    assert settled.latency_s == pytest.approx(settled.queued_s + settled.inferred_s)


def test_a_smaller_frame_of_another_type_arrives_as_it_is(tmp_path):
    relay = make_relay(tmp_path)
    relay.start_worker()
    small = np.arange(6, dtype=np.complex64).reshape(2, 3) * 1j
    assert relay.producer.publish("a", small, 0)
    assert relay.producer.publish("a", np.zeros((0, 5)), 1)
    relay.pump()
    claimed = [relay.consumer.claim(ready) for ready in relay.consumer.ready()]
    assert (claimed[0].array == small).all()
    assert claimed[0].array.dtype == np.complex64
    assert claimed[1].array.shape == (0, 5)


def test_how_a_frame_failed_comes_back_in_words(tmp_path):
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.publish(0)
    relay.pump()
    relay.work(outcome="failed", detail="ValueError: größer als erlaubt")
    relay.pump()
    relay.producer.poll()
    assert relay.ledger.fate == {0: "failed"}
    assert relay.ledger.settled[0].reason == "ValueError: größer als erlaubt"


def test_before_a_worker_is_ready_nothing_leaves_and_latest_replaces_what_waits(tmp_path):
    relay = make_relay(tmp_path, PolicyConfig(kind="latest"))
    relay.start_worker(ready=False)
    assert relay.sender.state is Side.STARTING
    relay.publish(*range(10))
    assert [step for step, outcome in relay.ledger.fate.items() if outcome == "superseded"] == list(range(7))
    relay.consumer.state = Side.READY
    relay.pump()
    assert relay.sender.state is Side.READY
    assert relay.work() == [7, 8, 9]


def test_no_more_leaves_than_slots_were_granted(tmp_path):
    """What waits here can still be replaced; what has left cannot."""
    relay = make_relay(tmp_path, PolicyConfig(kind="latest"), slots=4, there=2)
    relay.start_worker()
    relay.publish(*range(20))
    relay.pump()
    assert relay.work() == [0, 1]
    relay.pump()
    assert relay.work() == [18, 19]
    relay.until_settled()
    assert balanced(relay)


POLICIES = [
    PolicyConfig(kind="drop_newest"),
    PolicyConfig(kind="latest"),
    PolicyConfig(kind="block", timeout_s=30.0),
    PolicyConfig(kind="sample", every=3, fallback="latest"),
    PolicyConfig(kind="degrade"),
    PolicyConfig(kind="spill"),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
@pytest.mark.parametrize("pace", [1, 3, 40])
def test_books_balance_with_every_policy_and_pace(tmp_path, policy, pace):
    """Whatever the worker's pace: it answers once in ``pace`` frames."""
    relay = make_relay(tmp_path, policy, busy=policy.kind == "block")
    relay.start_worker()
    for step in range(60):
        relay.publish(step)
        if step % pace == pace - 1:
            relay.pump(1)
            relay.work(1)
    relay.producer.announce_end()
    relay.until_settled()
    relay.producer.close()
    assert balanced(relay)
    inferred = sorted(step for step, outcome in relay.ledger.fate.items() if outcome == "inferred")
    assert sorted(claimed.step for claimed in relay.seen) == inferred
    if policy.kind == "block":
        assert inferred == list(range(60))
    assert set(relay.ledger.fate) == set(range(60))


def test_a_full_ring_gives_coarser_frames(tmp_path):
    relay = make_relay(tmp_path, PolicyConfig(kind="degrade"))
    relay.start_worker()
    relay.publish(*range(6))
    relay.until_settled()
    shapes = [claimed.array.shape for claimed in relay.seen]
    assert shapes == [SHAPE] * 3 + [coarser(frame(0)).shape] * 3


def test_spilled_frames_follow_in_their_order_when_slots_are_granted(tmp_path):
    relay = make_relay(tmp_path, PolicyConfig(kind="spill"))
    relay.start_worker()
    assert relay.publish(*range(15)) == ["accepted"] * 15
    relay.until_settled()
    assert [claimed.step for claimed in relay.seen] == list(range(15))
    assert set(relay.ledger.fate.values()) == {"inferred"}


def test_the_network_may_keep_the_memory_longer_than_the_worker(tmp_path):
    """The outcome is known, but a new frame must not overwrite what the library may still read."""
    relay = make_relay(tmp_path, slots=1)
    relay.start_worker()
    relay.wires[0].holds = True
    relay.publish(0)
    relay.pump()
    relay.work()
    relay.pump()
    assert relay.publish(1) == ["dropped"]
    relay.wires[0].holds = False
    assert relay.publish(2) == ["accepted"]
    assert relay.ledger.fate[0] == "inferred"


def test_a_payload_travels_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(relay_wire, "PIECE_BYTES", 10_001)
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.publish(0, 1)
    relay.producer.publish("a", frame(2)[:1], 2)
    relay.pump()
    claimed = [relay.consumer.claim(ready) for ready in relay.consumer.ready()]
    assert [(one.array == frame(step)[: len(one.array)]).all() for step, one in enumerate(claimed)] == [True] * 3


def test_the_end_follows_the_last_frame(tmp_path):
    """The worker may end only when all frames are there; the keeper when the books are closed."""
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.publish(0, 1, 2)
    relay.producer.announce_end()
    assert relay.ring.words[Word.PRODUCER_STATE] == Side.READY
    relay.pump()
    assert relay.ring.words[Word.PRODUCER_STATE] == Side.ENDING
    assert len(relay.consumer.ready()) == 3
    relay.until_settled()
    assert not relay.receiver.over
    relay.producer.close()
    relay.pump()
    assert relay.receiver.over
    assert relay.ring.words[Word.PRODUCER_STATE] == Side.CLOSED
    relay.sender.close()
    relay.receiver.close()
    assert not relay.path.exists()
    assert set(relay.ledger.fate.values()) == {"inferred"}


def test_what_is_not_answered_in_time_is_known_and_its_late_answer_ignored(tmp_path):
    relay = make_relay(tmp_path, slots=3, there=1)
    relay.start_worker()
    relay.publish(0, 1)
    relay.pump()
    claimed = relay.consumer.claim(relay.consumer.ready()[0])
    relay.producer.announce_end()
    relay.producer.close()
    relay.pump()
    relay.consumer.settle(claimed, "inferred")
    relay.pump()
    relay.sender.close()
    assert relay.ledger.fate == {0: "unanswered", 1: "undelivered"}
    assert relay.receiver.over
    assert not relay.lines


def test_a_frame_that_waits_there_at_the_end_is_not_answered_any_more(tmp_path):
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.publish(0)
    relay.pump()
    relay.producer.close()
    relay.pump()
    assert relay.consumer.ready() == []
    assert relay.ledger.fate == {0: "unanswered"}


@pytest.mark.parametrize("state", [Side.FAILED, Side.CLOSED])
def test_without_a_worker_frames_come_back(tmp_path, state):
    """Given up, or ended early: nobody waits for the end's timeout."""
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.publish(0, 1)
    relay.pump()
    relay.consumer.claim(relay.consumer.ready()[0])
    relay.consumer.state = Side.ABSENT
    relay.ring.words[Word.SUPERVISOR_STATE] = state
    relay.pump()
    assert relay.sender.state is state
    assert relay.sender.failed == (state is Side.FAILED)
    relay.producer.poll()
    assert list(relay.ledger.fate.values()) == (
        ["lost", "no_inference"] if state is Side.FAILED else ["unanswered", "undelivered"]
    )
    assert not relay.sender.supervisor_lost


def test_a_worker_that_is_gone_is_known_here(tmp_path):
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.consumer.state = Side.ABSENT
    relay.pump()
    assert relay.sender.state is Side.STARTING


def test_steering_proposals_come_back_in_order(tmp_path):
    relay = make_relay(tmp_path)
    relay.start_worker()
    assert relay.consumer.region.leave(b"stop")
    assert relay.consumer.region.leave(bytes(range(256)))
    relay.pump()
    assert relay.region.collect() == [b"stop", bytes(range(256))]


def test_a_proposal_for_which_there_is_no_room_is_told_once(tmp_path):
    relay = make_relay(tmp_path)
    relay.start_worker()
    for _ in range(3):
        for _ in range(BOX_RECORDS):
            assert relay.consumer.region.leave(b"interval")
        relay.pump()
    assert len(relay.region.collect()) == BOX_RECORDS
    assert [event.event for event in read_events(tmp_path)] == ["proposal_lost"]


@pytest.mark.parametrize("refused", [True, False])
def test_at_the_end_the_network_has_none_of_a_keeper_s_memory(tmp_path, refused):
    relay = make_relay(tmp_path, rank=5 if refused else 3)
    relay.pump()
    if not refused:
        relay.start_worker()
        relay.wires[0].send(b"no message", TO_KEEPER_TAG)
        relay.pump()
    assert relay.receiver.over
    assert any(relay.wires[1].buffers.values())
    relay.receiver.close()
    assert not any(relay.wires[1].buffers.values())


def test_a_lost_keeper_costs_its_frames_and_not_the_simulation(tmp_path, capfd):
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.publish(0, 1)
    relay.wires[1].cut = True
    relay.sender.progress()
    assert relay.sender.failed
    assert relay.sender.supervisor_lost
    assert relay.publish(2) == ["dropped"]
    relay.producer.close()
    relay.sender.close()
    assert relay.ledger.fate == {0: "lost", 1: "lost", 2: "no_inference"}
    assert balanced(relay)
    assert capfd.readouterr().err.count("\n") == 1


def test_a_keeper_that_is_lost_at_the_very_end_is_no_error(tmp_path, monkeypatch):
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.producer.close()
    monkeypatch.setattr(relay.sender, "progress", lambda: None)  # it dies after the last look
    relay.wires[1].cut = True
    relay.sender.close()
    assert relay.sender.supervisor_lost


def test_a_silent_keeper_is_lost_too_but_our_own_silence_is_not_its(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr(relay_sender, "time", SimpleNamespace(monotonic_ns=lambda: clock.now))
    relay = make_relay(tmp_path)
    relay.start_worker()
    clock.now += 10 * relay_sender.SILENCE_NS  # a long step
    relay.sender.progress()
    assert not relay.sender.supervisor_lost
    for _ in range(70):
        clock.now += relay_sender.INATTENTION_NS
        relay.sender.progress()
    assert relay.sender.supervisor_lost


def test_this_rank_takes_over_what_was_under_way(tmp_path):
    supervisor = SimpleNamespace(poll=lambda: None, stop=lambda timeout_s: None)
    relay = make_relay(tmp_path, take_over=lambda: supervisor)
    relay.start_worker()
    relay.publish(0, 1)
    relay.wires[1].cut = True
    relay.sender.progress()
    assert relay.sender.supervisor_lost
    assert not relay.sender.failed
    states = [relay.region.words[slot.base + Row.STATE] for slot in relay.region.slots]
    assert states.count(State.TAKEN) == 2  # for the recovery of the next reader


def test_a_lost_simulation_rank_leaves_its_ring_to_the_worker(tmp_path):
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.publish(0)
    relay.pump()
    relay.wires[0].cut = True
    relay.receiver.progress()
    assert relay.receiver.over
    assert not relay.consumer.producer_lives
    assert relay.ring.words[Word.RELAYED] == 0
    assert "lost" in relay.lines[0]
    assert relay.work() == [0]


@pytest.mark.parametrize(
    ("garbage", "line"),
    [
        (b"", "head"),
        (b"GET / HTTP/1.1\r\n", "CDIR"),
        (relay_message.End(0).encode(0)[:-1], "bytes"),
        (relay_message.Grant.of([(0, 0)]).encode(0), "kind"),
        (b"CDIR\x09\x00\x04\x00" + bytes(16), "version 1, got 9"),
        (relay_message.Hello(3, 10, 0, 0).encode(0), "once"),
    ],
)
def test_a_keeper_refuses_what_is_no_message_in_one_line(tmp_path, garbage, line, capfd):
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.wires[0].send(garbage, TO_KEEPER_TAG)
    relay.pump()
    assert relay.receiver.over
    assert len(relay.lines) == 1
    assert line in relay.lines[0]
    assert relay.sender.failed
    assert not relay.sender.supervisor_lost
    assert capfd.readouterr().err.count("\n") == 1
    relay.producer.close()
    relay.sender.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"nonsense",
        relay_message.Closed().encode(0),
        relay_message.Grant.of([(0, 5)]).encode(0),
        relay_message.Outcome(0, 99, 1, 0, 0, 1, 0, b"").encode(0),
        relay_message.Outcome(0, 0, 77, 0, 0, 1, 0, b"").encode(0),
        relay_message.Outcome(0, 0, 1, 999, 0, 1, 0, b"").encode(0),
        relay_message.Standing(77, 0, 0, b"").encode(0),
    ],
)
def test_a_simulation_rank_stops_relaying_at_what_is_no_message(tmp_path, garbage, capfd):
    """The simulation goes on; the keeper is still told of the end."""
    relay = make_relay(tmp_path)
    relay.start_worker()
    relay.publish(0)
    relay.wires[1].send(garbage, TO_SIMULATION_TAG)
    relay.pump()
    assert relay.sender.failed
    assert relay.publish(1) == ["dropped"]
    assert capfd.readouterr().err.count("\n") == 1
    relay.producer.close()
    relay.pump()
    assert relay.receiver.over
    assert balanced(relay)


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ((0, 0, 1, 0, 0, 8, 12, 1), "announce the 16 bytes"),
        ((9, 0, 1, 0, 0, 16, 12, 1), "held out"),
        ((0, 0, 1, 0, 0, 16, 99, 1), "known type"),
        ((0, 0, 1, 0, 0, 16, 12, 7), "dimensions"),
    ],
)
def test_a_frame_must_be_what_it_says(tmp_path, head, line):
    relay = make_relay(tmp_path)
    relay.start_worker()
    message = relay_message.FrameHead(*head, relay_message.FrameHead.tail((2,), b"{}"))
    relay.wires[0].send(message.encode(0), TO_KEEPER_TAG)
    relay.pump()
    assert line in relay.lines[0]


def test_a_frame_larger_than_its_slot_is_refused(tmp_path):
    relay = make_relay(tmp_path)
    relay.start_worker()
    rest = relay_message.FrameHead.tail((10**6,), b"")
    message = relay_message.FrameHead(0, 0, 1, 0, 0, 8 * 10**6, 11, 1, rest)
    relay.wires[0].send(message.encode(0), TO_KEEPER_TAG)
    relay.pump()
    assert "fit" in relay.lines[0]


def test_a_rank_that_is_another_is_not_served(tmp_path):
    relay = make_relay(tmp_path, rank=5)
    relay.pump()
    assert "rank 3" in relay.lines[0]
    assert not relay.receiver.has_ring
    assert relay.sender.failed


def test_a_ring_that_cannot_be_made_is_told_to_both_sides(tmp_path, capfd):
    (tmp_path / "ring").write_text("taken")
    relay = make_relay(tmp_path)
    relay.pump()
    assert "File exists" in relay.lines[0]
    assert relay.sender.failed
    assert "File exists" in capfd.readouterr().err
    assert (tmp_path / "ring").read_text() == "taken"


@pytest.mark.parametrize("text", [b"{}", b"[1]", b"{", b'{"groups": [], "spill_file": "", "variables": {}}', b"7"])
def test_a_layout_must_be_one(text):
    with pytest.raises(relay_message.MessageError, match="layout"):
        relay_receiver.relayed_layout(text, lambda stream, count: count)


def test_a_keeper_says_that_all_is_well_only_once_until_it_is_read(tmp_path, monkeypatch):
    """A simulation that computes for hours does not find thousands of messages."""
    monkeypatch.setattr(relay_receiver, "STANDING_NS", 0)
    relay = make_relay(tmp_path)
    relay.start_worker()
    for _ in range(100):
        relay.receiver.progress()
    assert len(relay.wires[0].messages[TO_SIMULATION_TAG]) <= 1
    for _ in range(5):
        relay.pump()
    relay.receiver.progress()
    assert relay.region.words[Word.CONSUMER_STATE] == Side.READY


def test_times_there_are_on_the_clock_there(tmp_path, monkeypatch):
    """Nodes count from their own start; deadlines and queue times are the worker's business."""
    ahead_ns = 3_600_000_000_000
    shifted = SimpleNamespace(monotonic_ns=lambda: time.monotonic_ns() + ahead_ns)
    monkeypatch.setattr(relay_sender, "time", shifted)
    monkeypatch.setattr(relay_outbox, "time", shifted)
    relay = make_relay(tmp_path)
    relay.producer._clock = shifted.monotonic_ns
    relay.start_worker()
    before = time.monotonic_ns()
    relay.publish(0)
    relay.pump()
    (ready,) = relay.consumer.ready()
    assert abs(ready.published_ns - before) < 10_000_000_000
    relay.until_settled()
    assert 0 <= relay.ledger.settled[0].latency_s < 10


def test_a_slot_there_takes_the_largest_form_of_a_frame(tmp_path):
    relay = make_relay(tmp_path, PolicyConfig(kind="spill"))
    relay.start_worker()
    assert stream_capacities(relay.ring.layout) == stream_capacities(relay.region.layout)
    assert relay.ring.layout.spill_bytes == 0
    assert isinstance(Region.open(relay.path), Region)
