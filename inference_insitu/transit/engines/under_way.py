"""Which records an engine's process has in its hands: kept where its death does not reach, to find what kills it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

MOST_RECORDS = 256
"""That are in hand at once."""


class UnderWay:
    """Memory of a small file at ``path``: offsets that are in hand, and how often a process died with each.

    Frames in hand at a death count one attempt more when the file is opened again. Nothing is flushed: what dies is
    a process. A file that is not what it should be is begun anew.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (2 + 2 * MOST_RECORDS,)
        size = shape[0] * 8
        if not path.exists() or path.stat().st_size != size:
            path.write_bytes(bytes(size))
        words = np.memmap(path, "<i8", "r+", shape=shape)
        self._hand, self._counts = words[:2], words[2:].reshape(MOST_RECORDS, 2)
        first, last = (int(word) for word in self._hand)
        if 0 < first <= last < first + MOST_RECORDS:
            before = self.attempts
            found = {offset: before.get(offset, 0) + 1 for offset in range(first, last + 1)}
            self._counts[:] = 0
            for row, counted in zip(self._counts, found.items(), strict=False):
                row[:] = counted
        self._hand[:] = 0

    @property
    def attempts(self) -> Mapping[int, int]:
        """How often a process died with the record at an offset; those with none are left out."""
        return {int(offset): int(count) for offset, count in self._counts if offset > 0 < count}

    def take(self, first: int, last: int) -> None:
        """Records from ``first`` to ``last`` are in hand; 0, 0: none."""
        self._hand[:] = first, last
