"""A worker's part of a migration from in transit to in situ."""

from collections.abc import Callable, Sequence
from functools import partial

from inference_insitu.inference.elsewhere import Route
from inference_insitu.transit.account import Account, Key
from inference_insitu.transit.log.records import RELEASE, PoisonedRecordError, Reply
from inference_insitu.transit.migration.heard import RefusedError, heard
from inference_insitu.transit.migration.local import Local
from inference_insitu.transit.migration.marking import Marking
from inference_insitu.transit.migration.moving import Moving
from inference_insitu.transit.migration.protocol import Ended
from inference_insitu.transit.operators.operator_state import OperatorState, StateRefusedError


class Inward(Moving):
    """The engine answers what lies before the cut and gives its states back to this worker."""

    def __init__(self, id: int, local: Local, marking: Marking, account: Account, margin: int) -> None:
        super().__init__(id, local, marking, account, margin)
        self._released: set[Key] = set()
        self._has_states = False

    def route(self, key: Key, step: int) -> Route:
        """Where the frame of ``key`` at ``step`` goes."""
        held = self._cut is None and self._promise is not None and step > self._promise
        return Route.WAIT if held else Route.AWAY

    def mark_before(self, key: Key, step: int) -> Callable[[], None] | None:
        """That of release, before the first frame from the cut on."""
        if self._cut is None or step < self._cut or key in self._released:
            return None
        return partial(self._release, key, self._cut)

    def conclude(self, ended: Ended) -> None:
        """The engine goes on where it was released and nothing comes of it; else what waits is to be answered here."""
        if not ended.committed:
            self._marking.resume(self.id, self._released)

    def _prepared(self) -> bool:
        return True  # what answers here was never put away

    def _installed(self, cut: int, *, idle: bool) -> bool:
        if idle or self._local.ending:
            for key in self._marking.keys.keys() - self._released:
                self._release(key, cut)
        states = [] if self._has_states else heard(self._marking, self.id, RELEASE)
        if not states:
            return False
        install_states(states, self._marking, self._local, self._account)
        self._has_states = True
        return True

    def _release(self, key: Key, cut: int) -> None:
        """What lies behind this is not the engine's to answer for now."""
        self._marking.release(self.id, key, cut)
        self._released.add(key)


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
