"""Which ranks simulate, which are given up for inference, and whom each of these serves. Free of MPI."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from inference_insitu.coupling_config import PlacementConfig


@dataclass(frozen=True)
class Roles:
    """``keepers[i]`` are ranks given up for inference, and ``served[i]`` the simulation ranks that they serve.

    With the placement ``process`` the keepers are themselves among those that they serve.
    """

    keepers: tuple[int, ...]
    served: tuple[tuple[int, ...], ...]
    dedicated: bool = True

    def simulates(self, rank: int) -> bool:
        """Whether ``rank`` is one of the simulation's."""
        return self.simulating_before(rank) < self.simulating_before(rank + 1)

    def simulating_before(self, rank: int) -> int:
        """How many ranks below ``rank`` are the simulation's: the number of ``rank`` among them."""
        return rank - bisect_left(self._given_up, rank)

    @cached_property
    def _given_up(self) -> list[int]:
        """Sorted: every rank asks of many others, and a search through thousands of keepers each time takes seconds."""
        return sorted(self.keepers) if self.dedicated else []

    def keeper_of(self, rank: int) -> int:
        """Position of the keeper that serves the simulation rank ``rank``."""
        return next(index for index, ranks in enumerate(self.served) if rank in ranks)


def assign(nodes: Sequence[int], placement: PlacementConfig) -> Roles:
    """Roles of all ranks; ``nodes[rank]`` says on which node each is.

    Raises
    ------
    ValueError
        If no rank would be left to simulate, on a node or in all.
    """
    ranks = range(len(nodes))
    if placement.kind == "job":
        return Roles((), (), dedicated=True)
    own_ranks: dict[int, list[int]] = {}
    for rank in ranks:
        own_ranks.setdefault(nodes[rank], []).append(rank)
    by_node = [own_ranks[node] for node in sorted(own_ranks)]
    if placement.kind == "process":
        return Roles(tuple(own[0] for own in by_node), tuple(map(tuple, by_node)), dedicated=False)
    if placement.kind == "nodes":
        by_node = [list(ranks)]
    pairs = [pair for own in by_node for pair in _shares(own, placement)]
    return Roles(tuple(keeper for keeper, _ in pairs), tuple(served for _, served in pairs))


def _shares(own: list[int], placement: PlacementConfig) -> list[tuple[int, tuple[int, ...]]]:
    """The last ranks keep, each serves an even share of consecutive others; a keeper too many serves nobody.

    Where workers come and go the first of them serve, at first.
    """
    count = placement.ranks
    serving = count if placement.scaling is None else placement.scaling.least
    if len(own) <= count:
        where = "the job" if placement.kind == "nodes" else f"the node of rank {own[0]}"
        raise ValueError(
            f"placement.ranks must leave a rank to simulate, got {count} of the {len(own)} ranks of {where}"
        )
    simulating, keeping = own[:-count], own[-count:]
    bounds = [len(simulating) * min(index, serving) // serving for index in range(count + 1)]
    return [
        (keeper, tuple(simulating[first:last]))
        for keeper, first, last in zip(keeping, bounds, bounds[1:], strict=False)
    ]
