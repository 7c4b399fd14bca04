"""How ranks part, by messages that nobody waits for, since who infers may have died; how a failed one ends them all."""

import atexit
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from mpi4py import MPI

from cdi.launched import INTERRUPTED
from inference_insitu.waiting import wait_until

FAREWELL_TAG = 9
CLOSED, ABANDONED, RANK_DIED = range(3)
"""How a simulation rank parts: its books are closed, it has failed, or it knows of a rank that died."""
FAREWELL_TIMEOUT_S = 5.0
FINALIZE_TIMEOUT_S = 5.0
LAST_WORDS_S = 1.0
"""For what other ranks fail of at the same time."""


def say_farewell(communicator: MPI.Intracomm, ranks: Sequence[int], word: int) -> None:
    """Tell the ``ranks`` given up for inference how this simulation rank parts; whether they live does not matter."""
    data, sent = np.array([word], np.int64), []
    for rank in ranks:
        try:
            sent.append(communicator.Isend(data, rank, FAREWELL_TAG))
        except MPI.Exception:  # it has died
            continue
    wait_until(lambda: all(map(_sent, sent)), timeout_s=FAREWELL_TIMEOUT_S)


def _sent(request: MPI.Request) -> bool:
    try:
        return request.Test()
    except MPI.Exception:
        return True


def farewells(communicator: MPI.Intracomm) -> list[int]:
    """What simulation ranks have told this one in parting since the last time."""
    words, word = [], np.empty(1, np.int64)
    while communicator.Iprobe(MPI.ANY_SOURCE, FAREWELL_TAG):
        communicator.Recv(word, MPI.ANY_SOURCE, FAREWELL_TAG)
        words.append(int(word[0]))
    return words


def leave_without_finalize() -> None:
    """From now on this process does not wait for MPI's own end, which may wait for a rank that has died."""
    import mpi4py

    if mpi4py.rc.finalize is not False:
        mpi4py.rc.finalize = False
        atexit.register(_end_in_time)


def end_together() -> None:
    """If an error that nobody takes ends this process, it ends all ranks: others may wait for this one for ever."""
    atexit.unregister(_end_all)
    atexit.register(_end_all)


def _end_all() -> None:
    error = getattr(sys, "last_value", None)
    if error is not None and not MPI.Is_finalized():
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(LAST_WORDS_S)
        MPI.COMM_WORLD.Abort(INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1)


def _end_in_time() -> None:
    """Most often MPI's end goes well nevertheless, and the launcher likes it better."""
    sys.stdout.flush()
    sys.stderr.flush()
    end = threading.Thread(target=MPI.Finalize, daemon=True)
    end.start()
    end.join(FINALIZE_TIMEOUT_S)
    if end.is_alive():
        # The exit code of ``sys.exit`` is not to be known here; an error's is.
        os._exit(int(getattr(sys, "last_value", None) is not None))


def abort(message: str, code: int) -> NoReturn:
    """Say why in one line and end every rank: the way out of a failure that only this rank knows of."""
    sys.stdout.flush()
    if MPI.COMM_WORLD.rank:
        time.sleep(0.5)  # what all ranks fail of is told by the first
    print(f"cdi: {' '.join(message.split())}", file=sys.stderr, flush=True)
    time.sleep(0.2)  # the launcher forwards the line before it learns of the end
    MPI.COMM_WORLD.Abort(code)
    os._exit(code)
