"""A session of a serving job and a courier, each with the other side played: what they say and what they leave."""

import json
from types import SimpleNamespace

import pytest

from inference_insitu.coupling_config import FailureConfig, PlacementConfig
from inference_insitu.inference.spec import WorkerSpec
from inference_insitu.placement import job, job_serving
from inference_insitu.placement.job import ABSENT, LOST, CourierSupervisor, announce, offer
from inference_insitu.placement.job_courier import Courier
from inference_insitu.placement.job_serving import JobReceiver, Session
from inference_insitu.placement.job_wire import JobWire
from inference_insitu.placement.relay_message import Standing, decode_to_keeper
from inference_insitu.placement.relay_wire import TO_KEEPER_TAG, TO_SIMULATION_TAG
from inference_insitu.ring.consumer import Consumer
from inference_insitu.ring.layout import Kind, Layout, Side, SlotGroup, Word
from inference_insitu.ring.region import Region
from inference_insitu.watching.events import EventLog

CONFIG = {"streams": {"a": {"analysis": "m"}}, "analyses": {"m": {"plugin": "moments"}}, "placement": {"kind": "job"}}


class Turns(JobWire):
    """A wire whose other side is this test: a list of what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[int, bytes]] = []
        self.connected = True

    def _hear(self) -> bool:
        return False

    def _speak(self, now: float) -> bool:
        messages = self._taken()
        self.sent += [(one.tag, bytes(one.data)) for one in messages]
        return bool(messages)

    def close(self) -> None:
        """Nothing is open."""

    def give(self, tag: int, data: bytes) -> None:
        """A message comes."""
        self.place(tag, len(data))[:] = data
        self.arrived()


@pytest.fixture
def region() -> Region:
    return Region.create(Layout((SlotGroup("a", Kind.MEMORY, 2, 64),)), rank=0)


@pytest.fixture
def session(tmp_path, monkeypatch) -> Session:
    """One for two ranks."""
    monkeypatch.setattr(job_serving, "guard", lambda config: None)  # which would kill these tests
    (tmp_path / "coupling.yaml").write_text(json.dumps(CONFIG))
    offer(tmp_path, WorkerSpec(0, ("ring0", "ring1"), str(tmp_path / "coupling.yaml"), str(tmp_path), ()))
    return Session(tmp_path, job_serving.os.getppid())


@pytest.mark.parametrize(("lost", "code"), [(False, ABSENT), (True, LOST)])
def test_a_session_that_does_not_find_all_couriers_gives_back_what_it_has(session, tmp_path, monkeypatch, lost, code):
    closed = []
    wire = SimpleNamespace(close=lambda: closed.append("wire"))
    met = SimpleNamespace(wire=wire, lost=lost, progress=lambda: False, close=lambda: closed.append("ring"))

    def meet(rank: int) -> bool:
        if rank == 0:
            session._receivers.append(met)
        return rank == 0

    monkeypatch.setattr(session, "_met", meet)
    assert session.run(tmp_path, timeout_s=0.05) == code
    assert closed == ["ring", "wire"]


def test_a_courier_that_is_refused_is_lost_to_its_session(tmp_path, session):
    """The next one serves it: it waits for that, and nobody else would begin it."""
    wire = Turns()
    receiver = JobReceiver(wire, 0, "t", session._config, EventLog(None, ""))
    receiver._ring = SimpleNamespace(say=lambda state: None)
    wire.give(TO_KEEPER_TAG, b"no message")
    receiver.progress()
    assert (receiver.over, receiver.lost) == (True, True)
    assert wire.sent, "it is told"


def test_what_a_courier_has_to_say_leaves_at_once(region):
    wire = Turns()
    consumer = Consumer(region, pid=0)
    courier = Courier(consumer, wire, EventLog(None, ""))
    courier.progress()
    wire.sent.clear()
    wire.give(TO_SIMULATION_TAG, Standing(int(Side.READY), int(Side.STARTING), 0, b"").encode(0))
    courier.progress()
    assert [type(decode_to_keeper(data)[0]).__name__ for tag, data in wire.sent if tag == TO_KEEPER_TAG] == ["Seen"]
    assert courier.busy


@pytest.mark.parametrize("announced", [False, True])
def test_the_end_waits_for_a_session_that_has_begun_and_for_no_other(tmp_path, region, monkeypatch, announced):
    monkeypatch.setattr(job, "start_python", lambda *arguments, **options: SimpleNamespace(pid=1, poll=lambda: None))
    monkeypatch.setattr("inference_insitu.inference.supervisor._has_ended", lambda child: False)
    (tmp_path / job.FOLDER).mkdir()
    supervisor = CourierSupervisor(
        region, tmp_path, failure=FailureConfig(), placement=PlacementConfig(kind="job"), events=EventLog(None, "")
    )
    supervisor.poll()
    if announced:
        announce(tmp_path)
    region.words[Word.PRODUCER_STATE] = Side.ENDING
    region.words[Word.CONSUMER_STATE] = Side.ABSENT
    supervisor.poll()
    assert (region.words[Word.SUPERVISOR_STATE] == Side.FAILED) is not announced
