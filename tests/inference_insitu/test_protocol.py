"""The coupling protocol, each scenario on queues and on MPI with the same assertions."""

import json
import threading

import fakes
import pytest
import scenarios
from launching import HERE, last_json

from cdi.errors import RunError
from inference_insitu.publisher import Publisher
from inference_insitu.service import serve
from inference_insitu.transport import Message, QueueLink, wait_for_message


@pytest.fixture(params=["queue", pytest.param("mpi", marks=pytest.mark.mpi)])
def play(request, tmp_path):
    def run(name, inference_ranks=1):
        gate = tmp_path / "gate"
        if request.param == "queue":
            return scenarios.play_on_queues(name, inference_ranks, gate)
        mpirun = request.getfixturevalue("mpirun")
        return last_json(mpirun(1 + inference_ranks, HERE / "scenarios.py", name, gate))

    return run


@pytest.mark.timeout(180)
class TestScenarios:
    def test_a_free_network_infers_every_frame_unchanged(self, play):
        """Small and large patterns arrive bit by bit as sent (the sink refuses others)."""
        figures = play("steady")
        assert figures["fate"] == {"0": "inferred", "7": "inferred", "9": "inferred"}
        assert figures["open"] == 0
        assert 0 < figures["latency_s"]["p50"] <= figures["latency_s"]["max"]

    def test_a_busy_network_gets_the_newest_frame_and_older_ones_are_counted(self, play):
        """Publishing returned six times before the network was allowed to answer once."""
        figures = play("busy")
        assert figures["fate"] == {str(step): "inferred" if step in (0, 5) else "superseded" for step in range(6)}
        assert figures["published"] == figures["inferred"] + sum(figures["dropped"].values()) == 6

    def test_two_inference_ranks_take_a_frame_each(self, play):
        figures = play("busy", inference_ranks=2)
        assert figures["inferred"] == 3
        assert figures["dropped"] == {"superseded": 3}
        assert figures["fate"]["0"] == figures["fate"]["1"] == figures["fate"]["5"] == "inferred"

    def test_a_network_that_raises_or_gives_nan_costs_only_that_frame(self, play):
        figures = play("faults")
        assert figures["fate"] == {
            "0": "inferred", "1": "failed", "2": "nonfinite", "3": "inferred", "4": "inferred",
            "8": "nonfinite", "9": "failed", "10": "inferred",
        }  # fmt: skip
        assert figures["dropped"] == {"failed": 2, "nonfinite": 2}
        assert figures["open"] == 0

    def test_results_that_cannot_be_written_are_counted(self, play):
        assert play("full-disk")["dropped"] == {"unsaved": 3}

    def test_a_stuck_network_ends_with_balanced_books(self, play):
        figures = play("stuck")
        assert figures["fate"] == {"0": "unanswered", "1": "superseded", "2": "undelivered"}
        assert figures["open"] == 0
        assert figures["unanswering"] == 1

    def test_a_run_without_a_frame_ends(self, play):
        figures = play("nothing")
        assert figures["published"] == figures["inferred"] == 0
        assert figures["latency_s"]["p50"] is None


def test_publishing_and_polling_never_sleep(monkeypatch):
    """The network never answers: five frames are published all the same, without a wait of any length."""
    ours, _ = QueueLink.pair()
    publisher = Publisher([ours])

    def refuse(seconds: float) -> None:
        raise AssertionError(f"slept {seconds} s")

    monkeypatch.setattr("time.sleep", refuse)
    for step in range(5):
        publisher.publish(fakes.frame(step))
        publisher.poll()
    assert publisher.books.dropped == {"superseded": 3}
    assert publisher.books.open == 2


def test_silence_ends_the_service_in_one_line():
    _, link = QueueLink.pair()
    with pytest.raises(RunError, match=r"nothing heard from the simulation for 0\.05 s"):
        serve(link, fakes.FakePredictor(), [], detector=scenarios.DETECTOR, silence_timeout_s=0.05)


def test_heartbeats_go_out_between_frames():
    ours, theirs = QueueLink.pair()
    publisher = Publisher([ours], heartbeat_s=1.0, clock=iter(range(2, 100, 2)).__next__)
    publisher.poll()
    message = theirs.receive()
    assert message is not None
    assert message.kind == "alive"


def test_latency_is_corrected_for_a_clock_that_starts_elsewhere():
    """The inference rank's clock is 1000 s ahead: the measured latency is what passed on one clock."""
    ours, theirs = QueueLink.pair()
    now = 0.0
    publisher = Publisher([ours], clock=lambda: now)
    for _ in range(8):
        theirs.send(Message("ready", {"clock": 1000.0}))
    publisher.connect(timeout_s=1)
    publisher.publish(fakes.frame(3))
    theirs.send(Message("outcome", {"step": 3, "outcome": "inferred", "finished_at": 1002.5, "seconds": 1, "text": ""}))
    publisher.poll()
    assert publisher.books.latency_s == [2.5]


def test_sinks_are_closed_before_the_simulation_hears_of_the_end():
    ours, theirs = QueueLink.pair()
    sink = fakes.CheckingSink()
    arguments = {"detector": scenarios.DETECTOR, "silence_timeout_s": 10}
    thread = threading.Thread(target=serve, args=(theirs, fakes.FakePredictor(), [sink]), kwargs=arguments, daemon=True)
    thread.start()
    ours.send(Message("end"))
    assert wait_for_message(ours, "closed", timeout_s=10).fields == {}
    assert sink.closed
    thread.join(10)


@pytest.mark.parametrize("array", [None, fakes.pattern(1), fakes.pattern(2, (9, 8, 10))[::2]])
def test_a_message_survives_encoding(array):
    message = Message("frame", {"step": 3, "text": "Å"}, array)
    decoded = Message.decode(message.encode())
    assert (decoded.kind, decoded.fields) == (message.kind, message.fields)
    assert (decoded.array is None) if array is None else (decoded.array == array).all()


def test_a_wrong_message_is_named():
    ours, theirs = QueueLink.pair()
    ours.send(Message("alive"))
    with pytest.raises(ValueError, match="message must be 'ready', got 'alive'"):
        wait_for_message(theirs, "ready", timeout_s=1)


def test_a_missing_message_is_not_waited_for_in_vain():
    _, theirs = QueueLink.pair()
    with pytest.raises(TimeoutError, match="no 'ready' message within"):
        wait_for_message(theirs, "ready", timeout_s=0.01)


def test_counting_noise_depends_on_seed_and_step_alone():
    """Dropping frames before it does not change a frame's exposure; another step does."""
    one, same = (fakes.frame(5).exposure(scenarios.DETECTOR).counts for _ in range(2))
    other = fakes.Frame(6, fakes.pattern(5), fakes.grid()).exposure(scenarios.DETECTOR).counts
    assert (one == same).all()
    assert (one != other).any()
    assert json.dumps(fakes.prediction().to_json())
