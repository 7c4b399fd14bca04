"""What a migration asks of the worker whose frames move."""

from typing import Protocol

from inference_insitu.inference.analysis import Analysis
from inference_insitu.transit.account import Key


class Local(Protocol):
    """The worker's own side."""

    worker: int
    """Its number."""

    @property
    def last_met(self) -> int:
        """The last step of any frame that was seen; −1 before the first."""
        ...

    @property
    def ending(self) -> bool:
        """Whether no simulation rank will publish any more."""
        ...

    def met(self, key: Key) -> int:
        """The last step of ``key`` that was seen, wherever it went; −1 before the first."""
        ...

    def last_answered(self, key: Key) -> int:
        """The last step of ``key`` that was answered here, or dropped; −1 before the first."""
        ...

    def waits_below(self, step: int) -> bool:
        """Whether a frame of an earlier step waits here for its answer."""
        ...

    def analysis(self, name: str) -> Analysis:
        """The analysis, as it answers here."""
        ...
