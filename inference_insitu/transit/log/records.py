"""What lies in the log: frames, marks, replies, answers, and what was set aside; ``codec`` makes bytes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from inference_insitu.ring.layout import DTYPES, MOST_DIMENSIONS
from inference_insitu.transit.log.stream_log import Once

PREPARE, INSTALL, RESUME, RELEASE, LET_GO = "prepare", "install", "resume", "release", "let_go"
LOAD, SWITCH = "load", "switch"
ACTIONS = (PREPARE, INSTALL, RESUME, RELEASE, LET_GO, LOAD, SWITCH)
READY, INSTALLED, RESUMED, STATE, LEFT, REFUSED = "ready", "installed", "resumed", "state", "left", "refused"
SAID = (READY, INSTALLED, RESUMED, STATE, LEFT, REFUSED)

_DTYPES = {dtype.str: dtype for dtype in DTYPES}


class PoisonedRecordError(ValueError):
    """A record that is not what it should be."""


@dataclass(frozen=True)
class Descriptor:
    """Bytes that lie in a file of the payload store (``payloads``): its name there, size and checksum."""

    file: str
    size: int
    crc32: int


Data = bytes | memoryview | Descriptor
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class FrameRecord:
    """``data`` is the array of ``stream`` that simulation rank ``rank`` published at ``step``, in C order.

    ``published_ns`` is ``time.monotonic_ns`` of the publisher; ``sent_ns`` is ``time.time_ns`` when it was appended,
    for latencies that another machine measures (its clock may differ, and jump). ``attempts``: how often a worker died
    with it.
    """

    kind: ClassVar[str] = "frame"
    run: str
    stream: str
    step: int
    rank: int
    dtype: str
    shape: tuple[int, ...]
    published_ns: int = 0
    sent_ns: int = 0
    attempts: int = 0
    attributes: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    data: Data = b""

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise PoisonedRecordError(f"dtype must be one of {', '.join(_DTYPES)}, got {self.dtype!r}")
        if len(self.shape) > MOST_DIMENSIONS or any(length < 1 for length in self.shape):
            raise PoisonedRecordError(
                f"shape must have at most {MOST_DIMENSIONS} lengths of 1 or more, got {self.shape}"
            )
        expected, got = self.nbytes, _size(self.data)
        if got != expected:
            raise PoisonedRecordError(f"data of {self.dtype} {self.shape} must have {expected} bytes, got {got}")

    @property
    def nbytes(self) -> int:
        """Size of the array."""
        size = _DTYPES[self.dtype].itemsize
        for length in self.shape:  # Python's whole numbers: a hostile shape cannot overflow
            size *= length
        return size

    @property
    def once(self) -> Once:
        """A frame is appended once."""
        return Once(f"{self.stream}/{self.rank}", self.step)

    def array(self, data: bytes | memoryview) -> NDArray[Any]:
        """The array in ``data``, not copied, read-only."""
        array = np.frombuffer(data, _DTYPES[self.dtype]).reshape(self.shape)
        array.flags.writeable = False
        return array


@dataclass(frozen=True)
class Control:
    """A mark between the frames of ``stream`` on ``rank``: at its place in the log, ``action`` holds.

    ``prepare``: version ``number`` of ``analysis``, whose model must be ``model`` ('' for any), is loaded and warmed up
    (``dtype`` and ``shape`` of its frames, where given), and frames behind the mark wait. ``install``: the state in
    ``data`` (an envelope of ``operator_state``; empty for none) holds before ``step``; frames wait on. ``resume``: what
    waits is answered by that version, and what follows. ``release``: every frame before ``step`` is answered, then the
    state is given back, and frames behind wait. ``let_go``: others answer what waits, and what follows.

    ``load``: version ``number`` is loaded and warmed up beside the one that answers on. ``switch``: every frame before
    ``step`` is answered, and frames behind wait for the version that ``resume`` names.

    ``id`` is of the migration; replies repeat it.
    """

    kind: ClassVar[str] = "control"
    run: str
    stream: str
    rank: int
    action: str
    id: str
    step: int = 0
    analysis: str = ""
    number: int = 0
    model: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()
    data: Data = b""

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise PoisonedRecordError(f"action must be one of {', '.join(ACTIONS)}, got {self.action!r}")
        if self.dtype and self.dtype not in _DTYPES:
            raise PoisonedRecordError(f"dtype must be one of {', '.join(_DTYPES)}, got {self.dtype!r}")


@dataclass(frozen=True)
class Reply:
    """What the operator says to the mark ``id``: ``said``, why not in ``detail``, the state in ``data`` for ``state``.

    ``step`` is that of the last frame answered (−1 for none), ``offset`` the mark's place in its topic.
    """

    kind: ClassVar[str] = "reply"
    run: str
    stream: str
    rank: int
    id: str
    said: str
    offset: int
    detail: str = ""
    step: int = -1
    model: str = ""
    data: Data = b""

    def __post_init__(self) -> None:
        if self.said not in SAID:
            raise PoisonedRecordError(f"said must be one of {', '.join(SAID)}, got {self.said!r}")

    @property
    def once(self) -> Once:
        """A mark is replied to once."""
        return Once(f"reply/{self.stream}/{self.rank}", self.offset)


@dataclass(frozen=True)
class Answer:
    """What became of one frame; its key is (run, stream, step, rank, model).

    ``outcome`` is one of ``books.outcomes``; ``values`` are there where it is ``inferred``. Times of ``sent_ns`` and
    ``answered_ns`` are ``time.time_ns``.
    """

    kind: ClassVar[str] = "answer"
    run: str
    stream: str
    step: int
    rank: int
    analysis: str
    model: str
    outcome: str
    values: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    detail: str = ""
    published_ns: int = 0
    sent_ns: int = 0
    answered_ns: int = 0
    inferred_s: float = 0.0
    batch: int = 1
    attempts: int = 0
    attributes: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    @property
    def once(self) -> Once:
        """A model answers the frames of a rank once, in the order of their steps."""
        return Once(f"{self.stream}/{self.rank}/{self.analysis}/{self.model}", self.step)


@dataclass(frozen=True)
class Quarantined:
    """A record of ``topic`` that was set aside, with what can be said of it."""

    kind: ClassVar[str] = "quarantined"
    run: str
    topic: str
    offset: int
    why: str

    @property
    def once(self) -> Once:
        """Set aside once."""
        return Once(self.topic, self.offset)


@dataclass(frozen=True)
class Alert:
    """What a view says to whoever steers: ``view`` names it, ``values`` are its row."""

    kind: ClassVar[str] = "alert"
    run: str
    stream: str
    rank: int
    step: int
    view: str
    values: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)

    @property
    def once(self) -> Once:
        """A view alerts once of a frame; its rows come in any order."""
        return Once(f"{self.view}/{self.stream}/{self.rank}/{self.step}", 0)


class Said(StrEnum):
    """What a move says (``migration.protocol``)."""

    JOINED = "joined"
    GONE = "gone"
    REQUEST = "request"
    READY = "ready"
    INSTALLED = "installed"
    ABORT = "abort"


@dataclass(frozen=True)
class Move:
    """One line of the agreement on who answers the frames of ``run``.

    ``joined``: worker ``worker`` of ``step`` workers in all takes part. ``gone``: it has nothing to answer any more.
    ``request``: frames are to be answered ``to`` a site, or, where ``analysis`` is named, by its version ``number``.
    ``ready``, ``installed``: of ``worker``, for the migration ``id``; ``step`` is the last one that it has met.
    ``abort``: of the migration ``id``, for ``why``.
    """

    kind: ClassVar[str] = "move"
    run: str
    said: str
    id: int = 0
    worker: int = -1
    step: int = -1
    to: str = ""
    analysis: str = ""
    number: int = 0
    why: str = ""

    def __post_init__(self) -> None:
        if self.said not in tuple(Said):
            raise PoisonedRecordError(f"said must be one of {', '.join(Said)}, got {self.said!r}")


AnyRecord = FrameRecord | Control | Reply | Answer | Quarantined | Alert | Move


def _size(data: Data) -> int:
    return data.size if isinstance(data, Descriptor) else len(data)
