"""What the marks between frames do to a lane: the engine's side of a migration.

prepare → install → resume | let_go, to take over;  release → let_go | resume, to give back. In between frames wait.
load → switch → resume, to go over to another version of the analysis: the old one answers until ``switch``, then frames
wait, and ``resume`` says which version answers them. What the analysis has kept stays with the old one until then, so
that it goes on as if nothing had been where the new one is not wanted.

Every mark has one reply; what cannot be done is ``refused`` with the reason, and a lane that was not answered here
before is the other side's again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cdi.errors import RunError
from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Variable
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import (
    INSTALL,
    INSTALLED,
    LEFT,
    LET_GO,
    LOAD,
    PREPARE,
    READY,
    REFUSED,
    RELEASE,
    RESUME,
    RESUMED,
    STATE,
    SWITCH,
    Control,
    Data,
    Reply,
)
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.operators.lane import Lane, Phase
from inference_insitu.transit.operators.operator_state import OperatorState, StateRefusedError


class _Obeyed(NamedTuple):
    """What is said to a mark."""

    said: str
    data: Data = b""
    detail: str = ""


@dataclass(frozen=True)
class Marks:
    """Obeys the marks of ``stream``."""

    stream: str
    analyses: Analyses
    store: PayloadStore

    def obey(self, lane: Lane, offset: int, mark: Control) -> Reply:
        """Do what ``mark``, at ``offset`` of the log, asks of ``lane``; what is to be said to it.

        Raises
        ------
        ValueError, RunError
            If a version that has taken over, which all sides agree on, cannot be had: nobody else may answer.
        """
        doing: Mapping[str, Callable[[Lane, Control], _Obeyed]] = {
            PREPARE: self._prepare,
            INSTALL: self._install,
            RESUME: self._resume,
            RELEASE: self._release,
            LET_GO: self._let_go,
            LOAD: self._load,
            SWITCH: self._switch,
        }
        try:
            said = doing[mark.action](lane, mark)
        except (Exception, SystemExit) as error:  # whatever an analysis raises, and a state that does not fit
            if mark.action == RESUME and lane.holds and lane.phase is not Phase.AWAY and mark.number != lane.version:
                raise
            said = _Obeyed(REFUSED, detail=_line(error))
            if mark.action in (PREPARE, INSTALL, LOAD):
                lane.prepared = None
            if lane.phase is Phase.WAITING and not lane.holds:
                lane.leave()
        model = self._model(lane.analysis, lane.version if lane.prepared is None else lane.prepared)
        told = mark.id, said.said, offset, said.detail, lane.step, model, said.data
        return Reply(mark.run, mark.stream, mark.rank, *told)

    def state(self, lane: Lane) -> OperatorState:
        """What ``lane``'s analysis has kept of it."""
        analysis = self.analyses.get(lane.analysis, lane.version)
        data = analysis.state(self.stream, lane.rank)
        return OperatorState(lane.analysis, analysis.model, self.stream, lane.rank, lane.step, data)

    def restore(self, lane: Lane, encoded: bytes | memoryview) -> None:
        """Let ``lane``'s analysis go on from the state that a snapshot has of it; a version that waits is loaded too.

        Raises
        ------
        StateRefusedError, ValueError
            If it does not fit.
        """
        for _, version in sorted(lane.needs):
            self._ready(lane, version)  # what a model is, is known once it is loaded
        data = self._fitting(lane, lane.version, encoded, before=lane.step + 1)
        self.analyses.get(lane.analysis, lane.version).install(self.stream, lane.rank, data)

    def _prepare(self, lane: Lane, mark: Control) -> _Obeyed:
        if lane.phase is Phase.WAITING and lane.holds:
            raise ValueError(f"rank {lane.rank} must not be in the middle of another migration")
        if lane.phase is Phase.ANSWERING and lane.step >= 0:
            raise ValueError(f"rank {lane.rank} must not be answered here already, got step {lane.step} answered")
        lane.phase, lane.waiting, lane.holds = Phase.WAITING, [], False
        return self._prepared(lane, mark)

    def _load(self, lane: Lane, mark: Control) -> _Obeyed:
        if lane.phase is not Phase.ANSWERING:
            raise ValueError(f"rank {lane.rank} must be answered here to change its version, but is {lane.phase.value}")
        return self._prepared(lane, mark)

    def _prepared(self, lane: Lane, mark: Control) -> _Obeyed:
        if mark.analysis not in ("", lane.analysis):
            raise ValueError(f"{self.stream} must be answered by {lane.analysis!r}, got {mark.analysis!r}")
        self._ready(lane, mark.number, mark)
        model = self.analyses.get(lane.analysis, mark.number).model
        if mark.model and model != mark.model:
            raise ValueError(f"{lane.analysis}'s model must be {mark.model!r}, got {model!r}")
        lane.prepared = mark.number
        return _Obeyed(READY)

    def _install(self, lane: Lane, mark: Control) -> _Obeyed:
        if lane.prepared is None or lane.phase is not Phase.WAITING:
            raise ValueError(f"rank {lane.rank} must have been prepared before a state is installed")
        if early := [record.step for _, record in lane.waiting if record.step < mark.step]:
            raise ValueError(
                f"frames from step {mark.step} on must follow their preparation, got one of step {early[0]}"
            )
        data = self._fitting(lane, lane.prepared, self.store.read(mark.data), before=mark.step)
        self.analyses.get(lane.analysis, lane.prepared).install(self.stream, lane.rank, data)
        lane.version, lane.prepared = lane.prepared, None
        lane.step, lane.holds = mark.step - 1, True
        return _Obeyed(INSTALLED)

    def _switch(self, lane: Lane, mark: Control) -> _Obeyed:
        if lane.phase is not Phase.ANSWERING or lane.prepared is None:
            raise ValueError(f"rank {lane.rank} must have loaded a version before it changes over to it")
        if lane.step >= mark.step:
            raise ValueError(f"step {mark.step} must not be answered yet, got step {lane.step} answered")
        detail = self._hand_on(lane, lane.prepared)  # to see whether it goes; what counts is said by resume
        lane.phase = Phase.WAITING
        return _Obeyed(INSTALLED, detail=detail)

    def _resume(self, lane: Lane, mark: Control) -> _Obeyed:
        answering = lane.phase is Phase.ANSWERING
        nothing = answering and lane.prepared is None and mark.number == lane.version
        if nothing or lane.phase is Phase.AWAY or not lane.holds:
            raise ValueError(f"rank {lane.rank} must wait with a state to resume, but is {lane.phase.value}")
        detail = ""
        if mark.number != lane.version:
            detail = self._hand_on(lane, mark.number)
            lane.version = mark.number
        lane.phase, lane.prepared = Phase.ANSWERING, None
        return _Obeyed(RESUMED, detail=detail)

    def _release(self, lane: Lane, mark: Control) -> _Obeyed:
        if lane.phase is not Phase.ANSWERING:
            raise ValueError(f"rank {lane.rank} must be answered here to be released, but is {lane.phase.value}")
        if lane.step >= mark.step:
            raise ValueError(f"rank {lane.rank} must be released behind its answers, got step {lane.step} answered")
        encoded = self.state(lane).encode()
        lane.phase, lane.prepared = Phase.WAITING, None
        return _Obeyed(STATE, encoded)

    def _let_go(self, lane: Lane, mark: Control) -> _Obeyed:
        if lane.phase is Phase.ANSWERING:
            raise ValueError(f"rank {lane.rank} must wait to be let go, but is answering")
        lane.leave()
        return _Obeyed(LEFT)

    def _ready(self, lane: Lane, version: int, mark: Control | None = None) -> None:
        """Load a version, and warm it up for the frames that ``mark`` speaks of, or that were there before."""
        self.analyses.get(lane.analysis, version)
        dtype, shape = (lane.dtype, lane.shape) if mark is None or not mark.dtype else (mark.dtype, mark.shape)
        if dtype:
            self.analyses.warm_up(lane.analysis, Variable(dtype, shape), version)

    def _hand_on(self, lane: Lane, version: int) -> str:
        """Let ``version`` go on from what the one that answers has kept; why it begins with nothing, if it does."""
        self._ready(lane, version)
        old, new = self.analyses.get(lane.analysis, lane.version), self.analyses.get(lane.analysis, version)
        return handed_on(old, new, self.stream, lane.rank)

    def _fitting(self, lane: Lane, version: int, encoded: bytes | memoryview, *, before: int) -> bytes:
        """What the state that is ``encoded`` holds for ``version`` of the lane's analysis; empty stays empty."""
        if not encoded:
            return b""
        state = OperatorState.decode(encoded)
        model = self.analyses.get(lane.analysis, version).model
        state.check(analysis=lane.analysis, model=model, stream=self.stream, rank=lane.rank)
        if state.step >= before:
            raise StateRefusedError(f"the state must be of a step before {before}, got one of step {state.step}")
        return bytes(state.data)

    def _model(self, name: str, version: int) -> str:
        try:
            return self.analyses.get(name, version).model
        except (ValueError, RunError):
            return ""


def handed_on(old: Analysis, new: Analysis, stream: str, rank: int) -> str:
    """Let ``new`` go on from what ``old`` has kept of ``rank``'s frames; why it begins with nothing, if it does."""
    try:
        new.install(stream, rank, old.state(stream, rank))
    except ValueError as error:
        new.install(stream, rank, b"")
        return f"it does not go on from what was kept of {stream} of rank {rank}: {_line(error)}"
    return ""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:1000] or type(error).__name__
