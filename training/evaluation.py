"""Score methods on crystals that none of them has seen, crystal by crystal, tier by tier."""

import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from cdi.defects.classes import CLASSES
from training.asked_lines import AskedLine, Drawing, asked_lines, drawing
from training.methods import CrystalSamples, Method
from training.metrics import CrystalScore, Interval, PredictedCrystal, TrueCrystal, crystal_score, differences, summary
from training.metrics.line_scores import HEADLINE
from training.true_crystals import true_crystal

BATCH = 16
HEADLINE_GROUPS = ("T1", "T2", "T3", "T4")
"""Tiers whose parts are also told together, by crystal."""

Table = Mapping[str, Mapping[str, Interval]]


@dataclass(frozen=True, eq=False)
class Answer:
    """What one method says of one crystal from its first ``score.reflections`` exposures, scored.

    Parameters
    ----------
    tier, method : str
    score : CrystalScore
    asked : tuple of AskedLine or None
        The visible lines that are there, and whether each was found; None where the method tells no lines.
    drawing : Drawing
        Outline and lines, for pictures.
    photons : float
        In the brightest voxel of the faintest exposure.
    """

    tier: str
    method: str
    score: CrystalScore
    asked: tuple[AskedLine, ...] | None
    drawing: Drawing
    photons: float

    @property
    def group(self) -> str:
        """The tier that this one is a part of: ``T2`` of ``T2-rod``."""
        return self.tier.split("-")[0]

    @property
    def row(self) -> str:
        """Its row in tables."""
        return row_name(self.method, self.score.reflections)

    def to_json(self) -> dict[str, Any]:
        """One line of ``crystals.jsonl``; null where nothing is said or graded."""
        score, lines, volumes = self.score, self.score.lines, self.score.volumes
        probabilities = score.class_probabilities
        return {
            "tier": self.tier,
            "method": self.method,
            "reflections": score.reflections,
            "index": score.index,
            "class": CLASSES[score.defect],
            "determined": score.determined,
            "class_probabilities": None if probabilities is None else probabilities.round(4).tolist(),
            "defect_probability": _number(score.defect_probability),
            "undetermined": score.undetermined,
            "confidence": _number(score.confidence),
            "count_right": _number(score.count_right),
            "lines_true": None if lines is None else lines.true,
            "lines_predicted": None if lines is None else lines.predicted,
            "lines_found": None if lines is None else lines.hits(HEADLINE),
            "distances_voxels": None if lines is None else lines.distances.round(3).tolist(),
            "burgers_right": None if lines is None else [_number(value) for value in lines.burgers],
            "support_dice": None if volumes is None else _number(volumes.dice),
            "phase_error_rad": None if volumes is None else _number(volumes.phase_error),
            "peak_photons": _number(self.photons),
        }


def row_name(method: str, reflections: int) -> str:
    """``method`` as a table names it that got so many reflections of each crystal."""
    return f"{method}, {of_reflections(reflections)}"


def of_reflections(number: int) -> str:
    """``1 reflection``, ``3 reflections``."""
    return f"{number} reflection{'s' if number > 1 else ''}"


def evaluate(
    methods: Sequence[Method],
    crystals: Dataset[CrystalSamples],
    *,
    tier: str,
    reflections: Sequence[int] = (1,),
    workers: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> list[Answer]:
    """Every method's answers about ``crystals``, from the first so many ``reflections`` of each.

    All methods get the same exposures in the same order. ``stop`` is asked before each batch; once True, the answers
    are those so far, of all methods about the same crystals.

    Raises
    ------
    ValueError
        If a crystal has fewer exposures than are asked for.
    """
    answers: list[Answer] = []
    for batch in _batches(crystals, workers, tier):
        if stop():
            break
        for number in reflections:
            chosen = [_first(crystal, number) for crystal in batch]
            truths = [true_crystal(crystal) for crystal in chosen]
            for method in methods:
                said = method.predict(chosen)
                answers += [_scored(tier, method.name, *each) for each in zip(chosen, truths, said, strict=True)]
    return answers


def tables(answers: Sequence[Answer], *, seed: int = 0, number: int = 1000) -> dict[str, Table]:
    """Statistics with intervals by crystal: tier → row → score; of T1 to T4 also all parts of a tier together.

    Rows ``A − B`` are the first method's paired differences to each other one with as many reflections.
    """
    sets: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        for name in dict.fromkeys([answer.group, answer.tier]):
            if name == answer.tier or answer.group in HEADLINE_GROUPS:
                sets[name].append(answer)
    return {name: _table(sets[name], seed, number) for name in sorted(sets)}


def rows_of(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Answers by row, in the order in which rows appear."""
    rows: dict[str, list[Answer]] = {}
    for answer in answers:
        rows.setdefault(answer.row, []).append(answer)
    return rows


def _table(answers: Sequence[Answer], seed: int, number: int) -> Table:
    rows = rows_of(answers)
    table = {row: summary([a.score for a in those], seed=seed, number=number) for row, those in rows.items()}
    first = answers[0].method
    for row, those in rows.items():
        ours = rows.get(row_name(first, those[0].score.reflections), [])
        if those[0].method != first and len(ours) == len(those):
            table[f"{first} − {row}"] = differences(
                [a.score for a in ours], [a.score for a in those], seed=seed, number=number
            )
    return table


def _first(crystal: CrystalSamples, number: int) -> CrystalSamples:
    if len(crystal) < number:
        raise ValueError(f"reflections must be at most the {len(crystal)} of crystal {crystal[0].index}, got {number}")
    return crystal[:number]


def _scored(tier: str, method: str, crystal: CrystalSamples, truth: TrueCrystal, said: PredictedCrystal) -> Answer:
    return Answer(
        tier,
        method,
        crystal_score(said, truth),
        asked_lines(said, truth),
        drawing(said, truth),
        float(min(sample.exposure.counts.max() for sample in crystal)),
    )


def _batches(crystals: Dataset[CrystalSamples], workers: int, title: str) -> Iterator[Sequence[CrystalSamples]]:
    loader = DataLoader(crystals, BATCH, collate_fn=list, num_workers=workers, worker_init_fn=_ignore_interrupts)
    yield from tqdm(loader, desc=title, unit="batch", mininterval=1.0, disable=None)


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal, and is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
