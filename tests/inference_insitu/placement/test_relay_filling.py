"""Slots that are filled after their publication leave a relay once they are full, and not before."""

import numpy as np
from relays import frame, make_relay

from inference_insitu.ring.filling import FillingProducer
from inference_insitu.ring.policies import PolicyConfig
from inference_insitu.ring.stream import StreamPlan


def reserved(producer, step):
    return producer.reserve("a", frame(step), step, host=lambda: frame(step))


def test_a_slot_leaves_once_it_is_full_though_nothing_else_happens(tmp_path):
    relay = make_relay(tmp_path)
    relay.producer = FillingProducer(relay.region, {"a": StreamPlan(PolicyConfig(kind="drop_newest"))}, relay.ledger)
    relay.start_worker()
    slot = reserved(relay.producer, 0)
    relay.publish(1)
    relay.pump()
    assert relay.work() == []
    np.frombuffer(slot.payload, np.float64)[:] = frame(0).ravel()
    relay.producer.commit(slot)
    relay.pump()
    assert relay.work() == [0, 1]
    relay.pump()
    relay.producer.poll()
    assert relay.ledger.fate == {0: "inferred", 1: "inferred"}


def test_a_slot_that_is_never_full_does_not_leave(tmp_path):
    relay = make_relay(tmp_path)
    relay.producer = FillingProducer(relay.region, {"a": StreamPlan(PolicyConfig(kind="drop_newest"))}, relay.ledger)
    relay.start_worker()
    slot = reserved(relay.producer, 0)
    relay.publish(1)
    relay.producer.fail(slot, "the device failed", again=False)
    relay.pump()
    assert relay.work() == [1]
    relay.pump()
    relay.producer.close()
    assert relay.ledger.fate == {0: "failed", 1: "inferred"}
