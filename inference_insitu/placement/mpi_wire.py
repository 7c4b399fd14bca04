"""Nonblocking messages between two ranks, over MPI."""

from mpi4py import MPI

from inference_insitu.placement.relay_wire import Data, WireError
from inference_insitu.waiting import wait_until


class MpiWire:
    """Nonblocking messages between this rank and ``peer``; implements ``placement.relay_wire.Wire``."""

    def __init__(self, communicator: MPI.Intracomm, peer: int) -> None:
        self._communicator, self._peer = communicator, peer

    def send(self, data: Data, tag: int) -> "MpiSending":
        """Start to send ``data`` from where it lies."""
        try:
            return MpiSending(self._communicator.Isend([data, MPI.BYTE], self._peer, tag))
        except MPI.Exception as error:
            raise _gone(error) from error

    def receiving(self, into: memoryview, tag: int) -> "MpiReceiving":
        """A persistent request: the library registers its memory once."""
        return MpiReceiving(self._communicator.Recv_init([into, MPI.BYTE], self._peer, tag))


class MpiSending:
    """A message under way, which keeps its memory alive."""

    def __init__(self, request: MPI.Request) -> None:
        self._request = request

    def done(self) -> bool:
        """Whether its memory may be used again."""
        try:
            return self._request.Test()
        except MPI.Exception as error:
            raise _gone(error) from error


class MpiReceiving:
    """A buffer to be held out again and again."""

    def __init__(self, request: MPI.Prequest) -> None:
        self._request, self._status = request, MPI.Status()
        self._held_out = False

    def start(self) -> None:
        """Hold it out for one message."""
        try:
            self._request.Start()
        except MPI.Exception as error:
            raise _gone(error) from error
        self._held_out = True

    def received(self) -> int | None:
        """Bytes of the message that has arrived; None before."""
        # A request that is not held out tests as complete.
        if not self._held_out:
            return None
        try:
            if not self._request.Test(self._status):
                return None
        except MPI.Exception as error:
            self._held_out = False
            raise _gone(error) from error
        self._held_out = False
        return self._status.Get_count(MPI.BYTE)

    def cancel(self) -> None:
        """Take it back; a message that is arriving is waited for at most a second."""
        if self._request == MPI.REQUEST_NULL:
            return
        held_out, self._held_out = self._held_out, False
        try:
            if held_out:
                self._request.Cancel()
                wait_until(self._request.Test, timeout_s=1.0)
            self._request.Free()
        except MPI.Exception as error:
            raise _gone(error) from error


def _gone(error: MPI.Exception) -> WireError:
    return WireError(error.Get_error_string())
