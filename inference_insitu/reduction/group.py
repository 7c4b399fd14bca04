"""The simulation's ranks, as far as a reduction needs them."""

from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]


class Group(Protocol):
    """All ranks that publish a stream together."""

    @property
    def is_root(self) -> bool:
        """Whether this rank receives the sums."""

    def sum_to_root(self, values: Array) -> Array | None:
        """Elementwise sum over the ranks, at the root; None elsewhere. Collective; ``values`` are contiguous floats."""


class Alone:
    """A group of one rank; implements ``Group``."""

    is_root = True

    def sum_to_root(self, values: Array) -> Array | None:
        """``values`` themselves."""
        return values
