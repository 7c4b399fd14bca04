"""What killed runs left in shared memory: rings that nobody uses any more, and the files that they spilled to.

A ring is stale when the rank that created it, its worker and whoever supervises that are dead, and when nobody
holds it. Both are asked, since a number of a process says nothing to another container that shares the memory.
What belongs to another user, is no plain file or no ring is not looked at any further.
"""

import fcntl
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inference_insitu.ring.layout import LAYOUT_OFFSET, MAGIC, VERSION, Layout, Word
from inference_insitu.ring.processes import runs
from inference_insitu.ring.region import PREFIX, SHARED_MEMORY

MOST_LAYOUT_BYTES = 1 << 22
UNFINISHED_S = 60.0
"""A ring that its creator did not finish says nothing of itself; this old, nobody is at it any more."""

_NAME = re.compile(re.escape(PREFIX) + r"[0-9A-Za-z]{1,64}-[0-9]{1,9}(-own)?")
_SPILL_NAME = re.compile(r"spill-[0-9]{1,9}")
_OWNERS = (
    (Word.OWNER_PID, Word.OWNER_STARTED),
    (Word.CONSUMER_PID, Word.CONSUMER_STARTED),
    (Word.SUPERVISOR_PID, Word.SUPERVISOR_STARTED),
)


@dataclass(frozen=True)
class Stale:
    """A ring that a killed run left: its size in memory, whose it was, and the file that it spilled to."""

    path: Path
    bytes: int
    rank: int
    owner_pid: int
    spill_file: Path | None = None


def stale_segments(folder: Path = SHARED_MEMORY) -> list[Stale]:
    """What killed runs of this user left in ``folder``; nothing is changed."""
    found = []
    for path in _candidates(folder):
        with _unused(path) as descriptor:
            if descriptor is not None and (stale := _examined(path, descriptor)) is not None:
                found.append(stale)
    return found


def remove_stale(folder: Path = SHARED_MEMORY) -> list[Stale]:
    """Remove what ``stale_segments`` finds; what has been removed. Nothing here is an error."""
    removed = []
    for path in _candidates(folder):
        with _unused(path) as descriptor:
            if descriptor is None or (stale := _examined(path, descriptor)) is None:
                continue
            if stale.spill_file is not None:
                with _unused(stale.spill_file) as spilled:
                    if spilled is not None:
                        _remove(stale.spill_file, spilled)
            if _remove(path, descriptor):
                removed.append(stale)
    return removed


def _candidates(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name))
    except OSError:
        return []


@contextmanager
def _unused(path: Path) -> Iterator[int | None]:
    """A descriptor of a plain file of ours that nobody holds, held meanwhile; None where it is anything else."""
    try:
        # Neither a link nor a pipe may lead us elsewhere or make us wait.
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        status = os.fstat(descriptor)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1
        yield descriptor if ours and _nobody_holds(descriptor) else None
    finally:
        os.close(descriptor)


def _nobody_holds(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or on a file system that cannot tell
        return False
    return True


def _examined(path: Path, descriptor: int) -> Stale | None:
    """The ring at ``path``, where it is one and its processes are dead."""
    try:
        status = os.fstat(descriptor)
        head = os.pread(descriptor, LAYOUT_OFFSET, 0)
    except OSError:
        return None
    words = memoryview(head.ljust(LAYOUT_OFFSET, b"\0")).cast("q")
    if words[Word.MAGIC] == 0 and time.time() - status.st_mtime > UNFINISHED_S:
        return Stale(path, status.st_size, -1, 0)
    if words[Word.MAGIC] != MAGIC or words[Word.VERSION] != VERSION:
        return None
    if any(runs(words[pid], words[started]) for pid, started in _OWNERS):
        return None
    return Stale(path, status.st_size, words[Word.RANK], words[Word.OWNER_PID], _spill_file(descriptor, words))


def _spill_file(descriptor: int, words: memoryview) -> Path | None:
    """The file that the ring names, where it is one that a ring makes."""
    length = words[Word.LAYOUT_BYTES]
    if not 0 < length <= MOST_LAYOUT_BYTES:
        return None
    try:
        encoded = os.pread(descriptor, length, LAYOUT_OFFSET)
        if zlib.crc32(encoded) != words[Word.LAYOUT_CHECK]:
            return None
        layout = Layout.decode(encoded)
        path = Path(layout.spill_file)
        whole = path.is_absolute() and path.lstat().st_size == layout.spill_bytes
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return path if whole and _SPILL_NAME.fullmatch(path.name) else None


def _remove(path: Path, descriptor: int) -> bool:
    """Remove the name ``path``, if it is still that of the file that was looked at."""
    try:
        held, named = os.fstat(descriptor), os.stat(path, follow_symlinks=False)
        if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino):
            return False
        os.unlink(path)
    except OSError:
        return False
    return True
