"""Files that a ring is made of, mapped into memory: new ones with every byte reserved, and those of another process."""

import fcntl
import mmap
import os
import time
from pathlib import Path

HOLD_TRIES = 100


def new_file(path: Path, size: int) -> int:
    """A descriptor of the new file ``path`` of ``size`` bytes, all of which are there.

    Raises
    ------
    OSError
        If the memory or the disk does not hold it; ``FileExistsError`` if the name is taken.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _hold(descriptor)
        # Reserved now: a page that cannot be had later is a SIGBUS, not an error.
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        os.close(descriptor)
        os.unlink(path)
        raise OSError(error.errno, f"{size} bytes for a ring are not to be had: {error.strerror}", str(path)) from error
    return descriptor


def map_new(path: Path | None, size: int) -> mmap.mmap:
    """``size`` bytes of memory, of the new file ``path`` or of this process alone; raises as ``new_file``."""
    if path is None:
        return mmap.mmap(-1, size)
    descriptor = new_file(path, size)
    try:
        return mmap.mmap(descriptor, size)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def map_existing(path: Path) -> mmap.mmap:
    """All of the file ``path``.

    Raises
    ------
    ValueError
        If it is empty.
    OSError
        If it cannot be read and written.
    """
    descriptor = existing_file(path)
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise ValueError(f"{path} must be a ring, got an empty file")
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def existing_file(path: Path) -> int:
    """A descriptor of the file ``path``, which is not removed as stale while it or a mapping of it is there.

    Raises
    ------
    OSError
        If it cannot be read and written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    _hold(descriptor)
    return descriptor


def _hold(descriptor: int) -> None:
    """Show that somebody uses the file, for as long as the mapping lasts; the system lets go for who dies.

    A process number tells the same, but not to another container that shares the memory.
    """
    for _ in range(HOLD_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except BlockingIOError:  # somebody looks whether it is stale, for a moment
            time.sleep(0.001)
        except OSError:  # a file system without locks
            return
