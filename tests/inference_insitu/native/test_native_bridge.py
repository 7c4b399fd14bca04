"""Arrays by their address: what the coupling sees of them, and what is refused."""

import numpy as np
import pytest

from cdi.errors import RunError
from inference_insitu.inference.frame import Variable
from inference_insitu.native.bridge import MOST_VIEWS, Bridge
from inference_insitu.ring.producer import Publication
from inference_insitu.steering.commands import Command

VARIABLES = {
    "density": Variable("float64", (4, 3)),
    "flags": Variable("int32", (5,)),
    "energy": Variable("float32", ()),
}


class Recorder:
    """In a coupling's place."""

    def __init__(self):
        self.frames = []
        self.answer = Publication("accepted")
        self.commands = ()
        self.left = []

    def publish(self, name, array, step, attributes=None):
        self.frames.append((name, array, step, attributes))
        return self.answer

    def poll_steering(self):
        return self.commands

    def close(self):
        self.left.append("closed")

    def abandon(self, why):
        self.left.append(str(why))


class Communicator:
    """In the place of mpi4py's."""

    def py2f(self):
        return 7


@pytest.fixture
def coupling():
    return Recorder()


@pytest.fixture
def bridge(coupling):
    return Bridge(coupling, VARIABLES, Communicator())


def address(array):
    return array.ctypes.data


def test_the_array_is_the_callers_own_memory(bridge, coupling):
    values = np.arange(12.0).reshape(4, 3)
    assert bridge.publish("density", address(values), None, None, 3) == (0, "")
    name, seen, step, attributes = coupling.frames[0]
    assert (name, step, attributes) == ("density", 3, None)
    assert (seen == values).all()
    assert seen.dtype == values.dtype
    assert not seen.flags.writeable
    values[1, 1] = -5
    assert seen[1, 1] == -5


@pytest.mark.parametrize(("name", "dtype", "shape"), [("flags", np.int32, (5,)), ("energy", np.float32, ())])
def test_type_and_shape_are_as_declared(bridge, coupling, name, dtype, shape):
    values = np.full(shape, 9, dtype)
    bridge.publish(name, address(values), None, None, 0)
    seen = coupling.frames[0][1]
    assert (seen.dtype, seen.shape) == (values.dtype, shape)
    assert (seen == values).all()


def test_a_smaller_array_has_its_own_extents_each_time(bridge, coupling):
    values = np.arange(12.0)
    for extents in ((2, 3), (4, 2), (2, 3), (0, 3)):
        bridge.publish("density", address(values), extents, None, 0)
        seen = coupling.frames[-1][1]
        assert (seen == values[: extents[0] * extents[1]].reshape(extents)).all()


def test_another_buffer_is_another_array(bridge, coupling):
    buffers = [np.full((4, 3), float(number)) for number in range(MOST_VIEWS + 3)]
    for _ in range(2):
        for buffer in buffers:
            bridge.publish("density", address(buffer), None, None, 0)
    assert [frame[1][2, 2] for frame in coupling.frames] == [*range(len(buffers))] * 2


def test_an_empty_array_may_have_no_memory(bridge, coupling):
    bridge.publish("density", 0, (0, 3), None, 0)
    assert coupling.frames[0][1].shape == (0, 3)


def test_attributes_are_a_json_object(bridge, coupling):
    values = np.zeros(5, np.int32)
    bridge.publish("flags", address(values), None, '{"pressure": 2.5, "phase": "fcc"}', 0)
    assert coupling.frames[0][3] == {"pressure": 2.5, "phase": "fcc"}
    for text in ("[1]", "{", "nothing"):
        with pytest.raises(ValueError, match="attributes must be a JSON object, got"):
            bridge.publish("flags", address(values), None, text, 1)


@pytest.mark.parametrize(
    ("name", "where", "extents", "line"),
    [
        ("densty", 1, None, "got 'densty'; did you mean 'density'"),
        ("density", 1, (5, 3), "2 numbers of at most .4, 3., got .5, 3."),
        ("density", 1, (-1, 3), "got .-1, 3."),
        ("density", 1, (4,), "got .4."),
        ("density", 0, None, "data of 'density' must be an address, got NULL"),
        ("density", 0, (1, 1), "got NULL"),
    ],
)
def test_a_wrong_call_reads_no_memory(bridge, coupling, name, where, extents, line):
    with pytest.raises(ValueError, match=line):
        bridge.publish(name, where, extents, None, 0)
    assert not coupling.frames


def test_status_and_reason(bridge, coupling):
    values = np.zeros(5, np.int32)
    coupling.answer = Publication("dropped", "superseded")
    assert bridge.publish("flags", address(values), None, None, 0) == (1, "superseded")
    coupling.answer = Publication("failed", "disk is full")
    assert bridge.publish("flags", address(values), None, None, 0) == (2, "disk is full")


def test_commands_beyond_the_callers_room_come_at_the_next_call(bridge, coupling):
    coupling.commands = (Command("interval", 5), Command("stop"), Command("snapshot"))
    assert bridge.poll_steering(2) == [("interval", 5.0), ("stop", None)]
    coupling.commands = (Command("stop"),)
    assert bridge.poll_steering(4) == [("snapshot", None), ("stop", None)]
    coupling.commands = ()
    assert bridge.poll_steering(4) == []


def test_what_was_written_last_is_flushed_even_where_closing_fails(bridge, coupling, monkeypatch):
    def fails():
        raise RunError("rank 3 did not answer")

    flushed = []
    monkeypatch.setattr(coupling, "close", fails)
    monkeypatch.setattr("sys.stdout.flush", lambda: flushed.append(True), raising=False)
    with pytest.raises(RunError, match="rank 3"):
        bridge.close()
    assert flushed


def test_leaving_alone_says_why(bridge, coupling):
    bridge.abandon("the mesh is tangled")
    assert coupling.left == ["the mesh is tangled"]
