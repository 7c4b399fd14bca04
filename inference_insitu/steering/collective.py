"""The little that agreement asks of a communicator; MPI gives it elsewhere, tests give it with threads."""

from typing import Protocol


class Pending(Protocol):
    """A maximum under way."""

    def result(self, timeout_s: float) -> int:
        """The largest value that any rank started with.

        Raises
        ------
        TimeoutError
            If not every rank has started within ``timeout_s`` seconds.
        """


class Collective(Protocol):
    """Two collective operations. Every rank calls them in the same order."""

    def start_max(self, value: int) -> Pending:
        """Start the maximum of ``value`` (0 ≤ value < 2^63) over all ranks, without waiting (``MPI_Iallreduce``)."""

    def share(self, payload: bytes, root: int, timeout_s: float) -> bytes:
        """The 256 bytes that ``root`` gave; of the others' ``payload`` only the length counts (``MPI_Ibcast``).

        Raises
        ------
        TimeoutError
            If ``root`` has not given them within ``timeout_s`` seconds.
        """


class Alone:
    """The communicator of a simulation of one rank."""

    def start_max(self, value: int) -> Pending:
        """``value`` itself."""
        return _Known(value)

    def share(self, payload: bytes, root: int, timeout_s: float) -> bytes:
        """``payload`` itself."""
        return payload


class _Known:
    def __init__(self, value: int) -> None:
        self._value = value

    def result(self, timeout_s: float) -> int:
        return self._value
