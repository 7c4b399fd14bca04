"""The frames of one simulation rank on their way through an operator: where they stand between two sides."""

from dataclasses import dataclass, field
from enum import Enum

from inference_insitu.transit.log.records import FrameRecord


class Phase(Enum):
    """Who answers: this side (``ANSWERING``), nobody until it is agreed on (``WAITING``), the other one (``AWAY``)."""

    ANSWERING, WAITING, AWAY = "answering", "waiting", "away"


@dataclass
class Lane:
    """Frames of ``rank``, in the order of their steps.

    Attributes
    ----------
    analysis, version : who answers them.
    phase : Phase
    step : of the last one that was answered, here or by the other side before it handed over; −1 for none.
    offset : of the last record that is dealt with; what waits lies behind it.
    dtype, shape : of its last frame.
    prepared : a version that is loaded and warm, to take over; None for none.
    holds : whether its analysis has the state with which what waits is to be answered.
    waiting : frames behind ``prepare`` or ``release``, with their offsets.
    """

    rank: int
    analysis: str
    version: int = 0
    phase: Phase = Phase.ANSWERING
    step: int = -1
    offset: int = 0
    dtype: str = ""
    shape: tuple[int, ...] = ()
    prepared: int | None = None
    holds: bool = True
    waiting: list[tuple[int, FrameRecord]] = field(default_factory=list)

    def leave(self) -> None:
        """The other side answers what waits, and what follows."""
        self.phase, self.waiting, self.prepared, self.holds = Phase.AWAY, [], None, False

    @property
    def needs(self) -> set[tuple[str, int]]:
        """The versions of its analysis that are to stay loaded."""
        return {(self.analysis, one) for one in (self.version, self.prepared) if one is not None}

    @property
    def waiting_bytes(self) -> int:
        """What the frames that wait take in memory here."""
        return sum(len(frame.data) for _, frame in self.waiting if isinstance(frame.data, bytes | memoryview))
