"""Queries of Spark that has little of the machine: its Python processes have ten seconds to start, and no setting."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

MOST_TRIES = 20
PAUSE_S = 1.0
_TOO_LATE = "failed to connect back"


def patiently(do: Callable[[], T]) -> T:
    """What ``do`` gives, tried again where Spark's Python did not start in time."""
    for _ in range(MOST_TRIES - 1):
        try:
            return do()
        except Exception as error:
            if _TOO_LATE not in str(error):
                raise
        time.sleep(PAUSE_S)
    return do()


class Query:
    """A streaming query that ``start`` starts, again where its Python did not start in time: from its checkpoint."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start, self._left = start, MOST_TRIES
        self.running = patiently(start)

    def look(self) -> None:
        """Raise ``RuntimeError`` where it has ended by itself."""
        if self.running.isActive:
            return
        problem = str(self.running.exception())
        self._left -= 1
        if _TOO_LATE not in problem or not self._left:
            raise RuntimeError(f"Spark's query has ended: {problem}")
        self.running = patiently(self._start)
