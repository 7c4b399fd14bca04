"""Dislocation networks: lines that meet at nodes, as loops that share sides.

Burgers vectors are conserved at every node (Hirth & Lothe, Theory of Dislocations, 2nd ed., 1982,
ch. 1), so that a network is a sum of closed loops: on a shared side their Burgers vectors add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdi.defects.classes import LOOP_OR_NETWORK, PARTIAL_OR_FAULT
from cdi.defects.defect import Array, Defect, DislocationLine
from cdi.defects.dislocation_loop import DislocationLoop, parts_within
from cdi.defects.stacking_fault import layer_gap
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SlipSystem
from cdi.shapes.shape import Shape, as_array, as_parameter

SAME_PLACE = 1e-6
"""Distance in Å below which two corners are one node, and Burgers vectors one vector."""
Edges = dict[tuple[int, int], Array]


@dataclass(frozen=True, eq=False)
class DislocationNetwork(Defect):
    """Dislocation loops that superpose; sides that they share are one line each with its total b.

    Raises
    ------
    ValueError
        If there is no loop.
    """

    loops: tuple[DislocationLoop, ...]

    kind = "dislocation network"

    def __post_init__(self) -> None:
        object.__setattr__(self, "loops", tuple(self.loops))
        if not self.loops:
            raise ValueError("loops must hold at least one loop, got none")

    @classmethod
    def of_segments(
        cls,
        nodes: ArrayLike | Tensor,
        segments: Sequence[tuple[int, int]],
        burgers: ArrayLike | Tensor,
        poisson_ratio: float,
    ) -> "DislocationNetwork":
        """The network of straight segments between nodes.

        One loop for each segment that a spanning tree of the network leaves out, with its Burgers
        vector: by conservation the segments of the tree get theirs.

        Parameters
        ----------
        nodes : (n, 3)
            In Å, laboratory frame. Lines that leave the crystal have to be closed outside.
        segments : m pairs of indices of nodes, in the sense ξ of each segment.
        burgers : (m, 3)
            In Å, laboratory frame.
        poisson_ratio : float

        Raises
        ------
        ValueError
            If shapes or indices do not fit, two segments join the same nodes, or the Burgers vectors
            that enter a node differ from those that leave it (named).
        """
        places, vectors = as_parameter(nodes), as_parameter(burgers)
        pairs = _checked_pairs(places, segments, vectors)
        _check_conservation(len(places), pairs, as_array(vectors))
        loops = [
            DislocationLoop(places[torch.as_tensor(cycle)], vectors[index], poisson_ratio)
            for index, cycle in _fundamental_cycles(pairs)
            if bool(vectors[index].any())
        ]
        return cls(tuple(loops))

    @property
    def defect_class(self) -> str:
        """See ``Defect``."""
        return PARTIAL_OR_FAULT if any(loop.faulted for loop in self.loops) else LOOP_OR_NETWORK

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        total = torch.zeros_like(points)
        for loop in self.loops:
            total = total + loop.displacement(points)
        return total

    def occupancy(self, points: Tensor, width: float = 0.0) -> Tensor | None:
        """See ``DislocationLoop``."""
        present = None
        for loop in self.loops:
            fraction = loop.occupancy(points, width)
            if fraction is not None:
                present = fraction if present is None else present * fraction
        return present

    def lines(self, shape: Shape) -> tuple[DislocationLine, ...]:
        """Each line between nodes once, with its total b, within ``shape``; see ``Defect``."""
        places, edges = _merged_edges(self.loops)
        found = [
            DislocationLine(part, vector)
            for chain, vector in _chains(edges)
            for part in parts_within(shape, places[chain])
        ]
        if not found:
            raise ValueError("a dislocation must cross the crystal, the network misses it")
        return tuple(found)


def junction_on(
    lattice: Lattice,
    systems: tuple[SlipSystem, SlipSystem],
    *,
    centre: Array,
    length: float,
    reach: float,
    orientation: Array,
) -> DislocationNetwork:
    """Two lines on two slip planes that have reacted to b₁ + b₂ over ``length`` Å of the planes' common line.

    In fcc a Lomer lock where b₁ + b₂ is a ½⟨110⟩ outside of both planes (Hirth & Lothe 1982, ch. 22).
    Each line comes from outside along its plane at 45° to the junction and leaves likewise;
    ``centre`` (3,) Å is the junction's middle, laboratory frame, moved to the gaps between layers of
    both planes. The arms close ``reach`` Å away, which should lie outside of the crystal.

    Raises
    ------
    ValueError
        If the planes are parallel, the reaction gains no energy (|b₁ + b₂|² < |b₁|² + |b₂|², Frank's
        rule) or a length is not positive.
    """
    for name, value in (("length", length), ("reach", reach)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive in Å, got {value}")
    normals = [_unit(orientation @ lattice.plane_normal(system.normal)) for system in systems]
    vectors = [orientation @ lattice.direction(system.burgers) for system in systems]
    along = np.cross(normals[0], normals[1])
    if np.linalg.norm(along) < 1e-6:
        raise ValueError(f"systems must have two slip planes that cross, got {systems[0].normal} twice")
    if np.sum(np.sum(vectors, 0) ** 2) > (1 - 1e-6) * np.sum(np.square(vectors)):
        raise ValueError(f"burgers must react: |b1 + b2|² must be less than |b1|² + |b2|², got {systems}")
    along, middle = _unit(along), np.asarray(centre, np.float64)
    levels = [layer_gap(lattice, system.normal, orientation.T @ middle, narrowest=False)[1] for system in systems]
    middle = middle + np.linalg.lstsq(np.array(normals), levels - normals @ middle, rcond=None)[0]
    half, far = length / 2 * along, reach * along
    loops = []
    # The arms of the two lines open to opposite sides, as those of lines that cross do.
    for normal, vector, side in zip(normals, vectors, (1, -1), strict=True):
        aside = side * reach * np.cross(normal, along)
        corners = middle + np.stack([-half, half, half + far + aside, -half - far + aside])
        loops.append(DislocationLoop(as_parameter(corners), as_parameter(vector), lattice.poisson_ratio,
                                     upper=as_parameter(normal)))  # fmt: skip
    return DislocationNetwork(tuple(loops))


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def _checked_pairs(places: Tensor, segments: Sequence[tuple[int, int]], vectors: Tensor) -> NDArray[np.int64]:
    pairs = np.asarray(segments, np.int64)
    if places.ndim != 2 or places.shape[1] != 3:
        raise ValueError(f"nodes must have shape (n, 3), got {tuple(places.shape)}")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.min() < 0 or pairs.max() >= len(places):
        raise ValueError(f"segments must be pairs of indices below {len(places)}, got {pairs.tolist()}")
    if vectors.shape != (len(pairs), 3):
        raise ValueError(f"burgers must have shape ({len(pairs)}, 3), got {tuple(vectors.shape)}")
    distinct = {frozenset(pair) for pair in pairs.tolist() if pair[0] != pair[1]}
    if len(distinct) < len(pairs):
        raise ValueError("segments must each join two nodes that no other joins")
    return pairs


def _check_conservation(count: int, pairs: NDArray[np.int64], burgers: Array) -> None:
    """Σ b that leaves each node must be 0."""
    leaving = np.zeros((count, 3))
    np.add.at(leaving, pairs[:, 0], burgers)
    np.add.at(leaving, pairs[:, 1], -burgers)
    worst = int(np.abs(leaving).max(1).argmax())
    if np.abs(leaving[worst]).max() > 1e-6 * np.abs(burgers).max():
        raise ValueError(
            f"burgers must add up to 0 at every node, at node {worst} they leave {leaving[worst].tolist()}"
        )


def _fundamental_cycles(pairs: NDArray[np.int64]) -> list[tuple[int, list[int]]]:
    """Index of each segment outside of a spanning forest, and the nodes of the cycle that it closes, from its start."""
    parent: dict[int, int] = {}
    tree = set()
    while len(parent) < len(np.unique(pairs)):
        root = next(int(node) for node in pairs.ravel() if node not in parent)
        parent[root] = root
        front = [root]
        while front:
            node = front.pop()
            for index, pair in enumerate(pairs.tolist()):
                other = pair[1] if pair[0] == node else pair[0]
                if node in pair and other not in parent:
                    parent[other] = node
                    tree.add(index)
                    front.append(other)
    cycles = []
    for index in sorted(set(range(len(pairs))) - tree):
        start, end = (_to_root(int(node), parent) for node in pairs[index])
        while len(start) > 1 and len(end) > 1 and start[-2] == end[-2]:
            start.pop(), end.pop()
        cycles.append((index, [start[0], *end[:-1], *start[:0:-1]]))
    return cycles


def _to_root(node: int, parent: dict[int, int]) -> list[int]:
    path = [node]
    while parent[path[-1]] != path[-1]:
        path.append(parent[path[-1]])
    return path


def _merged_edges(loops: Sequence[DislocationLoop]) -> tuple[Array, Edges]:
    """Nodes ``(n, 3)`` in Å, and the total b of every side between two of them (first index the lower)."""
    places = np.concatenate([as_array(loop.corners) for loop in loops])
    near = np.linalg.norm(places[:, None] - places, axis=-1) < SAME_PLACE
    names = near.argmax(1)
    edges: Edges = {}
    first = 0
    for loop in loops:
        ring = names[first : first + len(loop.corners)]
        first += len(ring)
        for start, end in zip(ring, np.roll(ring, -1), strict=True):
            path = _split(int(start), int(end), places, names)
            for low, high in pairwise(path):
                key, sign = ((low, high), 1) if low < high else ((high, low), -1)
                edges[key] = edges.get(key, np.zeros(3)) + sign * as_array(loop.burgers)
    return places, {key: vector for key, vector in edges.items() if np.abs(vector).max() > SAME_PLACE}


def _split(start: int, end: int, places: Array, names: NDArray[np.int64]) -> list[int]:
    """The nodes on the side from ``start`` to ``end``, both included, in order."""
    side = places[end] - places[start]
    part = (places - places[start]) @ side / (side @ side)
    off = np.linalg.norm(places - places[start] - part[:, None] * side, axis=1)
    between = np.flatnonzero((off < SAME_PLACE) & (part > 0) & (part < 1))
    inner = dict.fromkeys(int(names[i]) for i in between[np.argsort(part[between])])
    return [start, *(name for name in inner if name not in (start, end)), end]


def _chains(edges: Edges) -> list[tuple[list[int], Array]]:
    """Runs of sides through nodes where only two meet, each with its b in the sense of the run."""
    around: dict[int, list[int]] = {}
    for low, high in edges:
        around.setdefault(low, []).append(high)
        around.setdefault(high, []).append(low)
    unused = set(edges)
    chains = []
    # Runs between junctions first; what is left then are closed loops.
    for start in sorted(around, key=lambda node: len(around[node]) == 2):
        for following in around[start]:
            if (min(start, following), max(start, following)) in unused:
                chains.append(_run(start, following, around, edges, unused))
    return chains


def _run(
    start: int, following: int, around: dict[int, list[int]], edges: Edges, unused: set[tuple[int, int]]
) -> tuple[list[int], Array]:
    key = (min(start, following), max(start, following))
    vector = edges[key] if start < following else -edges[key]
    chain = [start, following]
    unused.remove(key)
    while len(around[chain[-1]]) == 2 and chain[-1] != start:
        ahead = next(node for node in around[chain[-1]] if node != chain[-2])
        chain.append(ahead)
        unused.remove((min(chain[-2:]), max(chain[-2:])))
    return chain, vector
