"""Who reads a ring, in words of the ring itself: what is decided, and what holds, survives whoever dies.

A ring changes hands so: who shares the rings out names the next reader (``WANTED``); that one loads, warms up and says
that it can (``HEIR``); who reads the ring ends what it has begun, leaves what its analyses kept, and names the next one
its reader (``HOLDER``), which nobody else writes. Until then the ring is read by who has read it so far.
"""

import os
from collections import Counter
from collections.abc import Sequence

from inference_insitu.ring.fence import fence
from inference_insitu.ring.layout import Side, Word
from inference_insitu.ring.processes import runs, started_at
from inference_insitu.ring.region import Region

FIXED = 0
"""In place of a reader: the ring has one alone, which never changes."""


def begin(region: Region, worker: int) -> None:
    """Let ``region``, which nobody has opened yet, be read by ``worker``, and by others later."""
    region.words[Word.HOLDER] = region.words[Word.WANTED] = worker + 1


def holder(region: Region) -> int:
    """The worker that reads ``region``; −1 for the only one that there is."""
    return int(region.words[Word.HOLDER]) - 1


def reads(region: Region, worker: int) -> bool:
    """Whether ``worker`` reads ``region``."""
    return region.words[Word.HOLDER] in (FIXED, worker + 1)


def is_heir(region: Region, worker: int) -> bool:
    """Whether ``worker`` is to read ``region`` next."""
    words = region.words
    return words[Word.WANTED] == worker + 1 != words[Word.HOLDER]


def is_open(region: Region) -> bool:
    """Whether a frame may yet be published in ``region``."""
    words = region.words
    return words[Word.PRODUCER_STATE] < Side.ENDING and runs(words[Word.OWNER_PID], words[Word.OWNER_STARTED])


def want(region: Region, worker: int) -> None:
    """Ask for ``worker`` to read ``region`` next."""
    region.words[Word.HEIR] = 0
    fence()
    region.words[Word.WANTED] = worker + 1


def is_orphaned(region: Region) -> bool:
    """Whether nobody reads ``region``, nor will: its reader was given up."""
    return region.words[Word.SUPERVISOR_STATE] == Side.FAILED


def inherit(region: Region, worker: int) -> None:
    """Let ``worker`` read ``region``, which is orphaned: nobody is left to name it.

    This process answers for the ring until the worker's supervisor does: it is an orphan no longer.
    """
    words, pid = region.words, os.getpid()
    words[Word.SUPERVISOR_STARTED], words[Word.SUPERVISOR_PID] = started_at(pid) or 0, pid
    words[Word.SUPERVISOR_STATE] = Side.STARTING
    words[Word.WANTED] = worker + 1
    fence()
    words[Word.HOLDER] = worker + 1


def decline(region: Region) -> None:
    """Let who reads ``region`` go on."""
    region.words[Word.WANTED] = region.words[Word.HOLDER]


def shares(holders: Sequence[int], workers: Sequence[int]) -> list[int]:
    """Who of ``workers`` is to read each ring, evenly, where ``holders`` read them now; few change hands."""
    base, extra = divmod(len(holders), len(workers))
    held = Counter(holders)
    room = {
        worker: base + (place < extra)
        for place, worker in enumerate(sorted(workers, key=lambda one: (-held[one], workers.index(one))))
    }
    found = []
    for one in holders:
        keeps = room.get(one, 0) > 0
        found.append(one if keeps else None)
        if keeps:
            room[one] -= 1
    free = iter([worker for worker in workers for _ in range(room[worker])])
    return [next(free) if one is None else one for one in found]
