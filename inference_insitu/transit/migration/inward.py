"""A worker's part of a migration from in transit to in situ, until it is committed or aborted."""

from collections.abc import Sequence
from enum import Enum

from inference_insitu.inference.elsewhere import Route
from inference_insitu.transit.account import Account
from inference_insitu.transit.log.records import RELEASE, Move, PoisonedRecordError, Reply, Said
from inference_insitu.transit.migration.heard import RefusedError, heard
from inference_insitu.transit.migration.local import Local
from inference_insitu.transit.migration.marking import Key, Marking
from inference_insitu.transit.migration.protocol import Agreement, Site
from inference_insitu.transit.operators.operator_state import OperatorState, StateRefusedError


class Stage(Enum):
    """How far this worker is."""

    PREPARING, READY, RELEASING, INSTALLED = range(4)


class Inward:
    """Migration ``id``: the engine answers what lies before the cut and gives its states back to this worker.

    Frames from the cut on are appended behind a mark, where they wait for whoever is to answer them in the end.
    """

    to = Site.IN_SITU

    def __init__(self, id: int, local: Local, marking: Marking, account: Account, margin: int) -> None:
        self.id = id
        self._local, self._marking, self._account, self._margin = local, marking, account, margin
        self._stage = Stage.PREPARING
        self._promise: int | None = None
        self._cut: int | None = None
        self._cut_s = 0.0
        self._released: set[Key] = set()

    def advance(self, agreement: Agreement, now_s: float, idle_s: float) -> list[Move]:
        """Do what can be done now; the moves that this worker makes.

        Raises
        ------
        RefusedError
            If the engine cannot do its part, or its state does not fit here.
        """
        if self._cut is None and agreement.cut is not None:
            self._cut, self._cut_s, self._stage = agreement.cut, now_s, Stage.RELEASING
        match self._stage:
            case Stage.PREPARING:  # what answers here is loaded and warm: it was never put away
                self._stage, step = Stage.READY, self._local.last_met
                self._promise = step + self._margin
                return [self._move(Said.READY, step)]
            case Stage.RELEASING:
                if self._local.ending or now_s - self._cut_s > idle_s:
                    for key in self._marking.keys:
                        self.part(key)
                if states := heard(self._marking, self.id, RELEASE):
                    install_states(states, self._marking, self._local, self._account)
                    self._stage = Stage.INSTALLED
                    return [self._move(Said.INSTALLED)]
        return []

    def route(self, key: Key, step: int) -> Route:
        """Where the frame of ``key`` at ``step`` goes."""
        held = self._cut is None and self._promise is not None and step > self._promise
        return Route.WAIT if held else Route.AWAY

    def parts(self, key: Key, step: int) -> bool:
        """Whether a mark must lie before the frame of ``key`` at ``step``: that of release before the first."""
        return self._cut is not None and step >= self._cut and key not in self._released

    def part(self, key: Key) -> None:
        """Append the mark of release: what lies behind it is not the engine's to answer for now."""
        if key not in self._released:
            self._marking.release(self.id, key, self._cut or 0)
            self._released.add(key)

    def conclude(self, *, committed: bool) -> None:
        """The engine goes on where it was released and nothing comes of it; else what waits is to be answered here."""
        if not committed:
            self._marking.resume(self.id, self._released)

    def _move(self, said: Said, step: int = -1) -> Move:
        return Move(self._marking.run, said, id=self.id, worker=self._local.worker, step=step)


def install_states(replies: Sequence[Reply], marking: Marking, local: Local, account: Account) -> None:
    """Let this worker's analyses go on from the states in the engine's ``replies`` to being released.

    Raises
    ------
    RefusedError
        If one does not fit here.
    """
    for reply in replies:
        key = reply.stream, reply.rank
        asked = marking.keys[key]
        try:
            state = OperatorState.decode(marking.state(reply))
            state.check(analysis=asked.analysis, model=asked.model, stream=reply.stream, rank=reply.rank)
            local.analysis(asked.analysis).install(*key, bytes(state.data))
            account.passed(key, state.step)
        except (StateRefusedError, PoisonedRecordError, ValueError) as error:
            raise RefusedError(
                f"the state of {reply.stream} of rank {reply.rank} does not fit here: {error}"
            ) from error
