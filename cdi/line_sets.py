"""Equality of sets of dislocation lines up to what intensity hides. Free of torch.

Two sets are the same crystal's if one goes over into the other by relabelling (b, ξ) → (−b, −ξ) of any
line, a translation of all, and the twin of all. Where the reflections are given, Burgers vectors that
wind alike in them count as equal and lines that wind in none are left out: nobody can be asked for them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from cdi.defects.line import DislocationLine
from cdi.identifiability import SEEN, twin

Array = NDArray[np.float64]


def same_lines(
    first: Sequence[DislocationLine],
    second: Sequence[DislocationLine],
    *,
    tolerance_A: float = 1e-3,
    translation: ArrayLike = (0.0, 0.0, 0.0),
    up_to_twin: bool = True,
    reflection_vectors: ArrayLike | None = None,
) -> bool:
    """Whether ``second``, moved by ``translation`` (3,) in Å, is ``first`` up to the joint group.

    Lines agree where their curves lie within ``tolerance_A`` of each other, whatever their corners, and
    their Burgers vectors too. ``reflection_vectors`` G (n, 3) in Å⁻¹ of the laboratory compare what these
    see instead: windings G·b/2π. With the twin, ``second`` is inverted first and moved then.

    Raises
    ------
    ValueError
        If ``tolerance_A`` is not positive.
    """
    if not tolerance_A > 0:
        raise ValueError(f"tolerance_A must be positive, got {tolerance_A}")
    seen = np.eye(3) if reflection_vectors is None else np.asarray(reflection_vectors, np.float64) / (2 * np.pi)
    allowed = tolerance_A if reflection_vectors is None else SEEN
    wanted = _seen(first, seen)
    choices = (second, twin(second)) if up_to_twin else (second,)
    return any(_match(wanted, _moved(_seen(lines, seen), translation), seen, tolerance_A, allowed) for lines in choices)


def curve_distance(first: DislocationLine, second: DislocationLine) -> float:
    """Greatest distance in Å from a corner of either line to the other line."""
    return float(max(_nearest(first.points, second)[0].max(), _nearest(second.points, first)[0].max()))


def relative_sense(first: DislocationLine, second: DislocationLine) -> int:
    """+1 where ``second`` runs along ``first``, −1 where against it, by the segments that lie closest."""
    middles = (first.points[1:] + first.points[:-1]) / 2
    _, nearest = _nearest(middles, second)
    along, steps = np.diff(first.points, axis=0), np.diff(second.points, axis=0)[nearest]
    agreement = (along * steps).sum(1) / np.maximum(np.linalg.norm(steps, axis=1), 1e-12)
    return 1 if agreement.sum() >= 0 else -1


def _seen(lines: Sequence[DislocationLine], seen: Array) -> list[DislocationLine]:
    return [line for line in lines if np.abs(seen @ line.burgers).max() > SEEN]


def _moved(lines: Sequence[DislocationLine], by: ArrayLike) -> list[DislocationLine]:
    return [DislocationLine(line.points + np.asarray(by, np.float64), line.burgers) for line in lines]


def _match(
    first: list[DislocationLine], second: list[DislocationLine], seen: Array, tolerance_A: float, allowed: float
) -> bool:
    if len(first) != len(second):
        return False
    differs = np.array([[not _same(a, b, seen, tolerance_A, allowed) for b in second] for a in first], float)
    return not first or bool(differs[linear_sum_assignment(differs)].sum() == 0)


def _same(a: DislocationLine, b: DislocationLine, seen: Array, tolerance_A: float, allowed: float) -> bool:
    if curve_distance(a, b) > tolerance_A:
        return False
    gap = seen @ (a.burgers - relative_sense(a, b) * b.burgers)
    return bool(np.abs(gap).max() <= allowed)


def _nearest(points: Array, line: DislocationLine) -> tuple[Array, NDArray[np.int64]]:
    """Distance ``(n,)`` in Å of ``points`` (n, 3) to ``line``, and the segment that is closest ``(n,)``."""
    start, step = line.points[:-1], np.diff(line.points, axis=0)
    away = points[:, None] - start
    share = (away * step).sum(-1) / np.maximum((step**2).sum(-1), 1e-24)
    distance = np.linalg.norm(away - np.clip(share, 0, 1)[..., None] * step, axis=-1)
    return distance.min(1), distance.argmin(1)
