"""Lines found against lines that are there, matched one to one. Free of torch.

Distances are in voxels, index space being that of the grid, and in nm. The distance of two lines is the symmetric mean
of ``polylines.separation``; lines are matched with the least total distance (Kuhn, Nav. Res. Logist. Q. 2, 83, 1955).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from training.metrics.polylines import same_sense, separation, separations
from training.metrics.volumes import KnownLine, Line

Array = NDArray[np.float64]

TOLERANCES = (1.0, 2.0, 4.0)
"""Voxels within which a line counts as found."""
HEADLINE = 2.0
"""The tolerance of goals, of a line's confidence, and of a hidden line that is found all the same."""
MATCHED = TOLERANCES[-1]
"""Voxels within which a pair is one line, so that Burgers vector and windings can be compared."""
SAME_BURGERS = 1e-3
"""Fractions of an edge within which two Burgers vectors are one."""
SAME_WINDING = 1 / 6
"""Turns within which a winding is right: halfway between the thirds of partials."""

A_PER_NM = 10.0


def _none() -> Array:
    return np.empty(0)


@dataclass(frozen=True, eq=False)
class LineScore:
    """Matches of one crystal; arrays run over the m matched pairs, however far apart, unless told otherwise.

    Parameters
    ----------
    distances : (m,)
        Symmetric mean distance in voxels.
    predicted, true : int
        How many lines there were to match.
    hausdorff : (m,)
        In voxels.
    distances_nm, hausdorff_nm : (m,)
    burgers : (m,)
        1 where the Burgers vector is right, 0 where it is wrong or not told; NaN where the pair is too far apart to be
        one line, or the reflections do not determine it.
    windings : (m,)
        Share of the reflections in which the modulus of g·b is right; NaN where the pair is too far apart.
    determined : int
        True lines that the reflections see and leave one Burgers vector.
    confidences : (predicted,)
        Of every predicted line.
    found : (predicted,) bool
        Whether its true line lies within 2 voxels.
    """

    distances: Array
    predicted: int
    true: int
    hausdorff: Array = field(default_factory=_none)
    distances_nm: Array = field(default_factory=_none)
    hausdorff_nm: Array = field(default_factory=_none)
    burgers: Array = field(default_factory=_none)
    windings: Array = field(default_factory=_none)
    determined: int = 0
    confidences: Array = field(default_factory=_none)
    found: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))

    def hits(self, tolerance: float) -> int:
        """Matched lines within ``tolerance`` voxels."""
        return int((self.distances <= tolerance).sum())


def line_score(predicted: Sequence[Line], true: Sequence[KnownLine], voxel: Array) -> LineScore:
    """Score of lines in the truth's frame (``Alignment.line``); ``voxel`` (3, 3) in Å.

    A true line that winds in no reflection is not asked for. Whoever finds it all the same, through its strain, is
    neither rewarded nor blamed.
    """
    seen = [line for line in true if line.visible]
    asked = _without_hidden(predicted, seen, [line for line in true if not line.visible], voxel)
    table = _table(asked, seen, voxel)
    rows, columns = linear_sum_assignment(table[0])
    pairs = [(asked[p], seen[t]) for p, t in zip(rows, columns, strict=True)]
    distances, hausdorff = table[:, rows, columns]
    in_nm = np.array([separation(p.points / A_PER_NM, t.points / A_PER_NM) for p, t in pairs]).reshape(-1, 2)
    near = distances <= MATCHED
    found = np.zeros(len(asked), bool)
    found[rows] = distances <= HEADLINE
    return LineScore(
        distances, len(asked), len(seen), hausdorff, in_nm[:, 0], in_nm[:, 1],
        burgers=np.array([_burgers(*pair) if close else np.nan for pair, close in zip(pairs, near, strict=True)]),
        windings=np.array([_windings(*pair) if close else np.nan for pair, close in zip(pairs, near, strict=True)]),
        determined=sum(line.determined for line in seen),
        confidences=np.array([line.confidence for line in asked]),
        found=found,
    )  # fmt: skip


def line_distances(predicted: Sequence[Array], true: Sequence[Array]) -> Array:
    """Symmetric mean distance ``(len(predicted), len(true))`` between polylines ``(n, 3)``."""
    return np.asarray(separations(predicted, true)[0])


def match_lines(predicted: Sequence[Array], true: Sequence[Array], *, twinned: bool) -> LineScore:
    """One-to-one matching of polylines in voxels, total distance least; the true ones inverted if ``twinned``."""
    table = separations(predicted, [-line if twinned else line for line in true])
    rows, columns = linear_sum_assignment(table[0])
    distances, hausdorff = table[:, rows, columns]
    return LineScore(distances, len(predicted), len(true), hausdorff)


def f1(scores: Sequence[LineScore], tolerance: float) -> float:
    """F1 of line detection over crystals at ``tolerance`` voxels."""
    hits = sum(score.hits(tolerance) for score in scores)
    lines = sum(score.predicted + score.true for score in scores)
    return 2 * hits / lines if lines else float("nan")


def _table(predicted: Sequence[Line], true: Sequence[Line], voxel: Array) -> Array:
    to_voxels = np.linalg.inv(voxel)
    return separations([line.points @ to_voxels for line in predicted], [line.points @ to_voxels for line in true])


def _without_hidden(
    predicted: Sequence[Line], seen: Sequence[Line], hidden: Sequence[Line], voxel: Array
) -> list[Line]:
    """Predicted lines but those that lie on a hidden line and on no visible one."""
    distances = _table(predicted, seen, voxel)[0]
    rows, columns = linear_sum_assignment(distances)
    taken = set(rows[distances[rows, columns] <= MATCHED])
    free = [i for i in range(len(predicted)) if i not in taken]
    distances = _table([predicted[i] for i in free], hidden, voxel)[0]
    rows, columns = linear_sum_assignment(distances)
    left_out = {free[row] for row in rows[distances[rows, columns] <= HEADLINE]}
    return [line for i, line in enumerate(predicted) if i not in left_out]


def _burgers(predicted: Line, true: KnownLine) -> float:
    if not true.determined or true.burgers is None:
        return float("nan")
    if predicted.burgers is None:
        return 0.0
    sense = 1 if same_sense(true.points, predicted.points) else -1
    return float(np.abs(true.burgers - sense * predicted.burgers).max() < SAME_BURGERS)


def _windings(predicted: Line, true: KnownLine) -> float:
    return float(np.mean(np.abs(np.abs(predicted.windings) - np.abs(true.windings)) < SAME_WINDING))
