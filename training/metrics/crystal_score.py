"""All scores of one crystal, from what a method says of it and what is there. Free of torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdi.defects.classes import CLASSES
from training.metrics.joint_group import align
from training.metrics.line_scores import LineScore, line_score
from training.metrics.object_scores import ObjectScore, core_of, dice, phase_errors, strain_errors
from training.metrics.site_scores import SiteScore, site_score
from training.metrics.volumes import CrystalObject, KnownLine, Line

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrueCrystal:
    """What is in a crystal, in the frame of the prediction's grid.

    Parameters
    ----------
    index : int
        The crystal's own, by which methods are paired.
    volumes : CrystalObject
        Phases as the centred patterns show them.
    lines : tuple of KnownLine
        All, whether the reflections see them or not.
    defect : str
        An entry of ``CLASSES``.
    determined : bool
        Whether the reflections can tell the class: some line or fault shows, or there is none.
    reflections : (n, 3)
        Miller indices.
    G : (n, 3)
        Their vectors in Å⁻¹, laboratory frame.
    voxel : (3, 3)
        In Å, row i along axis i.
    primitive_volume_A3 : float
        Volume of the primitive cell.

    Raises
    ------
    ValueError
        If ``defect`` is no class, or numbers of reflections disagree.
    """

    index: int
    volumes: CrystalObject
    lines: tuple[KnownLine, ...]
    defect: str
    determined: bool
    reflections: Integers
    G: Array
    voxel: Array
    primitive_volume_A3: float

    def __post_init__(self) -> None:
        if self.defect not in CLASSES:
            raise ValueError(f"defect must be one of {', '.join(CLASSES)}, got {self.defect!r}")
        wanted = (len(self.volumes.phase), 3)
        for name in ("reflections", "G"):
            value = np.asarray(getattr(self, name))
            if value.shape != wanted:
                raise ValueError(f"{name} must have shape {wanted}, one row a phase, got {value.shape}")
            object.__setattr__(self, name, value)
        _check_windings(self.lines, wanted[0])


@dataclass(frozen=True, eq=False)
class PredictedCrystal:
    """What a method says; None or NaN where it says nothing, and then it is not asked.

    Parameters
    ----------
    volumes : CrystalObject or None
    lines : tuple of Line or None
        In the sense of ``Line``, in the frame of the truth's grid.
    class_probabilities : (classes,) or None
    defect_probability : float
        By default 1 − the probability of ``none``.
    count : int or None
        By default the number of ``lines``, less those that lie on a hidden line.
    undetermined : bool
        Whether the method declines to answer.
    confidence : float
        How sure of its answer it is: what it declines by. Any scale.

    Raises
    ------
    ValueError
        If there are lines without volumes, by which the twin is chosen, or the probabilities are none.
    """

    volumes: CrystalObject | None = None
    lines: tuple[Line, ...] | None = None
    class_probabilities: Array | None = None
    defect_probability: float = float("nan")
    count: int | None = None
    undetermined: bool = False
    confidence: float = float("nan")

    def __post_init__(self) -> None:
        if self.lines is not None and self.volumes is None:
            raise ValueError("volumes must be given with lines: they choose the twin, got None")
        if self.volumes is not None:
            _check_windings(self.lines or (), len(self.volumes.phase))
        if self.class_probabilities is not None:
            given = np.asarray(self.class_probabilities, np.float64)
            if given.shape != (len(CLASSES),) or not np.isclose(given.sum(), 1, atol=1e-3):
                raise ValueError(f"class_probabilities must be {len(CLASSES)} that sum to 1, got {given.tolist()}")
            object.__setattr__(self, "class_probabilities", given)
            if np.isnan(self.defect_probability):
                object.__setattr__(self, "defect_probability", float(1 - given[0]))


@dataclass(frozen=True, eq=False)
class CrystalScore:
    """Scores of one crystal; None or NaN where a method says nothing or nothing can be told.

    Parameters
    ----------
    index, reflections : int
        The crystal, and how many reflections there were.
    defect : int
        True class, an index into ``CLASSES``.
    determined : bool
        Whether class and count are graded.
    class_probabilities : (classes,) or None
    defect_probability : float
    count_right : float
        1 or 0.
    undetermined : bool
    confidence : float
    volumes : ObjectScore or None
    lines : LineScore or None
    sites : SiteScore or None
    """

    index: int
    reflections: int
    defect: int
    determined: bool
    class_probabilities: Array | None
    defect_probability: float
    count_right: float
    undetermined: bool
    confidence: float
    volumes: ObjectScore | None
    lines: LineScore | None
    sites: SiteScore | None


def crystal_score(predicted: PredictedCrystal, true: TrueCrystal) -> CrystalScore:
    """Every score of a crystal, best over the joint group and nothing beyond it."""
    volumes, lines, sites = _in_space(predicted, true)
    return CrystalScore(
        index=true.index,
        reflections=len(true.G),
        defect=CLASSES.index(true.defect),
        determined=true.determined,
        class_probabilities=predicted.class_probabilities,
        defect_probability=predicted.defect_probability,
        count_right=_count_right(predicted, true, lines),
        undetermined=predicted.undetermined,
        confidence=predicted.confidence,
        volumes=volumes,
        lines=lines,
        sites=sites,
    )


def _in_space(
    predicted: PredictedCrystal, true: TrueCrystal
) -> tuple[ObjectScore | None, LineScore | None, SiteScore | None]:
    if predicted.volumes is None:
        return None, None, None
    alignment = align(predicted.volumes, true.volumes)
    aligned = alignment.volumes(predicted.volumes)
    core = core_of(true.lines, aligned.support.shape, true.voxel)
    volumes = ObjectScore(
        dice(aligned, true.volumes),
        float(np.mean(phase_errors(aligned, true.volumes))),
        alignment.twinned,
        float(np.mean(strain_errors(aligned, true.volumes, true.G, true.voxel, core))),
    )
    lines = None
    if predicted.lines is not None:
        moved = [alignment.line(line, true.voxel) for line in predicted.lines]
        lines = line_score(moved, true.lines, true.voxel)
    return volumes, lines, site_score(aligned, true.volumes, true.G, true.reflections, core, true.primitive_volume_A3)


def _count_right(predicted: PredictedCrystal, true: TrueCrystal, lines: LineScore | None) -> float:
    count = predicted.count if predicted.count is not None or lines is None else lines.predicted
    if count is None or not true.determined:
        return float("nan")
    return float(count == sum(line.visible for line in true.lines))


def _check_windings(lines: tuple[Line, ...], reflections: int) -> None:
    for line in lines:
        if len(line.windings) != reflections:
            raise ValueError(f"windings must be {reflections}, one a reflection, got {len(line.windings)}")
