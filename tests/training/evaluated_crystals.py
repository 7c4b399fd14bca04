"""Small crystals drawn with all their exposures, and methods that know the truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cdi.defects.classes import CLASSES
from data.recipe import Recipe
from data.sampling import draw_samples
from training.asked_lines import asked_lines, drawing
from training.evaluation import Answer
from training.methods import CrystalSamples
from training.metrics import Line, PredictedCrystal, TrueCrystal, crystal_score
from training.metrics.joint_group import Alignment
from training.true_crystals import true_crystal

RECIPE = Recipe(
    "small", samples=6, seed=11, shape=(16, 24, 16), elements=("Cu", "Au"), reflections=((1, 1, 1), (2, 0, 0)),
    reflection_count=3, class_fractions=(0.2, 0.2, 0.2, 0.2, 0.1, 0.1), peak_counts=(1e5, 1e6),
)  # fmt: skip


def crystals(number: int, recipe: Recipe = RECIPE) -> list[CrystalSamples]:
    return [draw_samples(recipe, index) for index in range(number)]


def told(true: TrueCrystal) -> PredictedCrystal:
    """Everything that can be seen of a crystal."""
    lines = tuple(Line(line.points, line.windings, line.burgers, 1.0) for line in true.lines if line.visible)
    return PredictedCrystal(true.volumes, lines, np.eye(len(CLASSES))[CLASSES.index(true.defect)], confidence=1.0)


def twin_of(said: PredictedCrystal, true: TrueCrystal) -> PredictedCrystal:
    """The same answer in the twin."""
    group = Alignment(True, np.zeros(3), np.full(len(true.G), 0.7))
    assert said.volumes is not None
    assert said.lines is not None
    return replace(
        said, volumes=group.volumes(said.volumes), lines=tuple(group.line(line, true.voxel) for line in said.lines)
    )


@dataclass(frozen=True)
class Oracle:
    """Says what ``answer`` makes of the truth."""

    answer: Callable[[TrueCrystal], PredictedCrystal] = told
    name: str = "oracle"

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        return [self.answer(true_crystal(crystal)) for crystal in crystals]


def answer_of(said: PredictedCrystal, true: TrueCrystal, *, tier: str = "T1", photons: float = 1e4) -> Answer:
    return Answer(tier, "by hand", crystal_score(said, true), asked_lines(said, true), drawing(said, true), photons)
