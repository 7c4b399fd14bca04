"""Communicators and what ranks agree on. Buffers only, nothing is pickled.

This file and its neighbours ``mpi_parting`` and ``mpi_wire`` are the only ones here that import mpi4py.

A rank that waits here for others' words sleeps between looks instead of spinning in MPI, because cores are
shared with the simulation, and with a timeout, so that a rank that failed elsewhere is noticed. MPI's own
blocking calls are left where MPI has no other: making communicators (where all ranks have just met), and in what
the simulation's ranks do together at a step (``MpiGroup``), where they would wait for each other anyway.
"""

import os
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from cdi.errors import MissingDependencyError, RunError
from inference_insitu.waiting import AGREE_TIMEOUT_S, wait_until

Array = NDArray[np.float64]

T = TypeVar("T")

_SHORTEST_S, _LONGEST_S = 0.0002, 0.02
"""Between looks at what all ranks must come to: they mostly come at once, or much later."""
LOOKS = 8
"""A look moves a collective on by one message at most: so many before sleeping end it at once where all has come."""
MAXIMUM_INTERVAL_S = 0.0002
"""Between looks at a maximum of all ranks: each of its log2(ranks) rounds waits for a look."""


def duplicated(communicator: MPI.Intracomm) -> MPI.Intracomm:
    """A duplicate whose errors are raised, so that no other library's messages mix with ours."""
    own = communicator.Dup()
    own.Set_errhandler(MPI.ERRORS_RETURN)
    return own


def what_a_dead_rank_does() -> str:
    """One clause for the start of a run: whether the job outlives the death of a rank given up for inference."""
    switched_on = os.environ.get("OMPI_MCA_mpi_ft_enable", "").lower()  # noqa: SIM112  (Open MPI's own spelling)
    if MPI.get_vendor()[0] == "Open MPI" and switched_on in ("1", "true", "ulfm"):
        return "the job outlives the death of a rank (ULFM)"
    return "the launcher ends the whole job where a rank dies (a worker process may die at will)"


def origin_ns(communicator: MPI.Intracomm) -> int:
    """Rank 0's monotonic clock now, on every rank: the run's origin of time, exact on rank 0's node."""
    now = np.array([time.monotonic_ns()], np.int64)
    _complete(communicator.Ibcast(now, 0), AGREE_TIMEOUT_S)
    return int(now[0])


def library() -> str:
    """Name and version of the MPI library, e.g. ``MPICH 5.0.2``."""
    name, version = MPI.get_vendor()
    return f"{name} {'.'.join(map(str, version))}"


class MpiGroup:
    """The simulation's ranks; implements ``reduction.operators.Group``. Rank 0 is the root."""

    def __init__(self, communicator: MPI.Intracomm) -> None:
        self.communicator = communicator

    @property
    def is_root(self) -> bool:
        """Whether this rank receives the sums."""
        return self.communicator.rank == 0

    def sum_to_root(self, values: NDArray[Any]) -> NDArray[Any] | None:
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


def nodes(communicator: MPI.Intracomm, node_ranks: int | None) -> list[int]:
    """The node of every rank, as the lowest rank there; collective. If given, ``node_ranks`` ranks in a row are one."""
    if node_ranks is not None:
        return [rank // node_ranks * node_ranks for rank in range(communicator.size)]
    shared = communicator.Split_type(MPI.COMM_TYPE_SHARED, communicator.rank)
    lowest = np.array([communicator.rank], np.int64)
    shared.Bcast(lowest, 0)
    shared.Free()
    found = np.empty(communicator.size, np.int64)
    _complete(communicator.Iallgather(lowest, found), AGREE_TIMEOUT_S)
    return [int(node) for node in found]


def split(communicator: MPI.Intracomm, group: int) -> MPI.Intracomm:
    """The communicator of the ranks with the same ``group``, in their order."""
    return MPI.Intracomm(communicator.Split(group, communicator.rank))


def shared_text(communicator: MPI.Intracomm, text: str, size: int = 256) -> str:
    """Rank 0's ``text`` of at most ``size`` bytes, on every rank."""
    buffer = np.zeros(size, np.uint8)
    encoded = text.encode()[:size]
    buffer[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    _complete(communicator.Ibcast([buffer, MPI.BYTE], 0), AGREE_TIMEOUT_S)
    return buffer.tobytes().rstrip(b"\0").decode()


def gathered(communicator: MPI.Intracomm, data: bytes, *, timeout_s: float) -> list[bytes] | None:
    """Every rank's ``data``, in their order, on rank 0; None elsewhere. Collective.

    Raises
    ------
    RunError
        If some rank does not come within ``timeout_s``.
    """
    size = np.array([len(data)], np.int64)
    sizes = np.empty(communicator.size, np.int64) if communicator.rank == 0 else None
    _complete(communicator.Igather(size, sizes, 0), timeout_s)
    if sizes is None:
        _complete(communicator.Igatherv([np.frombuffer(data, np.uint8), MPI.BYTE], None, 0), timeout_s)
        return None
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    buffer = np.empty(int(offsets[-1]), np.uint8)
    into = [buffer, sizes, offsets[:-1], MPI.BYTE]
    _complete(communicator.Igatherv([np.frombuffer(data, np.uint8), MPI.BYTE], into, 0), timeout_s)
    return [buffer[first:last].tobytes() for first, last in pairwise(offsets)]


def anywhere(communicator: MPI.Intracomm, here: bool, *, timeout_s: float) -> bool:
    """Whether ``here`` is true on any rank, on every rank. Collective.

    Raises
    ------
    RunError
        If some rank does not come within ``timeout_s``.
    """
    mine, found = np.array([here], np.int64), np.empty(1, np.int64)
    _complete(communicator.Iallreduce(mine, found, MPI.MAX), timeout_s)
    return bool(found[0])


def agreed(communicator: MPI.Intracomm, task: Callable[[], T], *, timeout_s: float) -> T:
    """What ``task`` gives here, once it went well on every rank; collective.

    Raises
    ------
    ValueError
        On every rank, with the line of the lowest rank on which the task failed.
    """
    problem, result = None, None
    try:
        result = task()
    except (ValueError, OSError, MissingDependencyError, RunError) as error:
        problem = str(error) or type(error).__name__
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    told = first_problem(communicator, problem, timeout_s=timeout_s)
    if told is not None:
        raise ValueError(told)
    return cast(T, result)


def free(*communicators: "MPI.Intracomm | SteeringCollective") -> None:
    """Give communicators of ours back: a library has some two thousand of them."""
    for communicator in communicators:
        if isinstance(communicator, SteeringCollective):
            communicator.free()
        else:
            communicator.Free()


class SteeringCollective:
    """What ``steering.agreement`` needs of the simulation's ranks; implements ``steering.collective.Collective``."""

    def __init__(self, communicator: MPI.Intracomm) -> None:
        self._communicator = communicator.Dup()

    def free(self) -> None:
        """Give its communicator back; collective."""
        self._communicator.Free()

    def start_max(self, value: int) -> "PendingMax":
        """Start the maximum of every rank's ``value``."""
        mine, largest = np.array([value], np.int64), np.empty(1, np.int64)
        return PendingMax(self._communicator.Iallreduce(mine, largest, MPI.MAX), mine, largest)

    def share(self, payload: bytes, root: int, timeout_s: float) -> bytes:
        """``payload`` of ``root``, on every rank."""
        buffer = np.frombuffer(bytearray(payload), np.uint8)
        request = self._communicator.Ibcast([buffer, MPI.BYTE], root)
        if not wait_until(request.Test, timeout_s=timeout_s):
            raise TimeoutError(f"some rank did not answer within {timeout_s:g} s")
        return buffer.tobytes()


class PendingMax:
    """A maximum under way; keeps its buffers alive."""

    def __init__(self, request: MPI.Request, mine: NDArray[np.int64], largest: NDArray[np.int64]) -> None:
        self._request, self._mine, self._largest = request, mine, largest

    def result(self, timeout_s: float) -> int:
        """The maximum.

        Raises
        ------
        TimeoutError
            If some rank does not come within ``timeout_s``.
        """
        if not any(self._request.Test() for _ in range(LOOKS)) and not wait_until(
            self._request.Test, timeout_s=timeout_s, interval_s=MAXIMUM_INTERVAL_S
        ):
            raise TimeoutError(f"some rank did not answer within {timeout_s:g} s")
        return int(self._largest[0])


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


def _complete(request: Any, timeout_s: float) -> None:
    if any(request.Test() for _ in range(LOOKS)):
        return
    end, nap_s = time.monotonic() + timeout_s, _SHORTEST_S
    while not request.Test():
        if time.monotonic() > end:
            raise RunError(f"some rank did not answer within {timeout_s:g} s")
        time.sleep(nap_s)
        nap_s = min(1.5 * nap_s, _LONGEST_S)
