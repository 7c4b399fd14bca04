"""From the segments that DXA finds to the dislocation lines of a crystal's truth. Free of torch.

DXA cuts lines at nodes and tells every partial from its partner. Here segments that go on in one another become
one line; a perfect piece in the outer shell, where an anchored crystal cannot split it, becomes the ends of
the two partials that it splits into; and two partials closer than an experiment resolves become the perfect
line that they are from afar. Burgers vectors are conserved in each step (Frank's rule at nodes).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cdi.defects.classes import LOOP_OR_NETWORK, PARTIAL_OR_FAULT, character
from cdi.defects.line import DislocationLine
from cdi.lattices.lattice import Lattice
from data.molecular_dynamics.dxa import ExtractedLine, burgers_fractions

Array = NDArray[np.float64]

NODE_A = 1.0
"""Ends of lines within this distance in Å meet."""
SHORTEST_A = 10.0
"""A line shorter than this in Å, or a ring of three times that, is a kink of the surface or of the analysis."""
SNAP, SNAPPED = 6, 2e-3
"""Burgers vectors of cubic crystals, perfect or partial, are multiples of 1/6 of the edges; DXA rounds them."""
PAIR_POINTS = 24
"""Corners of the middle line of a pair."""


@dataclass(frozen=True)
class Resolution:
    """Which lines are told apart and which are kept.

    ``depth`` gives the depth (n,) in Å of points (n, 3) below the surface; lines that nowhere lie deeper
    than ``shell_A`` are dropped, and partials closer than ``pair_A`` over half their length are one line.
    """

    depth: Callable[[Array], Array]
    shell_A: float
    pair_A: float = 0.0

    def in_shell(self, line: DislocationLine) -> bool:
        """Whether the whole line lies in the outer shell."""
        return bool(self.depth(line.points).max() < self.shell_A)


@dataclass(frozen=True)
class LineFrame:
    """The lattice of Burgers vectors; ``orientation`` (3, 3) turns its axes to the laboratory."""

    lattice: Lattice
    orientation: Array = field(default_factory=lambda: np.eye(3))

    def fractions(self, line: DislocationLine) -> Array:
        """Burgers vector ``(3,)`` in fractions of the cell's edges."""
        return self.lattice.fractions(self.orientation.T @ line.burgers)

    def is_perfect(self, line: DislocationLine) -> bool:
        """Whether the Burgers vector is one of the lattice's translations."""
        return self.lattice.is_lattice_vector(self.fractions(line))

    def of_extracted(self, found: ExtractedLine) -> DislocationLine:
        """The line with the Burgers vector of the unstrained crystal, laboratory frame."""
        burgers = burgers_fractions(found, self.lattice, self.orientation)
        exact = np.round(burgers * SNAP) / SNAP
        chosen = exact if exact.any() and np.abs(exact - burgers).max() < SNAPPED else burgers
        return DislocationLine(found.line.points, self.orientation @ self.lattice.direction(chosen))


def resolved_lines(
    found: Sequence[ExtractedLine], frame: LineFrame, resolution: Resolution
) -> tuple[DislocationLine, ...]:
    """The dislocation lines of a crystal, laboratory frame, from the segments that DXA found in it."""
    lines = [frame.of_extracted(entry) for entry in found]
    lines = _ended_by_stubs(_chained(lines), resolution)
    lines = [line for line in lines if not resolution.in_shell(line) and not _is_kink(line)]
    if resolution.pair_A > 0:
        lines = _chained(_paired(lines, frame, resolution.pair_A))
    return tuple(lines)


def class_of_lines(lines: Sequence[DislocationLine], frame: LineFrame) -> str:
    """The class of a crystal that holds ``lines``: an entry of ``cdi.defects.classes.CLASSES``.

    A partial decides before a closed line or a node of three, and these before the characters of lines
    that run from surface to surface.
    """
    if not all(frame.is_perfect(line) for line in lines):
        return PARTIAL_OR_FAULT
    if any(line.is_closed for line in lines) or (lines and np.bincount(_nodes(lines).ravel()).max() > 2):
        return LOOP_OR_NETWORK
    characters = {character(line.character_deg) for line in lines}
    if len(characters) > 1:
        return "mixed"
    return characters.pop() if characters else "none"


def reversed_line(line: DislocationLine) -> DislocationLine:
    """The same dislocation described in the other sense: (−b, −ξ)."""
    return DislocationLine(line.points[::-1], -line.burgers)


def _is_kink(line: DislocationLine) -> bool:
    is_ring = bool(np.linalg.norm(line.points[-1] - line.points[0]) < NODE_A)
    return line.length < SHORTEST_A * (3 if is_ring else 1)


def _nodes(lines: Sequence[DislocationLine]) -> NDArray[np.int64]:
    """Number ``(n, 2)`` of the node at which each line starts and ends."""
    ends = np.concatenate([line.points[[0, -1]] for line in lines])
    pairs = cKDTree(ends).query_pairs(NODE_A, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(ends), len(ends)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64).reshape(-1, 2)


def _chained(lines: list[DislocationLine]) -> list[DislocationLine]:
    """Lines that meet end to end, alone and with one Burgers vector, as one."""
    while lines:
        nodes = _nodes(lines)
        found = None
        for node in np.unique(nodes):
            at = [(i, end) for i, end in np.argwhere(nodes == node).tolist()]
            if len(at) == 2 and at[0][0] != at[1][0]:
                into, out = (
                    _leading_to(lines[at[0][0]], at[0][1]),
                    reversed_line(_leading_to(lines[at[1][0]], at[1][1])),
                )
                if np.allclose(into.burgers, out.burgers, atol=1e-3):
                    found = ({at[0][0], at[1][0]}, _joined(into, out))
                    break
        if found is None:
            return lines
        lines = [line for i, line in enumerate(lines) if i not in found[0]] + [found[1]]
    return lines


def _ended_by_stubs(lines: list[DislocationLine], resolution: Resolution) -> list[DislocationLine]:
    """Without the perfect pieces in the shell: both partials of each end along it, one on top of the other."""
    while lines:
        nodes = _nodes(lines)
        valence = np.bincount(nodes.ravel())
        found = None
        for i, line in enumerate(lines):
            inner = [end for end in (0, 1) if valence[nodes[i, end]] == 3 and valence[nodes[i, 1 - end]] == 1]
            if inner and resolution.in_shell(line):
                arms = [(j, end) for j, end in np.argwhere(nodes == nodes[i, inner[0]]).tolist() if j != i]
                if len({j for j, _ in arms}) == 2 and not any(resolution.in_shell(lines[j]) for j, _ in arms):
                    found = i, _leading_to(line, inner[0]).points[::-1], arms
                    break
        if found is None:
            return lines
        stub, outward, arms = found
        lines = list(lines)
        for j, end in arms:
            lines[j] = _extended(lines[j], end, outward)
        del lines[stub]
    return lines


def _paired(lines: list[DislocationLine], frame: LineFrame, width: float) -> list[DislocationLine]:
    """Partials within ``width`` Å of a partner whose sum is perfect, as one line; the closest first."""
    partials = [i for i, line in enumerate(lines) if not frame.is_perfect(line)]
    pairs = []
    for position, i in enumerate(partials):
        for j in partials[position + 1 :]:
            other = _along(lines[j], lines[i])
            total = lines[i].burgers + other.burgers
            if np.abs(total).max() > 1e-3 and frame.is_perfect(DislocationLine(other.points, total)):
                pairs.append((_distance(lines[i].points, other.points), i, j, other))
    free = set(partials)
    merged = []
    for distance, i, j, other in sorted(pairs, key=lambda pair: pair[0]):
        if distance < width and {i, j} <= free:
            free -= {i, j}
            middle = (_resampled(lines[i].points) + _resampled(other.points)) / 2
            merged.append(DislocationLine(middle, lines[i].burgers + other.burgers))
    gone = set(partials) - free
    return [line for i, line in enumerate(lines) if i not in gone] + merged


def _leading_to(line: DislocationLine, end: int) -> DislocationLine:
    """``line`` in the sense in which ``end`` (0: first point, 1: last) comes last."""
    return line if end == 1 else reversed_line(line)


def _joined(first: DislocationLine, second: DislocationLine) -> DislocationLine:
    return DislocationLine(np.concatenate([first.points, second.points[1:]]), first.burgers)


def _extended(line: DislocationLine, end: int, outward: Array) -> DislocationLine:
    """``line`` that goes on beyond its ``end`` along ``outward`` (n, 3), which starts there; its sense stays."""
    parts = [line.points, outward[1:]] if end == 1 else [outward[:0:-1], line.points]
    return DislocationLine(np.concatenate(parts), line.burgers)


def _along(line: DislocationLine, guide: DislocationLine) -> DislocationLine:
    """``line`` in the sense of ``guide``."""
    same = (line.points[-1] - line.points[0]) @ (guide.points[-1] - guide.points[0])
    return line if same >= 0 else reversed_line(line)


def _distance(first: Array, second: Array) -> float:
    """Distance in Å to the other line that half of a line exceeds, the larger of the two ways."""
    a, b = _resampled(first), _resampled(second)
    return float(max(np.median(cKDTree(b).query(a)[0]), np.median(cKDTree(a).query(b)[0])))


def _resampled(points: Array) -> Array:
    """``PAIR_POINTS`` points at equal steps of the length."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0, length[-1], PAIR_POINTS)
    return np.stack([np.interp(at, length, points[:, axis]) for axis in range(3)], 1)
