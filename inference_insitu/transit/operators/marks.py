"""What the marks between frames do to a lane: the engine's side of a migration.

prepare → install → resume | let_go, to take over;  release → let_go | resume, to give back. In between frames wait. A
lane that is being answered can be prepared for another analysis, which takes over where ``install`` stands. Every mark
has one reply; what cannot be done is ``refused`` with the reason, and a lane that was not answered here before is the
other side's again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cdi.errors import RunError
from inference_insitu.inference.frame import Variable
from inference_insitu.transit.log.payloads import PayloadStore
from inference_insitu.transit.log.records import (
    INSTALL,
    INSTALLED,
    LEFT,
    LET_GO,
    PREPARE,
    READY,
    REFUSED,
    RELEASE,
    RESUME,
    RESUMED,
    STATE,
    Control,
    Data,
    Reply,
)
from inference_insitu.transit.operators.analyses import Analyses
from inference_insitu.transit.operators.lane import Lane, Phase
from inference_insitu.transit.operators.operator_state import OperatorState, StateRefusedError


@dataclass(frozen=True)
class Marks:
    """Obeys the marks of ``stream``."""

    stream: str
    analyses: Analyses
    store: PayloadStore

    def obey(self, lane: Lane, offset: int, mark: Control) -> Reply:
        """Do what ``mark``, at ``offset`` of the log, asks of ``lane``; what is to be said to it."""
        doing = {
            PREPARE: self._prepare,
            INSTALL: self._install,
            RESUME: self._resume,
            RELEASE: self._release,
            LET_GO: self._let_go,
        }
        do: Callable[[Lane, Control], tuple[str, Data]] = doing[mark.action]
        detail = ""
        data: Data = b""
        try:
            said, data = do(lane, mark)
        except (Exception, SystemExit) as error:  # whatever an analysis raises, and a state that does not fit
            said, detail = REFUSED, " ".join(str(error).split())[:1000] or type(error).__name__
            if mark.action in (PREPARE, INSTALL):
                lane.prepared = ""
            if lane.phase is Phase.WAITING and not lane.holds:
                lane.leave()
        model = self._model(lane.prepared or lane.analysis)
        return Reply(mark.run, mark.stream, mark.rank, mark.id, said, offset, detail, lane.step, model, data)

    def state(self, lane: Lane) -> OperatorState:
        """What ``lane``'s analysis has kept of it."""
        analysis = self.analyses.get(lane.analysis)
        data = analysis.state(self.stream, lane.rank)
        return OperatorState(lane.analysis, analysis.model, self.stream, lane.rank, lane.step, data)

    def restore(self, lane: Lane, encoded: bytes | memoryview) -> None:
        """Let ``lane``'s analysis go on from the state that a snapshot has of it.

        Raises
        ------
        StateRefusedError, ValueError
            If it does not fit.
        """
        if lane.dtype:  # what a model is, is known once it is loaded
            self.analyses.warm_up(lane.analysis, Variable(lane.dtype, lane.shape))
        data = self._fitting(lane.analysis, lane.rank, encoded, before=lane.step + 1)
        self.analyses.get(lane.analysis).install(self.stream, lane.rank, data)

    def _prepare(self, lane: Lane, mark: Control) -> tuple[str, Data]:
        name = mark.analysis or lane.analysis
        if lane.phase is Phase.WAITING and lane.holds:
            raise ValueError(f"rank {lane.rank} must not be in the middle of another migration")
        if lane.phase is not Phase.ANSWERING or lane.step < 0:
            lane.phase, lane.waiting, lane.holds = Phase.WAITING, [], False
        elif name == lane.analysis:
            raise ValueError(f"rank {lane.rank} must not be answered by {name} already, got step {lane.step} answered")
        analysis = self.analyses.get(name)
        if mark.dtype:
            self.analyses.warm_up(name, Variable(mark.dtype, mark.shape))
        if mark.model and analysis.model != mark.model:
            raise ValueError(f"{name}'s model must be {mark.model!r}, got {analysis.model!r}")
        lane.prepared = name
        return READY, b""

    def _install(self, lane: Lane, mark: Control) -> tuple[str, Data]:
        if not lane.prepared:
            raise ValueError(f"rank {lane.rank} must have been prepared before a state is installed")
        if early := [record.step for _, record in lane.waiting if record.step < mark.step]:
            raise ValueError(
                f"frames from step {mark.step} on must follow their preparation, got one of step {early[0]}"
            )
        if lane.phase is Phase.ANSWERING and lane.step >= mark.step:
            raise ValueError(f"step {mark.step} must not be answered yet, got step {lane.step} answered")
        data = self._fitting(lane.prepared, lane.rank, self.store.read(mark.data), before=mark.step)
        self.analyses.get(lane.prepared).install(self.stream, lane.rank, data)
        lane.analysis, lane.prepared = lane.prepared, ""
        lane.step, lane.holds = mark.step - 1, True
        return INSTALLED, b""

    def _resume(self, lane: Lane, mark: Control) -> tuple[str, Data]:
        if lane.phase is not Phase.WAITING or not lane.holds:
            raise ValueError(f"rank {lane.rank} must wait with a state to resume, but is {lane.phase.value}")
        lane.phase = Phase.ANSWERING
        return RESUMED, b""

    def _release(self, lane: Lane, mark: Control) -> tuple[str, Data]:
        if lane.phase is not Phase.ANSWERING:
            raise ValueError(f"rank {lane.rank} must be answered here to be released, but is {lane.phase.value}")
        if lane.step >= mark.step:
            raise ValueError(f"rank {lane.rank} must be released behind its answers, got step {lane.step} answered")
        encoded = self.state(lane).encode()
        lane.phase = Phase.WAITING
        return STATE, encoded

    def _let_go(self, lane: Lane, mark: Control) -> tuple[str, Data]:
        if lane.phase is Phase.ANSWERING and not lane.prepared:
            raise ValueError(f"rank {lane.rank} must wait, or be prepared, to be let go, but is answering")
        lane.prepared = ""
        if lane.phase is not Phase.ANSWERING:
            lane.leave()
        return LEFT, b""

    def _fitting(self, name: str, rank: int, encoded: bytes | memoryview, *, before: int) -> bytes:
        """What the state that is ``encoded`` holds for the analysis ``name``; empty stays empty."""
        if not encoded:
            return b""
        state = OperatorState.decode(encoded)
        state.check(analysis=name, model=self.analyses.get(name).model, stream=self.stream, rank=rank)
        if state.step >= before:
            raise StateRefusedError(f"the state must be of a step before {before}, got one of step {state.step}")
        return bytes(state.data)

    def _model(self, name: str) -> str:
        try:
            return self.analyses.get(name).model
        except (ValueError, RunError):
            return ""
