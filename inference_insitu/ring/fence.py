"""A full memory fence between two processes, from what the standard library has."""

from threading import Lock

_LOCK = Lock()


def fence() -> None:
    """Order this thread's earlier loads and stores before its later ones, as other cores see them.

    A lock's release orders what came before it and its acquisition what comes after. One cycle
    lets both sides move into the critical section; the acquisition of a second cycle follows the
    release of the first on the same word, which no core reorders. On x86 either one is a locked
    instruction and a full fence by itself.
    """
    _LOCK.acquire()
    _LOCK.release()
    _LOCK.acquire()
    _LOCK.release()
