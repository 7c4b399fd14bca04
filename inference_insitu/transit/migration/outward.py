"""A worker's part of a migration from in situ to in transit, until it is committed or aborted."""

from enum import Enum

from inference_insitu.inference.elsewhere import Route
from inference_insitu.transit.account import Account
from inference_insitu.transit.log.records import INSTALL, PREPARE, Move, Said
from inference_insitu.transit.migration.heard import heard
from inference_insitu.transit.migration.local import Local
from inference_insitu.transit.migration.marking import Key, Marking
from inference_insitu.transit.migration.protocol import Agreement, Site
from inference_insitu.transit.operators.operator_state import OperatorState


class Stage(Enum):
    """How far this worker is."""

    PREPARING, READY, DRAINING, INSTALLING, INSTALLED = range(5)


class Outward:
    """Migration ``id``: the engine prepares, this worker answers what lies before the cut, and its states go over.

    Frames from the cut on are appended to the log, where they wait for whoever is to answer them in the end.
    """

    to = Site.IN_TRANSIT

    def __init__(self, id: int, local: Local, marking: Marking, account: Account, margin: int) -> None:
        self.id = id
        self._local, self._marking, self._account, self._margin = local, marking, account, margin
        self._stage = Stage.PREPARING
        self._promise: int | None = None
        self._cut: int | None = None
        self._cut_s = 0.0
        self._states: dict[Key, OperatorState] = {}
        marking.prepare(id, marking.keys)

    def advance(self, agreement: Agreement, now_s: float, idle_s: float) -> list[Move]:
        """Do what can be done now; the moves that this worker makes.

        Raises
        ------
        RefusedError
            If the engine cannot do its part.
        """
        if self._cut is None and agreement.cut is not None:
            self._cut, self._cut_s, self._stage = agreement.cut, now_s, Stage.DRAINING
        match self._stage:
            case Stage.PREPARING if heard(self._marking, self.id, PREPARE):
                self._stage, step = Stage.READY, self._local.last_met
                self._promise = step + self._margin
                return [self._move(Said.READY, step)]
            case Stage.DRAINING if self._drained(idle=now_s - self._cut_s > idle_s):
                self._send_states()
                self._stage = Stage.INSTALLING
            case Stage.INSTALLING if heard(self._marking, self.id, INSTALL):
                self._stage = Stage.INSTALLED
                return [self._move(Said.INSTALLED)]
        return []

    def route(self, key: Key, step: int) -> Route:
        """Where the frame of ``key`` at ``step`` goes."""
        if self._cut is not None:
            # A straggler, of a rank that was not waited for, goes behind its state.
            return Route.HERE if step < self._cut and key not in self._states else Route.AWAY
        return Route.WAIT if self._promise is not None and step > self._promise else Route.HERE

    def parts(self, key: Key, step: int) -> bool:
        """Whether a mark must lie before the frame of ``key`` at ``step``: it lies there from the beginning."""
        return False

    def part(self, key: Key) -> None:
        """Nothing is to be appended."""

    def conclude(self, *, committed: bool) -> None:
        """The engine answers what waits; else that is to be done here."""
        if committed:
            self._marking.resume(self.id, self._marking.keys)

    def _move(self, said: Said, step: int = -1) -> Move:
        return Move(self._marking.run, said, id=self.id, worker=self._local.worker, step=step)

    def _drained(self, *, idle: bool) -> bool:
        """Whether all before the cut is answered; of ranks that publish nothing only as long as we are not ``idle``."""
        cut, local = self._cut or 0, self._local
        passed = idle or local.ending or all(local.met(key) >= cut for key in self._marking.keys)
        return passed and not local.waits_below(cut)

    def _send_states(self) -> None:
        for key, asked in self._marking.keys.items():
            if key not in self._states:
                # Taken once: whether the log has it is not known where its acknowledgement is lost.
                step = max(self._local.last_answered(key), self._account.settled(key))
                data = self._local.analysis(asked.analysis).state(*key)
                self._states[key] = OperatorState(asked.analysis, asked.model, *key, step, data)
        for key, state in self._states.items():
            self._marking.install(self.id, key, state.step + 1, state.encode())
