"""MPI: the only file that imports mpi4py. Buffers only, nothing is pickled.

A rank that waits here sleeps between looks instead of spinning in MPI, because cores are shared
with the simulation; and no wait is without a timeout, so that a rank that failed elsewhere is
noticed.
"""

import os
import sys
import time
from typing import Any, NoReturn

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from cdi.errors import RunError
from inference_insitu.transport import Message, wait_until

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

TAG = 2
_INTERVAL_S = 0.02


def world() -> MPI.Intracomm:
    """A duplicate of COMM_WORLD, so that no other library's messages mix with ours."""
    return MPI.COMM_WORLD.Dup()


def library() -> str:
    """Name and version of the MPI library, e.g. ``MPICH 5.0.2``."""
    name, version = MPI.get_vendor()
    return f"{name} {'.'.join(map(str, version))}"


class MpiLink:
    """Connection to one rank of ``communicator``; implements ``transport.Link``.

    Sends keep their buffers until MPI has taken them; a receive in progress is tested, never
    waited for, because the peer of a large message may be computing.
    """

    def __init__(self, communicator: MPI.Intracomm, peer: int) -> None:
        self._communicator, self._peer = communicator, peer
        self._sends: list[tuple[MPI.Request, NDArray[np.uint8]]] = []
        self._arriving: tuple[MPI.Request, NDArray[np.uint8]] | None = None

    def send(self, message: Message) -> None:
        """Start a nonblocking send."""
        buffer = message.encode()
        self._sends.append((self._communicator.Isend([buffer, MPI.BYTE], self._peer, TAG), buffer))
        self.pending()

    def receive(self) -> Message | None:
        """The next message that has wholly arrived, or None."""
        if self._arriving is None:
            status = MPI.Status()
            probed = self._communicator.Improbe(self._peer, TAG, status)
            if probed is None:
                return None
            buffer = np.empty(status.Get_count(MPI.BYTE), np.uint8)
            self._arriving = (probed.Irecv([buffer, MPI.BYTE]), buffer)
        request, buffer = self._arriving
        if not request.Test():
            return None
        self._arriving = None
        return Message.decode(buffer)

    def pending(self) -> int:
        """Sends that MPI has not completed; testing them drives their progress."""
        self._sends = [(request, buffer) for request, buffer in self._sends if not request.Test()]
        return len(self._sends)


class MpiGroup:
    """The simulation's ranks; implements ``coupling.Group``. Rank 0 is the root."""

    def __init__(self, communicator: MPI.Intracomm) -> None:
        self.communicator = communicator

    @property
    def is_root(self) -> bool:
        """Whether this rank receives the sums."""
        return self.communicator.rank == 0

    def sum_to_root(self, values: Complex) -> Complex | None:
        """Elementwise sum over the ranks, at the root; None elsewhere."""
        total = np.empty_like(values) if self.is_root else None
        self.communicator.Reduce(np.ascontiguousarray(values), total, MPI.SUM, 0)
        return total

    def share(self, values: Array) -> Array:
        """The root's ``values``, on every rank."""
        shared = np.ascontiguousarray(values, np.float64)
        self.communicator.Bcast(shared, 0)
        return shared

    def largest(self, values: Array) -> Array:
        """Elementwise maximum over the ranks."""
        result = np.empty_like(values)
        self.communicator.Allreduce(np.ascontiguousarray(values), result, MPI.MAX)
        return result


def split(communicator: MPI.Intracomm, inference_ranks: int) -> tuple[MPI.Intracomm, bool]:
    """This rank's own communicator and whether it infers: the last ``inference_ranks`` ranks do."""
    infers = communicator.rank >= communicator.size - inference_ranks
    return MPI.Intracomm(communicator.Split(int(infers), communicator.rank)), infers


def first_problem(communicator: MPI.Intracomm, problem: str | None, *, timeout_s: float) -> str | None:
    """The problem of the lowest rank that has one, on every rank; None where all are well.

    Collective. Every rank must come, so that none goes on while another gives up.

    Raises
    ------
    RunError
        If some rank does not come within ``timeout_s``.
    """
    rank, size = communicator.rank, communicator.size
    mine = np.array([size if problem is None else rank], np.int64)
    lowest = np.empty_like(mine)
    _complete(communicator.Iallreduce(mine, lowest, MPI.MIN), timeout_s)
    origin = int(lowest[0])
    if origin == size:
        return None
    text = np.zeros(1024, np.uint8)
    if rank == origin:
        encoded = str(problem).encode()[: len(text)]
        text[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    _complete(communicator.Ibcast([text, MPI.BYTE], origin), timeout_s)
    return text.tobytes().rstrip(b"\0").decode(errors="replace")


def wait_for_all(communicator: MPI.Intracomm, *, timeout_s: float) -> None:
    """A barrier whose waiting ranks sleep."""
    _complete(communicator.Ibarrier(), timeout_s)


def abort(message: str, code: int) -> NoReturn:
    """Say why in one line and end every rank: the way out of a failure that only this rank knows of."""
    sys.stdout.flush()
    if MPI.COMM_WORLD.rank:
        time.sleep(0.5)  # what all ranks fail of is told by the first
    print(f"cdi: {' '.join(message.split())}", file=sys.stderr, flush=True)
    time.sleep(0.2)  # the launcher forwards the line before it learns of the end
    MPI.COMM_WORLD.Abort(code)
    os._exit(code)


def _complete(request: Any, timeout_s: float) -> None:
    if not wait_until(request.Test, timeout_s=timeout_s, interval_s=_INTERVAL_S):
        raise RunError(f"some rank did not answer within {timeout_s:g} s")
