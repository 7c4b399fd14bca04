"""What brings a ring's frames to inference, as the simulation rank sees it."""

import sys
import time
from collections.abc import Callable
from typing import Protocol

from inference_insitu.inference.supervisor import Supervisor
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.processes import runs
from inference_insitu.ring.region import Region

LOOK_NS = 250_000_000
"""How often a simulation rank looks whether whoever supervises inference still runs."""


class Carrier(Protocol):
    """Moves what must be moved, and knows how inference stands.

    Attributes
    ----------
    carries : whether frames leave by ``progress``, which must then be called at every step.
    """

    carries: bool

    def progress(self) -> None:
        """Take a bounded step; never waits."""

    @property
    def state(self) -> Side:
        """STARTING, READY, CLOSED (ended as it should) or FAILED (nobody infers, and nobody will)."""

    @property
    def failed(self) -> bool:
        """Whether nobody infers any more."""

    @property
    def supervisor_lost(self) -> bool:
        """Whether the rank that supervised inference has died."""

    def close(self) -> None:
        """The end: free what is ours."""


class OfRing:
    """How inference stands, by the words of ``region``; both kinds of carrier with a ring have it so."""

    def __init__(self, region: Region) -> None:
        self._region, self._words = region, region.words

    @property
    def state(self) -> Side:
        """How inference stands."""
        supervisor = Side(self._words[Word.SUPERVISOR_STATE])
        if supervisor in (Side.FAILED, Side.CLOSED):
            return supervisor
        return Side.READY if self._words[Word.CONSUMER_STATE] == Side.READY else Side.STARTING

    @property
    def failed(self) -> bool:
        """Whether nobody infers any more."""
        return self._words[Word.SUPERVISOR_STATE] == Side.FAILED


class SharedMemory(OfRing):
    """A ring that the worker maps itself: nothing is moved.

    Parameters
    ----------
    region : Region
    supervisor : where this rank watches over the worker itself (placement ``process``).
    take_over : starts a supervisor here once the rank that supervises has died, or None.
    waits_for_heir : whether another rank would do that, for this one too.
    """

    carries = False

    def __init__(
        self,
        region: Region,
        supervisor: Supervisor | None = None,
        take_over: Callable[[], Supervisor] | None = None,
        *,
        waits_for_heir: bool = False,
    ) -> None:
        super().__init__(region)
        self._supervisor, self._take_over = supervisor, take_over
        self._waits_for_heir = waits_for_heir
        self._looked_ns = 0
        self._orphaned = False

    def progress(self) -> None:
        """Look after the worker, from time to time."""
        now = time.monotonic_ns()
        if now - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = now
        if self._supervisor is not None:
            self._supervisor.poll()
            return
        words = self._words
        if not words[Word.SUPERVISOR_PID] or runs(words[Word.SUPERVISOR_PID], words[Word.SUPERVISOR_STARTED]):
            return
        self._orphaned = self._orphaned or words[Word.SUPERVISOR_STATE] != Side.CLOSED
        # A worker outlives its supervisor; only when it is gone too has inference failed.
        if self._orphaned and not runs(words[Word.CONSUMER_PID], words[Word.CONSUMER_STARTED]):
            if words[Word.CONSUMER_STATE] == Side.CLOSED:
                words[Word.SUPERVISOR_STATE] = Side.CLOSED
            elif self._take_over is not None:
                self._inherit(self._take_over)
            elif not self._waits_for_heir:
                words[Word.SUPERVISOR_STATE] = Side.FAILED

    def _inherit(self, take_over: Callable[[], Supervisor]) -> None:
        self._take_over = None
        try:
            self._supervisor = take_over()
        except (OSError, ValueError) as error:
            print(f"cdi: no worker can be started here: {error}", file=sys.stderr, flush=True)
            self._words[Word.SUPERVISOR_STATE] = Side.FAILED

    @property
    def supervisor_lost(self) -> bool:
        """Whether the rank that supervised has died."""
        return self._orphaned

    def close(self) -> None:
        """Let the worker end, and remove the ring."""
        if self._supervisor is not None:
            self._supervisor.stop(timeout_s=30.0)
        self._region.unlink()


class NoRing:
    """A rank whose content goes into other ranks' frames."""

    carries = False
    state = Side.READY
    failed = False
    supervisor_lost = False

    def progress(self) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """Nothing is held."""
