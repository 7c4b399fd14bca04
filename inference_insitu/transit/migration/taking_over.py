"""A worker's part when another version of an analysis takes over, wherever frames are answered."""

from collections.abc import Callable
from functools import partial

from cdi.errors import RunError
from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.elsewhere import Route
from inference_insitu.transit.account import Account, Key
from inference_insitu.transit.log.records import LOAD, SWITCH
from inference_insitu.transit.migration.heard import RefusedError, heard
from inference_insitu.transit.migration.local import Local
from inference_insitu.transit.migration.marking import Marking
from inference_insitu.transit.migration.moving import Moving
from inference_insitu.transit.migration.protocol import Ended
from inference_insitu.transit.operators.marks import handed_on


class TakingOver(Moving):
    """``version`` of ``analysis`` is loaded here too, so that both sides show the same model, and frames can come home.

    Attributes
    ----------
    anew : of which ranks the new version begins with nothing, and why.
    """

    def __init__(
        self, id: int, local: Local, marking: Marking, account: Account, margin: int, *, analysis: str, version: int
    ) -> None:
        super().__init__(id, local, marking, account, margin)
        self._analysis, self._version = analysis, version
        self._keys = [key for key, asked in marking.keys.items() if asked.analysis == analysis]
        self.anew: list[str] = []

    def conclude(self, ended: Ended) -> None:
        """The new version answers what waits; else the old one does, which has kept what it had."""
        if ended.committed:
            model = self._local.adopt(self._analysis, self._version).model
            self._marking.adopt(self._analysis, self._version, model)

    def _loaded(self) -> Analysis | None:
        try:
            return self._local.prepared(self._analysis, self._version)
        except (ValueError, RunError) as error:
            raise RefusedError(f"version {self._version} of {self._analysis} cannot be had here: {error}") from error

    def _held(self, key: Key, step: int) -> bool:
        """Whether the frame waits until the cut is known."""
        return key in self._keys and self._cut is None and self._promise is not None and step > self._promise


class TakingOverInTransit(TakingOver):
    """The engine loads the version beside the old one, and goes over to it at a mark before the cut's first frame."""

    def __init__(
        self, id: int, local: Local, marking: Marking, account: Account, margin: int, *, analysis: str, version: int
    ) -> None:
        super().__init__(id, local, marking, account, margin, analysis=analysis, version=version)
        self._switched: set[Key] = set()
        self._told = False
        marking.load(id, self._keys, version)

    def route(self, key: Key, step: int) -> Route:
        """Where the frame of ``key`` at ``step`` goes."""
        return Route.WAIT if self._held(key, step) else Route.AWAY

    def mark_before(self, key: Key, step: int) -> Callable[[], None] | None:
        """That of the change, before the first frame from the cut on."""
        if self._cut is None or step < self._cut or key not in self._keys or key in self._switched:
            return None
        return partial(self._switch, key, self._cut)

    def conclude(self, ended: Ended) -> None:
        """What waits is answered by whichever version is agreed on."""
        super().conclude(ended)
        self._marking.resume(self.id, self._keys)

    def _prepared(self) -> bool:
        here = self._loaded()
        there = heard(self._marking, self.id, LOAD, self._keys)
        if here is None or len(there) < len(self._keys):
            return False
        for reply in there:
            if reply.model != here.model:
                raise RefusedError(
                    f"version {self._version} of {self._analysis} must show one model, got {here.model!r} here and "
                    f"{reply.model!r} from the engine"
                )
        return True

    def _installed(self, cut: int, *, idle: bool) -> bool:
        if (idle or self._local.ending) and not self._local.waits_below(cut):
            for key in set(self._keys) - self._switched:
                self._switch(key, cut)
        there = heard(self._marking, self.id, SWITCH, self._keys)
        if self._told or len(there) < len(self._keys):
            return False
        self.anew = [reply.detail for reply in there if reply.detail]
        self._told = True
        return True

    def _switch(self, key: Key, cut: int) -> None:
        self._marking.switch(self.id, key, cut)
        self._switched.add(key)


class TakingOverInSitu(TakingOver):
    """The worker answers what lies before the cut with the old version; what follows waits in its ring for the new."""

    def __init__(
        self, id: int, local: Local, marking: Marking, account: Account, margin: int, *, analysis: str, version: int
    ) -> None:
        super().__init__(id, local, marking, account, margin, analysis=analysis, version=version)
        self._handed_on = False

    def route(self, key: Key, step: int) -> Route:
        """Where the frame of ``key`` at ``step`` goes."""
        behind = key in self._keys and self._cut is not None and (self._handed_on or step >= self._cut)
        return Route.WAIT if behind or self._held(key, step) else Route.HERE

    def _prepared(self) -> bool:
        return self._loaded() is not None

    def _installed(self, cut: int, *, idle: bool) -> bool:
        if self._handed_on or not self._drained(cut, self._keys, idle=idle):
            return False
        new, old = self._loaded(), self._local.analysis(self._analysis)
        if new is None:
            return False
        self.anew = [why for key in self._keys if (why := handed_on(old, new, *key))]
        self._handed_on = True
        return True
