"""The wire between a simulation rank's courier and a serving job: frames by ADIOS2 SST, answers by a file.

Both jobs see the run's folder in any case, since SST's reader finds its writer by a file there. Answers
are small, and a file needs no second handshake, cannot block its writer and loses nothing when either side
is killed. Each record has a checksum: a network file system may show a file's length before its content.
"""

import os
import struct
import time
import zlib
from collections import defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inference_insitu.placement.relay_wire import Data, WireError
from inference_insitu.placement.sst import Incoming, Outgoing, StreamError

ADMIT_S = 0.02
"""Between the empty steps by which SST lets a reader in."""
BEAT_S, SILENCE_S = 1.0, 10.0
"""How often each side shows that it lives, and how long without that it counts as lost."""
SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.001, 0.02
"""Between looks at the file of answers."""
BEAT_TAG = 0
MOST_KEPT = 4096
READ_BYTES = 1 << 20

_RECORD = struct.Struct("<III")
"""Bytes, tag and checksum of what follows."""


@dataclass(eq=False)
class Sent:
    """A message on its way; implements ``relay_wire.Sending``."""

    wire: "JobWire"
    tag: int
    data: Data
    left: bool = False

    def done(self) -> bool:
        """Whether its memory may be used again."""
        self.wire.check()
        return self.left


@dataclass(eq=False)
class Held:
    """Memory held out for messages of a tag; implements ``relay_wire.Receiving``."""

    wire: "JobWire"
    tag: int
    into: memoryview
    size: int | None = None

    def start(self) -> None:
        """Hold it out for one message, maybe one that came before."""
        self.size = None
        self.wire.hold_out(self)

    def received(self) -> int | None:
        """Bytes of the message that has come; None before."""
        if self.size is None:
            self.wire.check()
        return self.size

    def cancel(self) -> None:
        """Take it back."""
        self.wire.take_back(self)


class JobWire:
    """What both ends have in common; implements ``relay_wire.Wire``. Messages move in ``move`` alone."""

    def __init__(self) -> None:
        self.broken = ""
        """Why the other side counts as lost."""
        self._queue: list[Sent] = []
        self._held: dict[int, deque[Held]] = defaultdict(deque)
        self._kept: dict[int, deque[bytearray]] = defaultdict(deque)
        self._landing: list[tuple[Held, int]] = []
        self._keeping: dict[int, list[bytearray]] = defaultdict(list)
        self._heard_s, self._spoke_s = time.monotonic(), 0.0

    def send(self, data: Data, tag: int) -> Sent:
        """Queue a message for the next ``move``."""
        self.check()
        sent = Sent(self, tag, data)
        self._queue.append(sent)
        return sent

    def receiving(self, into: memoryview, tag: int) -> Held:
        """Memory for messages of ``tag``; not held out yet."""
        return Held(self, tag, into)

    def check(self) -> None:
        """Raise ``WireError`` where the other side is lost."""
        if self.broken:
            raise WireError(self.broken)

    def hold_out(self, held: Held) -> None:
        """Give ``held`` the next message of its tag."""
        if self._kept[held.tag]:
            data = self._kept[held.tag].popleft()
            held.into[: len(data)] = data
            held.size = len(data)
        else:
            self._held[held.tag].append(held)

    def take_back(self, held: Held) -> None:
        """Give ``held`` no message any more."""
        if held in self._held[held.tag]:
            self._held[held.tag].remove(held)

    def place(self, tag: int, size: int) -> memoryview:
        """Where a message that comes goes: to the memory held out first, or it is kept. It has come at ``arrived``."""
        if self._held[tag]:
            held = self._held[tag].popleft()
            if size > len(held.into):
                raise StreamError(f"a message must fit its {len(held.into)} bytes, got {size}")
            self._landing.append((held, size))
            return held.into[:size]
        if len(self._kept[tag]) + len(self._keeping[tag]) >= MOST_KEPT:
            raise StreamError(f"at most {MOST_KEPT} messages of a kind must wait, got more")
        self._keeping[tag].append(bytearray(size))
        return memoryview(self._keeping[tag][-1])

    def arrived(self) -> None:
        """All that was placed has its content."""
        for held, size in self._landing:
            held.size = size
        for tag, messages in self._keeping.items():
            self._kept[tag].extend(messages)
        self._landing, self._keeping = [], defaultdict(list)

    def move(self) -> bool:
        """Send what is queued and take in what has come; whether anything was."""
        if self.broken:
            return False
        try:
            heard = self._hear()
            now = time.monotonic()
            if heard:
                self._heard_s = now
            elif now - self._heard_s > SILENCE_S:
                raise StreamError(f"no sign of life for {SILENCE_S:g} s")
            return self._speak(now) or heard
        except (OSError, ValueError, RuntimeError) as error:  # ADIOS2's own failures are RuntimeErrors
            self.broken = " ".join(str(error).split()) or type(error).__name__
            return False

    def _hear(self) -> bool:
        raise NotImplementedError

    def _speak(self, now: float) -> bool:
        raise NotImplementedError

    def _taken(self) -> list[Sent]:
        queue, self._queue = self._queue, []
        return queue


class CourierWire(JobWire):
    """The simulation's end of the session ``token``: sends by SST, hears by the file."""

    def __init__(self, folder: Path, rank: int, token: str) -> None:
        super().__init__()
        self._stream = Outgoing(stream_path(folder, rank, token))
        self._answers = answers_path(folder, rank, token)
        self._offset = 0
        self._look_s, self._looked_s = SHORTEST_LOOK_S, 0.0
        self.connected = False
        """Whether the serving job is there."""

    def _hear(self) -> bool:
        now = time.monotonic()
        if now - self._looked_s < self._look_s:
            return False
        heard = self._read()
        self._looked_s = now
        self._look_s = SHORTEST_LOOK_S if heard else min(2 * self._look_s, LONGEST_LOOK_S)
        if not self.connected:
            # Whoever announced the session may take its time to reach us.
            self._heard_s, self.connected = now, heard
        return heard

    def _read(self) -> bool:
        try:
            # Opened anew each time: that is when a network file system looks for what others have written.
            with self._answers.open("rb", buffering=0) as file:
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except FileNotFoundError:
            return False
        position = 0
        while position + _RECORD.size <= len(data):
            size, tag, check = _RECORD.unpack_from(data, position)
            record = data[position + _RECORD.size : position + _RECORD.size + size]
            if len(record) < size or check != _check(tag, record):
                break  # not all there yet
            if tag != BEAT_TAG:
                self.place(tag, size)[:] = record
                self.arrived()
            position += _RECORD.size + size
        self._offset += position
        return position > 0

    def _speak(self, now: float) -> bool:
        messages = self._taken() if self.connected else []
        if not messages and now - self._spoke_s < (BEAT_S if self.connected else ADMIT_S):
            return False
        self._stream.step([(sent.tag, sent.data) for sent in messages])
        self._spoke_s = time.monotonic()
        for sent in messages:
            sent.left, self._look_s = True, SHORTEST_LOOK_S
        return bool(messages)

    def close(self) -> None:
        """End the stream; may wait for the reader. Its answers are no longer needed."""
        self._answers.unlink(missing_ok=True)
        self._stream.close()


class ServerWire(JobWire):
    """The serving job's end of the session ``token``: hears by SST, sends by the file.

    Raises
    ------
    StreamError
        If the courier does not answer within ``timeout_s``.
    """

    def __init__(self, folder: Path, rank: int, token: str, *, timeout_s: float) -> None:
        super().__init__()
        self._stream = Incoming(stream_path(folder, rank, token), timeout_s=timeout_s)
        self._answers = answers_path(folder, rank, token)
        self._ended: StreamError | None = None
        self._answers.touch()
        self._heard_s = time.monotonic()
        self._speak(self._heard_s)

    def _hear(self) -> bool:
        if self._ended is not None:
            raise self._ended
        heard = False
        try:
            while self._stream.step(self.place):
                self.arrived()
                heard = True
        except StreamError as error:
            if not heard:
                raise
            self._ended = error  # what came before comes first
        return heard

    def _speak(self, now: float) -> bool:
        messages = self._taken()
        if not messages and now - self._spoke_s < BEAT_S:
            return False
        records = [(sent.tag, bytes(sent.data)) for sent in messages] or [(BEAT_TAG, b"")]
        encoded = b"".join(_RECORD.pack(len(data), tag, _check(tag, data)) + data for tag, data in records)
        # Not made anew: the courier removes it once it needs no more, and its stream tells that it is gone.
        with suppress(FileNotFoundError), self._answers.open("r+b", buffering=0) as file:
            file.seek(0, os.SEEK_END)
            if file.write(encoded) != len(encoded):
                raise OSError("the run's folder does not take answers any more")
        self._spoke_s = now
        for sent in messages:
            sent.left = True
        return bool(messages)

    def close(self) -> None:
        """Let the courier go on without us; what it has not read of our answers it reads still."""
        self._stream.close()
        if self.broken:  # nobody reads them
            self._answers.unlink(missing_ok=True)


def _check(tag: int, data: bytes) -> int:
    """Checksum of a record; not 0 for zeros, which a file shows where its content is not there yet."""
    return zlib.crc32(data, 0xC0DE0000 + tag)


def stream_path(folder: Path, rank: int, token: str) -> Path:
    """Name of the stream of frames of a simulation rank in a session."""
    return folder / f"frames-{rank}-{token}"


def answers_path(folder: Path, rank: int, token: str) -> Path:
    """The file of what a serving job answers to a simulation rank in a session."""
    return folder / f"answers-{rank}-{token}"
