"""The versions of its analyses that a worker beside the simulation has loaded, one of each answering."""

import threading
from collections.abc import Callable
from contextlib import ExitStack

from inference_insitu.inference.analysis import Analysis
from inference_insitu.transit.operators.analyses import Key

Load = Callable[[str, int], Analysis]
Start = Callable[[Callable[[], None]], None]


def in_thread(load: Callable[[], None]) -> None:
    """Let ``load`` go on beside the answers."""
    threading.Thread(target=load, daemon=True).start()


class LocalVersions:
    """Loads versions beside those that answer.

    Parameters
    ----------
    answering : by name, the analyses as they are configured; changed in place where another version takes over.
    load : a version, loaded and warm.
    start : lets a load go on.
    """

    def __init__(self, answering: dict[str, Analysis], load: Load, start: Start = in_thread) -> None:
        self._answering, self._load, self._start = answering, load, start
        self._numbers = dict.fromkeys(answering, 0)
        self._loaded: dict[Key, Analysis] = {(name, 0): analysis for name, analysis in answering.items()}
        self._under_way: set[Key] = set()
        self._failed: dict[Key, Exception] = {}

    def prepared(self, name: str, version: int) -> Analysis | None:
        """As ``Local``."""
        key = name, version
        if key in self._failed:
            raise self._failed.pop(key)
        if key not in self._loaded and key not in self._under_way:
            self._under_way.add(key)
            self._start(lambda: self._try(key))
        if key in self._failed:
            raise self._failed.pop(key)
        return self._loaded.get(key)

    def adopt(self, name: str, version: int) -> Analysis:
        """As ``Local``; what neither answers nor did before is closed."""
        key, before = (name, version), self._numbers.get(name, 0)
        if key not in self._loaded:
            self._loaded[key] = self._load(*key)
        self._answering[name], self._numbers[name] = self._loaded[key], version
        if version != before:
            self._close([one for one in self._loaded if one[0] == name and one[1] not in (version, before)])
        return self._loaded[key]

    def close(self) -> None:
        """Close what does not answer: who answers is closed by whoever made it."""
        self._close([key for key in self._loaded if self._numbers.get(key[0]) != key[1]])

    def _close(self, keys: list[Key]) -> None:
        with ExitStack() as stack:
            for key in keys:
                stack.callback(self._loaded.pop(key).close)

    def _try(self, key: Key) -> None:
        try:
            self._loaded[key] = self._load(*key)
        except Exception as error:
            self._failed[key] = error
        finally:
            self._under_way.discard(key)
