"""The wire's letter boxes and its file of answers, without a network; then both ends of it in two processes."""

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from launching import environment

from inference_insitu.placement import job_wire, sst
from inference_insitu.placement.job_wire import CourierWire, JobWire, ServerWire
from inference_insitu.placement.relay_wire import WireError
from inference_insitu.placement.sst import StreamError

HERE = Path(__file__).parent
PATIENCE_S = 90.0

needs_adios2 = pytest.mark.skipif(find_spec("adios2") is None, reason="ADIOS2 is not installed (group sst)")


class FakeStream:
    """In place of either end of an SST stream."""

    def __init__(self, *arguments, **options) -> None:
        self.sent: list[list[tuple[int, bytes]]] = []
        self.ended = False

    def step(self, argument) -> bool:
        if self.ended:
            raise StreamError("the stream has ended")
        if not callable(argument):
            self.sent.append([(tag, bytes(data)) for tag, data in argument])
        return False

    def close(self) -> None:
        pass


@pytest.fixture
def ends(tmp_path, monkeypatch):
    monkeypatch.setattr(job_wire, "Outgoing", FakeStream)
    monkeypatch.setattr(job_wire, "Incoming", FakeStream)
    monkeypatch.setattr(job_wire, "ADMIT_S", 0.0)
    monkeypatch.setattr(job_wire, "SHORTEST_LOOK_S", 0.0)
    monkeypatch.setattr(job_wire, "LONGEST_LOOK_S", 0.0)
    return CourierWire(tmp_path, 0, "t"), ServerWire(tmp_path, 0, "t", timeout_s=1.0)


def test_a_message_goes_to_the_memory_held_out_first_or_waits_for_one():
    wire = JobWire()
    wire.place(7, 3)[:] = b"one"
    wire.arrived()
    first, second = (wire.receiving(memoryview(bytearray(8)), 7) for _ in range(2))
    first.start()
    second.start()
    assert (first.received(), second.received()) == (3, None)
    wire.place(7, 5)[:] = b"twice"
    wire.place(8, 1)[:] = b"x"
    assert second.received() is None, "its content may not be there yet"
    wire.arrived()
    assert second.received() == 5
    assert bytes(second.into[:5]) == b"twice"
    assert bytes(first.into[:3]) == b"one"


def test_memory_taken_back_gets_nothing():
    wire = JobWire()
    held = wire.receiving(memoryview(bytearray(8)), 7)
    held.start()
    held.cancel()
    wire.place(7, 3)
    wire.arrived()
    assert held.received() is None


def test_a_message_longer_than_its_memory_is_refused():
    wire = JobWire()
    wire.receiving(memoryview(bytearray(2)), 7).start()
    with pytest.raises(StreamError, match="must fit its 2 bytes, got 3"):
        wire.place(7, 3)


def test_messages_that_nobody_waits_for_are_bounded(monkeypatch):
    monkeypatch.setattr(job_wire, "MOST_KEPT", 2)
    wire = JobWire()
    wire.place(7, 1)
    wire.place(7, 1)
    with pytest.raises(StreamError, match="at most 2"):
        wire.place(7, 1)


def test_answers_come_in_order_also_where_the_file_is_seen_in_part(ends, tmp_path):
    courier, server = ends
    path = job_wire.answers_path(tmp_path, 0, "t")
    box = courier.receiving(memoryview(bytearray(64)), 5)
    box.start()
    sent = server.send(b"first answer", 5)
    server.move()
    assert sent.done()
    whole = path.read_bytes()
    for length in range(len(whole)):  # a length that is seen before its content, too
        path.write_bytes(whole[:length] + bytes(len(whole) - length))
        courier.move()
        if length < len(whole) - 1:
            assert box.received() is None
    path.write_bytes(whole)
    courier.move()
    assert bytes(box.into[: box.received() or 0]) == b"first answer"


def test_nothing_is_sent_before_the_serving_job_is_there(ends, tmp_path):
    courier, _ = ends
    beat = job_wire.answers_path(tmp_path, 0, "t")
    kept = beat.read_bytes()
    beat.unlink()
    sent = courier.send(b"frame", 3)
    courier.move()
    assert not courier.connected
    assert not sent.done()
    beat.write_bytes(kept)
    courier.move()
    assert sent.done()
    assert courier._stream.sent[-1] == [(3, b"frame")]


class CutStream(FakeStream):
    """Ends in the middle of a step: messages have their places, and no content."""

    def step(self, place) -> bool:
        place(7, 3)
        raise StreamError("the stream has ended")


def test_a_message_whose_stream_ends_before_its_content_has_not_come(ends):
    _, server = ends
    held, later = (server.receiving(memoryview(bytearray(8)), 7) for _ in range(2))
    held.start()
    server._stream = CutStream()
    server.move()
    later.start()
    for one in (held, later):
        with pytest.raises(WireError, match="has ended"):
            one.received()


def test_answers_are_read_to_the_last_one_after_their_job_has_ended(ends, tmp_path):
    courier, server = ends
    box = courier.receiving(memoryview(bytearray(64)), 5)
    box.start()
    server.send(b"its end", 5)
    server.move()
    server.close()
    courier.move()
    assert bytes(box.into[: box.received() or 0]) == b"its end"
    courier.close()
    server.send(b"too late", 5)
    server.move()
    assert not server.broken
    assert not list(tmp_path.glob("answers-*"))


def test_a_silent_side_is_lost(ends, monkeypatch):
    courier, server = ends
    courier.move()
    held = courier.receiving(memoryview(bytearray(8)), 5)
    held.start()
    monkeypatch.setattr(job_wire, "SILENCE_S", 0.0)
    time.sleep(0.01)
    courier.move()
    with pytest.raises(WireError, match="no sign of life"):
        held.received()
    server._stream.ended = True
    server.move()
    with pytest.raises(WireError, match="the stream has ended"):
        server.send(b"", 5)


def end(side: str, folder: Path) -> "subprocess.Popen[str]":
    """``job_wire_end.py`` as a child."""
    command = [sys.executable, str(HERE / "job_wire_end.py"), side, str(folder)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: "subprocess.Popen[str]") -> str:
    """What the child printed last."""
    try:
        out, error = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, error
    return out.splitlines()[-1]


@needs_adios2
def test_what_leaves_one_process_arrives_in_the_other(tmp_path):
    courier, server = end("courier", tmp_path), end("server", tmp_path)
    assert said(server) == "the stream has ended"
    assert said(courier) == "thanks"


@needs_adios2
def test_a_courier_listens_where_the_guide_says(tmp_path, monkeypatch):
    """On every interface, which ADIOS2 gives no means to change, and within the ports that it may be held to."""
    monkeypatch.setenv("ADIOS2_INTERFACE", "lo")
    monkeypatch.setenv("ADIOS2_PORT_RANGE", "26200:26300")
    address, port = said(end("listening", tmp_path)).split(":")
    assert int(address, 16) == 0
    assert 26200 <= int(port, 16) <= 26300


@needs_adios2
def test_a_stream_without_a_writer_is_an_error(tmp_path):
    assert said(end("alone", tmp_path)) == "no writer of frames within 1 s"


def test_where_adios2_is_missing_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sst, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"crystal-defects-insitu\[sst\]"):
        sst.require()
