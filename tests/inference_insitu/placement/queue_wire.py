"""A wire between two objects of one process that behaves as MPI does, for tests without MPI.

Short messages are copied when they are sent; the memory of long ones is read when they arrive, so that
whoever writes to it before the send is done sends something else.
"""

from collections import defaultdict, deque

from inference_insitu.placement.relay_wire import WireError

EAGER_BYTES = 4096


class QueueWire:
    """One end; made in pairs."""

    def __init__(self):
        self.peer = None
        self.cut = False
        self.holds = False
        """Whether the network keeps the memory of what it has sent."""
        self.messages = defaultdict(deque)
        self.buffers = defaultdict(deque)

    @classmethod
    def pair(cls):
        one, other = cls(), cls()
        one.peer, other.peer = other, one
        return one, other

    def send(self, data, tag):
        self.check()
        message = _Message(self, data)
        self.peer.messages[tag].append(message)
        return message

    def receiving(self, into, tag):
        self.check()
        return _Receiving(self, into, tag)

    def check(self):
        if self.cut or self.peer.cut:
            raise WireError("process failed")

    def match(self, tag):
        messages, buffers = self.messages[tag], self.buffers[tag]
        while messages and buffers:
            message, receiving = messages.popleft(), buffers.popleft()
            data = message.data
            if len(data) > len(receiving.into):
                raise WireError("message truncated")
            receiving.into[: len(data)] = data
            receiving.size = len(data)
            message.arrived = True


class _Message:
    def __init__(self, wire, data):
        self.wire = wire
        self.arrived = len(data) <= EAGER_BYTES
        self.data = bytes(data) if self.arrived else data

    def done(self):
        self.wire.check()
        return self.arrived and not (self.wire.holds and len(self.data) > EAGER_BYTES)


class _Receiving:
    def __init__(self, wire, into, tag):
        self.wire, self.into, self.tag = wire, into, tag
        self.size = None
        self.held_out = False

    def start(self):
        self.wire.check()
        assert not self.held_out
        self.held_out, self.size = True, None
        self.wire.buffers[self.tag].append(self)

    def received(self):
        self.wire.check()
        if not self.held_out:
            return None
        self.wire.match(self.tag)
        if self.size is not None:
            self.held_out = False
        return self.size

    def cancel(self):
        if self.held_out and self.size is None:
            self.wire.buffers[self.tag].remove(self)
        self.held_out = False
