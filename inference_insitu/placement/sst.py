"""ADIOS2 SST: messages from one process's memory to another's, over the network. The only file that uses ADIOS2.

Its calls wait for as long as the other side is stopped, and hold Python's lock meanwhile, so that no other
thread of the process runs: they are made only by processes that may be killed (``placement.job_courier``,
``placement.job_serving``), never by a rank of the simulation. A writer listens on every interface, whatever
``NetworkInterface`` and ``ADIOS2_INTERFACE`` say (they choose the address that readers are told), and asks no
reader who it is: for networks that one trusts. ``ADIOS2_PORT_RANGE=low:high`` bounds its port.

A step holds any number of messages: ``index`` has a row (letters, number of the step), then one (tag,
bytes) for each message; ``data`` has their bytes, one behind the other.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from cdi.errors import MissingDependencyError

Message = tuple[int, bytes | memoryview]
"""A tag and the bytes."""
Place = Callable[[int, int], memoryview]
"""From a message's tag and size to the memory that it goes into."""

CONTACT = ".sst"
"""What ADIOS2 appends to a stream's name for the file by which a reader finds it."""
LETTERS = int.from_bytes(b"CDISTRM1", "little")
MOST_BYTES = 1 << 40
_WRITER = {
    # Nobody is waited for, and nothing is ever discarded unsaid: what may be under way, our own messages bound.
    "RendezvousReaderCount": "0",
    "QueueLimit": "0",
    "QueueFullPolicy": "Block",
    # TCP alone: what the wheel has everywhere, and what notices that the other side has died.
    "DataTransport": "evpath",
    "ControlTransport": "sockets",
}


class StreamError(OSError):
    """The other side has closed the stream, is gone, or sends what is no message."""


def require() -> None:
    """Raise ``MissingDependencyError`` unless ADIOS2 is installed; does not import it."""
    if find_spec("adios2") is None:
        raise MissingDependencyError(
            "placement.kind 'job' needs the package 'adios2', which is not installed; "
            "install it with: pip install 'crystal-defects-insitu[sst]'"
        )


class Outgoing:
    """The writing end of the stream ``path``. What is sent before a reader came is lost; none is waited for."""

    def __init__(self, path: Path) -> None:
        self._adios2 = _adios2()
        self._adios = self._adios2.Adios()
        io = self._adios.declare_io("out")
        io.set_engine("SST")
        io.set_parameters(_WRITER)
        self._engine = io.open(str(path), self._adios2.Mode.Write)
        self._index = io.define_variable("index", np.zeros(2, np.int64), [2], [0], [2])
        self._data = io.define_variable("data", np.zeros(1, np.uint8), [1], [0], [1])
        self._steps = 0

    def step(self, messages: Sequence[Message] = ()) -> None:
        """Send ``messages``, whose memory may change once this returns; let a reader in that has come."""
        index = np.array([(LETTERS, self._steps), *((tag, len(data)) for tag, data in messages)], np.int64).ravel()
        self._engine.begin_step(self._adios2.StepMode.Append, 0.0)
        self._put(self._index, index, 0, index.size)
        offset, total = 0, sum(len(data) for _, data in messages)
        for _, data in messages:
            if len(data):
                # Given memory that may not be written to, the binding crashes.
                writable = data if isinstance(data, memoryview) and not data.readonly else bytearray(data)
                self._put(self._data, np.frombuffer(writable, np.uint8), offset, total)
                offset += len(data)
        self._engine.end_step()
        self._steps += 1

    def close(self) -> None:
        """Wait until the reader has all that was sent, or is gone."""
        self._engine.close()

    def _put(self, variable: Any, values: Any, offset: int, total: int) -> None:
        variable.set_shape([total])
        variable.set_selection([[offset], [values.size]])
        self._engine.put(variable, values, self._adios2.Mode.Sync)


class Incoming:
    """The reading end of the stream ``path``, whose writer must make steps meanwhile.

    Raises
    ------
    StreamError
        If there is no such writer within ``timeout_s``.
    """

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self._adios2 = _adios2()
        self._adios = self._adios2.Adios()
        self._io = self._adios.declare_io("in")
        self._io.set_engine("SST")
        self._io.set_parameters({"OpenTimeoutSecs": f"{timeout_s:.0f}"})
        try:
            self._engine = self._io.open(str(path), self._adios2.Mode.Read)
        except RuntimeError as error:
            raise StreamError(f"no writer of {path.name} within {timeout_s:g} s") from error

    def step(self, place: Place) -> bool:
        """Receive one step, each message into ``place`` of its tag and size; whether one had come.

        Raises
        ------
        StreamError
            If none will come any more.
        """
        statuses, modes = self._adios2.StepStatus, self._adios2.Mode
        status = self._engine.begin_step(self._adios2.StepMode.Read, 0.0)
        if status == statuses.NotReady:
            return False
        if status != statuses.OK:
            raise StreamError("the stream has ended")
        variable = self._io.inquire_variable("index")
        index = np.empty(int(variable.shape()[0]), np.int64)
        self._engine.get(variable, index, modes.Sync)
        offset = 0
        for tag, size in _messages(index):
            memory = place(tag, size)
            if size:
                data = self._io.inquire_variable("data")
                data.set_selection([[offset], [size]])
                self._engine.get(data, np.frombuffer(memory, np.uint8), modes.Deferred)
                offset += size
        self._engine.perform_gets()
        self._engine.end_step()
        return True

    def close(self) -> None:
        """Let the writer go on without us."""
        self._engine.close()


def _messages(index: Any) -> list[tuple[int, int]]:
    """(tag, bytes) of each message of a step, checked."""
    rows = index.reshape(-1, 2).tolist() if index.size and index.size % 2 == 0 else [(0, 0)]
    if rows[0][0] != LETTERS or any(not 0 <= size < MOST_BYTES for _, size in rows[1:]):
        raise StreamError("a step must be of messages, got something else")
    return [(tag, size) for tag, size in rows[1:]]


def _adios2() -> Any:
    """ADIOS2 without torch and cupy, which it imports where they are: seconds, for arrays that we do not send."""
    kept = [name for name in ("torch", "cupy") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(kept))  # type: ignore[arg-type]
    try:
        return import_module("adios2")
    finally:
        for name in kept:
            del sys.modules[name]
