"""What a worker's part of a migration is, whichever way it leads."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from inference_insitu.inference.elsewhere import Route
from inference_insitu.transit.account import Account, Key
from inference_insitu.transit.log.records import Move, Said
from inference_insitu.transit.migration.local import Local
from inference_insitu.transit.migration.marking import Marking
from inference_insitu.transit.migration.protocol import Agreement, Ended


class Moving(ABC):
    """Migration ``id`` as this worker takes part in it, until it is committed or aborted.

    Frames from the cut on are appended to the log, where they wait for whoever is to answer them in the end.
    """

    def __init__(self, id: int, local: Local, marking: Marking, account: Account, margin: int) -> None:
        self.id = id
        self._local, self._marking, self._account, self._margin = local, marking, account, margin
        self._promise: int | None = None
        self._cut: int | None = None
        self._cut_s = 0.0

    def advance(self, agreement: Agreement, now_s: float, idle_s: float) -> list[Move]:
        """Do what can be done now; the moves that this worker makes.

        Raises
        ------
        RefusedError
            If the engine cannot do its part, or what it gives does not fit here.
        """
        if self._cut is None and agreement.cut is not None:
            self._cut, self._cut_s = agreement.cut, now_s
        if self._promise is None:
            return self._ready() if self._prepared() else []
        if self._cut is not None and self._installed(self._cut, idle=now_s - self._cut_s > idle_s):
            return [self._move(Said.INSTALLED)]
        return []

    @abstractmethod
    def route(self, key: Key, step: int) -> Route:
        """Where the frame of ``key`` at ``step`` goes."""

    def mark_before(self, key: Key, step: int) -> Callable[[], None] | None:
        """What appends the mark that must lie before the frame of ``key`` at ``step``; None where none must."""
        return None

    @abstractmethod
    def conclude(self, ended: Ended) -> None:
        """Let the engine answer what waits, where that is the outcome; else it is to be answered here."""

    @abstractmethod
    def _prepared(self) -> bool:
        """Whether the new side is loaded, warm, and has shown the model."""

    @abstractmethod
    def _installed(self, cut: int, *, idle: bool) -> bool:
        """End what lies before the ``cut``; whether that is done, the new side has the states, and it is news."""

    def _drained(self, cut: int, keys: Iterable[Key], *, idle: bool) -> bool:
        """Whether all before the cut is answered; of ranks that publish nothing only as long as we are not ``idle``."""
        local = self._local
        passed = idle or local.ending or all(local.met(key) >= cut for key in keys)
        return passed and not local.waits_below(cut)

    def _ready(self) -> list[Move]:
        step = self._local.last_met
        self._promise = step + self._margin
        return [self._move(Said.READY, step)]

    def _move(self, said: Said, step: int = -1) -> Move:
        return Move(self._marking.run, said, id=self.id, worker=self._local.worker, step=step)
