"""Samples drawn on the fly: a training set that needs no disk."""

from collections.abc import Iterator

from torch.utils.data import Dataset, Sampler

from data.recipe import Recipe
from data.sample import Sample
from data.sampling import draw_sample, draw_samples


class DrawnSamples(Dataset[Sample]):
    """Map from position to the first exposure of a crystal; nothing is kept, so memory does not grow."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __len__(self) -> int:
        return self.recipe.samples

    def __getitem__(self, index: int) -> Sample:
        return draw_sample(self.recipe, _absolute(self.recipe, index))


class DrawnCrystals(Dataset[tuple[Sample, ...]]):
    """Map from position to all exposures of a crystal, ``recipe.reflection_count`` of them."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __len__(self) -> int:
        return self.recipe.samples

    def __getitem__(self, index: int) -> tuple[Sample, ...]:
        return draw_samples(self.recipe, _absolute(self.recipe, index))


def _absolute(recipe: Recipe, index: int) -> int:
    if not 0 <= index < recipe.samples:
        raise IndexError(f"index must lie in [0, {recipe.samples}), got {index}")
    return recipe.first_index + index


class EpochSampler(Sampler[int]):
    """Indices of the current epoch: epoch e has its own ``per_epoch`` crystals.

    No crystal is seen twice until the recipe is used up; a run that resumes at an epoch
    continues with the crystals that it had not seen.
    """

    def __init__(self, samples: int, per_epoch: int) -> None:
        if not 1 <= per_epoch <= samples:
            raise ValueError(f"per_epoch must lie in [1, {samples}], got {per_epoch}")
        self.samples, self.per_epoch, self.epoch = samples, per_epoch, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.per_epoch
        return iter([(first + i) % self.samples for i in range(self.per_epoch)])
