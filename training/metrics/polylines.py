"""How far apart two polylines are, and whether they run the same way. Free of torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SPACING, _FEWEST = 0.5, 17


def separation(first: Array, second: Array) -> tuple[float, float]:
    """Symmetric mean distance of two polylines ``(n, 3)``, and their Hausdorff distance.

    The mean over both directions of the distance from points along one line to the other; the largest of all these.
    """
    ways = [nearest(along(a), b)[0] for a, b in ((first, second), (second, first))]
    # By trapezoids: the mean over the length, in which an end counts half.
    return float(np.mean([(way[1:] + way[:-1]).mean() / 2 for way in ways])), float(max(way.max() for way in ways))


def separations(first: Sequence[Array], second: Sequence[Array]) -> Array:
    """``separation`` of all pairs ``(2, len(first), len(second))``."""
    table = [[separation(a, b) for b in second] for a in first]
    return np.asarray(table, np.float64).reshape(len(first), len(second), 2).transpose(2, 0, 1)


def same_sense(first: Array, second: Array) -> bool:
    """Whether ``second`` runs along ``first`` rather than against it, by the segments that lie closest."""
    dense = along(first)
    steps = np.diff(dense, axis=0)
    _, segment = nearest(dense[:-1] + steps / 2, second)
    directions = np.diff(second, axis=0)[segment]
    cosines = (steps * directions).sum(1) / np.maximum(np.linalg.norm(directions, axis=1), 1e-12)
    return bool(cosines.sum() >= 0)


def nearest(points: Array, line: Array) -> tuple[Array, NDArray[np.int64]]:
    """Distance ``(m,)`` of ``points`` (m, 3) to a polyline ``(n, 3)``, and its closest segment ``(m,)``."""
    step = np.diff(line, axis=0)
    away = points[:, None] - line[:-1]
    share = np.clip((away * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-24), 0, 1)
    distance = np.linalg.norm(away - share[..., None] * step, axis=-1)
    return distance.min(1), distance.argmin(1)


def along(line: Array) -> Array:
    """Points ``(k, 3)`` at equal arc length, at most half a unit apart and no fewer than 17."""
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    count = max(_FEWEST, int(np.ceil(arc[-1] / _SPACING)) + 1)
    return np.stack([np.interp(np.linspace(0, arc[-1], count), arc, line[:, i]) for i in range(3)], -1)
