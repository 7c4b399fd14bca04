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
        """The last step of any frame that was seen, or may have been by an earlier life; −1 before the first."""
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

    def prepared(self, name: str, version: int) -> Analysis | None:
        """``version`` of the analysis, loaded and warm beside the one that answers; None while that goes on.

        Raises
        ------
        ValueError, RunError
            If it cannot be loaded; asked again, it is tried again.
        """
        ...

    def adopt(self, name: str, version: int) -> Analysis:
        """``version`` answers here from now on; waits where it is not loaded yet.

        Raises
        ------
        ValueError, RunError
            As ``prepared``.
        """
        ...
