"""Small recipes and crystals that the tests of the baselines share."""

from functools import lru_cache

from data.recipe import Recipe
from data.sample import Sample
from data.sampling import draw_samples
from training.baselines.exposures import LabelledExposures, drawn_block

TINY = Recipe(
    "tiny", samples=4096, seed=11, first_index=7, shape=(16, 16, 16), elements=("Cu", "Si"),
    reflections=((1, 1, 1), (2, 2, 0)), class_fractions=(0.4, 0.2, 0.2, 0.2, 0.1, 0.1), peak_counts=(1e4, 1e6),
)  # fmt: skip
SPANNING = Recipe(
    "spanning", samples=64, seed=4, shape=(32, 32, 32), elements=("Cu", "Au"),
    reflections=((1, 1, 1), (2, 0, 0), (2, 2, 0)), reflection_count=4, crystal_shapes=("truncated-octahedron",),
    oversampling=(2.3, 2.6), class_fractions=(0, 0.5, 0.5, 0), max_lines=1, hidden_fraction=0, strain_rad=(0, 0),
    peak_counts=(1e6, 1e6),
)  # fmt: skip


@lru_cache(maxsize=16)
def crystal(recipe: Recipe, index: int, reflections: int) -> tuple[Sample, ...]:
    """The first exposures of a crystal of ``recipe``."""
    return draw_samples(recipe, index)[:reflections]


@lru_cache(maxsize=1)
def lesson() -> LabelledExposures:
    """Crystals 40 to 63 of ``TINY``, one exposure each."""
    return drawn_block(TINY, range(40, 64))
