"""placeholder while the sampler is being written"""
from data.recipe import Recipe
from data.sample import Sample


def draw_sample(recipe: Recipe, index: int) -> Sample:
    """The sample ``index`` (absolute: ``first_index`` already added) of ``recipe``."""
    raise ValueError("sampler not there yet")
