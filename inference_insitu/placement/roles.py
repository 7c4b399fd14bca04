"""Which ranks simulate, which are given up for inference, and whom each of these serves. Free of MPI."""

from collections.abc import Sequence
from dataclasses import dataclass

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
        return not self.dedicated or rank not in self.keepers

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
    by_node = [[rank for rank in ranks if nodes[rank] == node] for node in sorted(set(nodes))]
    if placement.kind == "process":
        return Roles(tuple(own[0] for own in by_node), tuple(map(tuple, by_node)), dedicated=False)
    if placement.kind == "nodes":
        by_node = [list(ranks)]
    pairs = [pair for own in by_node for pair in _shares(own, placement)]
    return Roles(tuple(keeper for keeper, _ in pairs), tuple(served for _, served in pairs))


def _shares(own: list[int], placement: PlacementConfig) -> list[tuple[int, tuple[int, ...]]]:
    """The last ranks keep, each serves an even share of consecutive others; a keeper too many serves nobody."""
    count = placement.ranks
    if len(own) <= count:
        where = "the job" if placement.kind == "nodes" else f"the node of rank {own[0]}"
        raise ValueError(
            f"placement.ranks must leave a rank to simulate, got {count} of the {len(own)} ranks of {where}"
        )
    simulating, keeping = own[:-count], own[-count:]
    bounds = [len(simulating) * index // count for index in range(count + 1)]
    return [
        (keeper, tuple(simulating[first:last]))
        for keeper, first, last in zip(keeping, bounds, bounds[1:], strict=False)
    ]
