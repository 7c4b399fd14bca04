"""A worker's part of a migration from in situ to in transit."""

from inference_insitu.inference.elsewhere import Route
from inference_insitu.transit.account import Account, Key
from inference_insitu.transit.log.records import INSTALL, PREPARE
from inference_insitu.transit.migration.heard import heard
from inference_insitu.transit.migration.local import Local
from inference_insitu.transit.migration.marking import Marking
from inference_insitu.transit.migration.moving import Moving
from inference_insitu.transit.migration.protocol import Ended
from inference_insitu.transit.operators.operator_state import OperatorState


class Outward(Moving):
    """The engine prepares, this worker answers what lies before the cut, and its states go over."""

    def __init__(self, id: int, local: Local, marking: Marking, account: Account, margin: int) -> None:
        super().__init__(id, local, marking, account, margin)
        self._states: dict[Key, OperatorState] = {}
        self._sent = self._told = False
        marking.prepare(id, marking.keys)

    def route(self, key: Key, step: int) -> Route:
        """Where the frame of ``key`` at ``step`` goes."""
        if self._cut is not None:
            # A straggler, of a rank that was not waited for, goes behind its state.
            return Route.HERE if step < self._cut and key not in self._states else Route.AWAY
        return Route.WAIT if self._promise is not None and step > self._promise else Route.HERE

    def conclude(self, ended: Ended) -> None:
        """The engine answers what waits; else that is to be done here."""
        if ended.committed:
            self._marking.resume(self.id, self._marking.keys)

    def _prepared(self) -> bool:
        return bool(heard(self._marking, self.id, PREPARE))

    def _installed(self, cut: int, *, idle: bool) -> bool:
        if not self._sent:
            if not self._drained(cut, self._marking.keys, idle=idle):
                return False
            self._send_states()
            self._sent = True
        if self._told or not heard(self._marking, self.id, INSTALL):
            return False
        self._told = True
        return True

    def _send_states(self) -> None:
        for key, asked in self._marking.keys.items():
            if key not in self._states:
                # Taken once: whether the log has it is not known where its acknowledgement is lost.
                step = max(self._local.last_answered(key), self._account.settled(key))
                data = self._local.analysis(asked.analysis).state(*key)
                self._states[key] = OperatorState(asked.analysis, asked.model, *key, step, data)
        for key, state in self._states.items():
            self._marking.install(self.id, key, state.step + 1, state.encode())
