"""Dislocation lines, and what winds about each, traced from a predicted density and winding.

Ridges of the density are followed (``models.ridge_tracking``), joined where one goes on in another, closed into
loops, and cut where lines meet in a node. All lengths are in voxels until the last step. Free of torch.
"""

from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from models.ridge_tracking import BESIDE, STEP, TUBE, Ridge, RidgeTracker

Array = NDArray[np.float64]

SHORTEST = 3.0
"""Voxels, tubes' ends included; shorter ridges are dropped."""
EXPLAINED = 1.5
"""Voxels within which a line explains the density."""
JUNCTION = 1.8
"""Voxels within which an end that meets another line makes a junction with it."""
BRIDGE, BEND, ASIDE = 4.0, 0.5, 2.5
"""Ends join over at most so many voxels; bends (1 − cosine) and sideways steps of this size are too much."""
LOOP, SIDES = 6.0, 3.6
"""Sides of a small loop are shorter than this, and so far apart at their ends at most."""
CONSERVED = 0.5
"""At a junction windings add up to 0, but for this share of the arm's."""
UNWOUND = 0.15
"""Winding of all reflections together up to which a ridge is no line, where J is known; a partial winds by ⅓."""
NEGLIGIBLE = 0.1
"""Winding below which a line's sense is not told by it."""


@dataclass(frozen=True, eq=False)
class TracedLine:
    """A line of a predicted density with what each reflection winds about it.

    Parameters
    ----------
    points_A : (n, 3)
        In Å from voxel ``N // 2``; a closed loop repeats its first point.
    windings : (R,)
        g·b of each reflection for the sense of the points: the first that is not negligible is positive.
    confidence : float
        Mean height of the density along the line, in [0, 1].
    """

    points_A: Array
    windings: Array
    confidence: float

    @property
    def length(self) -> float:
        """In Å."""
        return float(np.linalg.norm(np.diff(self.points_A, axis=0), axis=1).sum())


def traced_lines(
    density: NDArray[np.floating[Any]], winding: NDArray[np.floating[Any]] | None, voxel: Array, *, threshold: float
) -> tuple[TracedLine, ...]:
    """Lines, longest first, of a ``density`` ``(x, y, z)`` in [0, 1] whose origin is ``N // 2``.

    Parameters
    ----------
    density : (x, y, z)
        exp(−d²/2σ²) of the distance to the nearest line, σ = ``TUBE`` voxels.
    winding : (R, 3, x, y, z) or None
        Of each reflection J = (g·b) ξ · density with ξ in voxel-index space; None: not known, no windings.
    voxel : (3, 3)
        Row i is the vector of a voxel along axis i in Å.
    threshold : float
        Least height of a line.

    Raises
    ------
    ValueError
        If shapes disagree, or the threshold is not within (0, 1).
    """
    heights = np.asarray(density, np.float64)
    flux = np.empty((0, 3, *heights.shape)) if winding is None else np.asarray(winding, np.float64)
    if heights.ndim != 3:
        raise ValueError(f"density must have shape (x, y, z), got {heights.shape}")
    if flux.ndim != 5 or flux.shape[1:] != (3, *heights.shape):
        raise ValueError(f"winding must have shape (R, 3, {', '.join(map(str, heights.shape))}), got {flux.shape}")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), got {threshold}")
    ridges = _ridges(heights, flux, threshold)
    for step in (_joined, _closed, _split_at_junctions):
        ridges = step(ridges, heights, flux)
    windings = _windings(ridges, heights, flux)
    ridges = _trimmed(ridges)
    if np.abs(flux).max(initial=0.0) > UNWOUND:
        # A line of the network's density winds by construction: what does not, next to what does, is none.
        seen = np.linalg.norm(windings, axis=1) > UNWOUND
        ridges, windings = [ridge for ridge, winds in zip(ridges, seen, strict=True) if winds], windings[seen]
    centre = np.asarray(heights.shape) // 2
    lines = [_line(ridge, told, (ridge.points - centre) @ voxel) for ridge, told in zip(ridges, windings, strict=True)]
    return tuple(sorted(lines, key=lambda line: -line.length))


def _ridges(density: Array, flux: Array, threshold: float) -> list[Ridge]:
    """Ridges that each explain density of their own, the longest first."""
    tracker = RidgeTracker(density, flux, threshold)
    seeds, directions = tracker.seeds()
    free = np.ones(len(seeds), bool)
    candidates: list[Ridge] = []
    while free.any():
        i = int(free.argmax())
        free[i] = False
        ridge = tracker.follow(seeds[i], directions[i])
        if ridge is not None:
            free &= cdist(seeds, ridge.points).min(1) > EXPLAINED
            candidates.append(ridge)
    chosen: list[Ridge] = []
    for ridge in sorted(candidates, key=lambda ridge: -ridge.length):
        own = _own_part(ridge, chosen)
        if own is not None:
            chosen.append(own)
    return chosen


def _own_part(ridge: Ridge, known: list[Ridge]) -> Ridge | None:
    """``ridge`` without ends that run on known lines, if enough of it lies apart from all of them."""
    if not known:
        return ridge if ridge.length >= SHORTEST else None
    gaps = np.stack([cdist(ridge.points, other.points).min(1) for other in known]).min(0)
    apart = np.flatnonzero(gaps > EXPLAINED)
    if len(apart) * STEP < SHORTEST:
        return None
    away = np.flatnonzero(gaps > BESIDE)
    return ridge if ridge.closed else ridge.between(away[0], away[-1])


def _joined(ridges: list[Ridge], density: Array, flux: Array) -> list[Ridge]:
    """Ridges with those made one that go on in each other over a gap or a crossing, nearest ends first."""
    windings = _windings(ridges, density, flux)
    best, cost = None, 1.0
    for i, first in enumerate(ridges):
        for j in range(i + 1, len(ridges)):
            for start, end in product((False, True), repeat=2):
                head, tail = (first.reversed() if start else first), (ridges[j] if end else ridges[j].reversed())
                along = windings[i] * (-1 if start else 1), windings[j] * (1 if end else -1)
                price = _break(head, tail) + _unlike(*along)
                if price < cost and not (first.closed or ridges[j].closed):
                    best, cost = (i, j, head.followed_by(tail)), price
    if best is None:
        return ridges
    rest = [ridge for k, ridge in enumerate(ridges) if k not in best[:2]]
    return _joined([best[2], *rest], density, flux)


def _closed(ridges: list[Ridge], density: Array, flux: Array) -> list[Ridge]:
    """Two short ridges back to back that wind alike are the sides of a loop too small to be followed round."""
    windings = _windings(ridges, density, flux)
    for i, j in combinations(range(len(ridges)), 2) if len(flux) else ():
        turn = 1 if ridges[i].direction_at_end() @ ridges[j].direction_at_end() < 0 else -1
        first, second = _cut(ridges[i]), _cut(ridges[j] if turn > 0 else ridges[j].reversed())
        gaps = np.linalg.norm([second.points[0] - first.points[-1], first.points[0] - second.points[-1]], axis=1)
        short = max(first.length, second.length) < LOOP and not (first.closed or second.closed)
        if short and gaps.max() < SIDES and _unlike(windings[i], turn * windings[j]) < CONSERVED:
            both = first.followed_by(second)
            ring = Ridge(np.append(both.points, both.points[:1], 0), np.append(both.heights, both.heights[:1]), True)
            return _closed([ring, *(ridge for k, ridge in enumerate(ridges) if k not in (i, j))], density, flux)
    return ridges


def _break(head: Ridge, tail: Ridge) -> float:
    """How far ``tail`` is from going on where ``head`` ends: from 1 up not at all."""
    gap = tail.points[0] - head.points[-1]
    if np.linalg.norm(gap) > BRIDGE:
        return np.inf
    before, after = head.direction_at_end(), -tail.reversed().direction_at_end()
    aside = gap - (gap @ before) * before
    return float((1 - before @ after) / BEND + np.linalg.norm(aside) / ASIDE) / 2


def _unlike(first: Array, second: Array) -> float:
    """Difference of two windings ``(R,)`` over what may be, 0 where there are none."""
    size = max(np.linalg.norm(first), np.linalg.norm(second)) if len(first) else 0.0
    return float(np.linalg.norm(first - second) / size) if size > NEGLIGIBLE else 0.0


def _split_at_junctions(ridges: list[Ridge], density: Array, flux: Array) -> list[Ridge]:
    """Each arm on its own: an end that meets the inside of another line, and takes winding from it, cuts it in two."""
    for ridge, other in permutations(ridges, 2):
        if ridge.closed or other.closed:
            continue
        for end in ridge.points[[0, -1]]:
            gaps = np.linalg.norm(other.points - end, axis=1)
            at = int(gaps.argmin())
            arms = [other.between(0, at), other.between(at, len(gaps) - 1)]
            if gaps[at] >= JUNCTION or min(arm.length for arm in arms) < SHORTEST:
                continue
            cut = [*(member for member in ridges if member is not other), *arms]
            *_, before, after = told = _windings(cut, density, flux)
            arm = told[next(k for k, member in enumerate(cut) if member is ridge)]
            if not len(flux) or min(_unlike(before - after, arm), _unlike(after - before, arm)) < CONSERVED:
                return _split_at_junctions(cut, density, flux)
    return ridges


def _trimmed(ridges: list[Ridge]) -> list[Ridge]:
    """Free ends are taken back; those that meet another line are not."""
    found = []
    for ridge in ridges:
        others = [other.points for other in ridges if other is not ridge]
        near = cdist(ridge.points[[0, -1]], np.concatenate([np.full((1, 3), np.inf), *others])).min(1) < JUNCTION
        found.append(_cut(ridge, start=not near[0], end=not near[1]))
    return found


def _cut(ridge: Ridge, *, start: bool = True, end: bool = True) -> Ridge:
    """A tube goes on beyond its line's end by about its own width: the ridge without that."""
    taken = round(TUBE / STEP)
    return ridge if ridge.closed else ridge.between(taken * start, len(ridge.points) - 1 - taken * end)


def _windings(ridges: list[Ridge], density: Array, flux: Array) -> Array:
    """Windings ``(lines, R)`` that explain J best, all lines together: where they overlap their J add up."""
    if not ridges or not len(flux):
        return np.zeros((len(ridges), len(flux)))
    index = np.argwhere(density > 0.1)
    distances = [cdist(index, ridge.points) for ridge in ridges]
    tubes = np.stack([np.exp(-(gaps.min(1) ** 2) / (2 * TUBE**2)) for gaps in distances])
    share = tubes / np.maximum(tubes.max(0), 0.1) * density[tuple(index.T)]
    tangents = np.stack([ridge.tangents[gaps.argmin(1)] for ridge, gaps in zip(ridges, distances, strict=True)])
    model = (share[..., None] * tangents).reshape(len(ridges), -1)
    measured = np.moveaxis(flux[:, :, *index.T], 1, 2).reshape(len(flux), -1)
    normal = model @ model.T
    return np.linalg.solve(normal + 1e-6 * np.trace(normal) * np.eye(len(normal)), model @ measured.T)


def _line(ridge: Ridge, windings: Array, points: Array) -> TracedLine:
    return sensed(TracedLine(points, windings, float(np.clip(ridge.heights, 0, 1).mean())))


def sensed(line: TracedLine) -> TracedLine:
    """``line`` run through so that the first winding that is not negligible is positive."""
    told = line.windings[np.abs(line.windings) > NEGLIGIBLE]
    if len(told) and told[0] < 0:
        return TracedLine(line.points_A[::-1], 0.0 - line.windings, line.confidence)
    return line
