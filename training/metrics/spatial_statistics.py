"""Statistics of what is said in space: lines, support, phase, strain, lattice sites. Free of torch."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.metrics.crystal_score import CrystalScore
from training.metrics.intervals import Median, Ratio, Statistic, mean
from training.metrics.line_scores import TOLERANCES, LineScore
from training.metrics.object_scores import ObjectScore
from training.metrics.site_scores import SiteCounts, SiteScore

Array = NDArray[np.float64]
Scores = Sequence[CrystalScore]
Builder = Callable[[Scores], Statistic]


def _of_lines(top: Callable[[LineScore], float], bottom: Callable[[LineScore], float]) -> Builder:
    """Σ top / Σ bottom over the crystals whose lines were told."""

    def statistic(scores: Scores) -> Statistic:
        sums = [(0.0, 0.0) if s.lines is None else (top(s.lines), bottom(s.lines)) for s in scores]
        numerator, denominator = np.array(sums, np.float64).T
        return Ratio(numerator, denominator, np.array([s.lines is not None for s in scores]))

    return statistic


def _detection(tolerance: float) -> dict[str, Builder]:
    at = f"at {tolerance:g} voxels"
    return {
        f"line F1 {at}": _of_lines(lambda line: 2 * line.hits(tolerance), lambda line: line.predicted + line.true),
        f"line precision {at}": _of_lines(lambda line: line.hits(tolerance), lambda line: line.predicted),
        f"line recall {at}": _of_lines(lambda line: line.hits(tolerance), lambda line: line.true),
    }


def _median(of: Callable[[LineScore], Array]) -> Builder:
    """Over matched pairs, however far apart."""

    def statistic(scores: Scores) -> Statistic:
        values = [np.empty(0) if s.lines is None else of(s.lines) for s in scores]
        owner = np.repeat(np.arange(len(values)), [len(each) for each in values])
        return Median(np.concatenate(values), owner, np.array([s.lines is not None for s in scores]))

    return statistic


def _share(of: Callable[[LineScore], Array]) -> Builder:
    """Mean over the matched pairs that can be asked."""
    return _of_lines(lambda line: np.nansum(of(line)), lambda line: float((~np.isnan(of(line))).sum()))


def _of_volumes(of: Callable[[ObjectScore], float]) -> Builder:
    return lambda scores: mean(np.array([np.nan if s.volumes is None else of(s.volumes) for s in scores]))


def _of_sites(
    top: Callable[[SiteCounts], float], bottom: Callable[[SiteCounts], float], part: Callable[[SiteScore], SiteCounts],
    *, root: bool = False,
) -> Builder:  # fmt: skip
    """Σ top / Σ bottom over the crystals whose reflections span space, by sites."""

    def statistic(scores: Scores) -> Statistic:
        parts = [None if s.sites is None else part(s.sites) for s in scores]
        sums = [(0.0, 0.0) if p is None else (top(p), bottom(p)) for p in parts]
        numerator, denominator = np.array(sums, np.float64).T
        return Ratio(numerator, denominator, np.array([p is not None for p in parts]), root)

    return statistic


def _sites(where: str, part: Callable[[SiteScore], SiteCounts]) -> dict[str, Builder]:
    return {
        f"site RMS {where} cores (pm)": _of_sites(lambda c: c.squares, lambda c: c.common, part, root=True),
        f"site precision {where} cores": _of_sites(lambda c: c.right, lambda c: c.predicted, part),
        f"site recall {where} cores": _of_sites(lambda c: c.right, lambda c: c.true, part),
    }


SPATIAL_STATISTICS: Mapping[str, Builder] = {
    **{name: of for tolerance in TOLERANCES for name, of in _detection(tolerance).items()},
    "median line distance (voxels)": _median(lambda line: line.distances),
    "median line distance (nm)": _median(lambda line: line.distances_nm),
    "median Hausdorff distance (voxels)": _median(lambda line: line.hausdorff),
    "median Hausdorff distance (nm)": _median(lambda line: line.hausdorff_nm),
    "Burgers top-1": _share(lambda line: line.burgers),
    "Burgers top-1, missed lines wrong": _of_lines(lambda line: np.nansum(line.burgers), lambda line: line.determined),
    "|g·b| right": _share(lambda line: line.windings),
    "support Dice": _of_volumes(lambda score: score.dice),
    "phase error (rad)": _of_volumes(lambda score: score.phase_error),
    "strain error": _of_volumes(lambda score: score.strain_error),
    **_sites("outside", lambda score: score.outside),
    **_sites("inside", lambda score: score.inside),
}
