"""Batches drawn on the fly whose volumes are made, and stay, on the training's device.

Random choices (a crystal, its defects, its detector) are small and made on the CPU, in worker
processes where wanted; fields, transform and detector run where the training runs, and nothing
touches a disk. A crystal's choices are those of ``data.sampling.draw_samples``; its noise comes from
the device's own generator, so that counts on a GPU are other counts of the same distribution.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cdi.scattering.bragg_object import bragg_object_of_views
from data.recipe import Recipe
from data.sampling import Draw, detected, draw_crystal, exposure_generators


@dataclass(frozen=True, eq=False)
class DrawnBatch:
    """Exposures of a batch of crystals, equally many of each, and what made them; tensors on one device.

    Parameters
    ----------
    counts : (batch, reflection, x, y, z) float32
    mask : (batch, reflection, x, y, z) bool
        True where measured.
    support : (batch, reflection, x/2, y/2, z/2) float32
        What scatters in each reflection, on the central half of the dual voxels.
    phase : (batch, reflection, x/2, y/2, z/2) float32
        G·u plus the ramp of an off-centre peak, radians; not cut at the support.
    draws : the crystals and their views.
    indices : absolute index of each crystal.
    """

    counts: Tensor
    mask: Tensor
    support: Tensor
    phase: Tensor
    draws: tuple[Draw, ...]
    indices: tuple[int, ...]


class DrawnBatches:
    """The crystals of ``recipe`` in order, ``batch_size`` at a time, the last batch the rest.

    Parameters
    ----------
    recipe : Recipe
    batch_size : int
    device : where the volumes are made.
    workers : processes that draw; 0 draws in this one.

    Raises
    ------
    ValueError
        If ``batch_size`` is not positive or ``workers`` is negative.
    """

    def __init__(
        self, recipe: Recipe, batch_size: int, *, device: torch.device | str = "cpu", workers: int = 0
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if workers < 0:
            raise ValueError(f"workers must not be negative, got {workers}")
        self.recipe, self.batch_size, self.device, self.workers = recipe, batch_size, torch.device(device), workers

    def __len__(self) -> int:
        return -(-self.recipe.samples // self.batch_size)

    def __iter__(self) -> Iterator[DrawnBatch]:
        loader = DataLoader(
            _Draws(self.recipe), self.batch_size, collate_fn=list, num_workers=self.workers, worker_init_fn=_one_thread
        )
        for chosen in loader:
            yield make_batch(chosen, self.device)


@dataclass(frozen=True)
class Chosen:
    """One crystal's choices, and for each of its views the generator that is left for the noise."""

    index: int
    draw: Draw
    generators: tuple[np.random.Generator, ...]


def choose(recipe: Recipe, index: int) -> Chosen:
    """The choices of the crystal with the absolute ``index``."""
    generators = exposure_generators(recipe, index)
    return Chosen(index, draw_crystal(recipe, *generators), generators)


def make_batch(chosen: Sequence[Chosen], device: torch.device | str) -> DrawnBatch:
    """Volumes of the chosen crystals on ``device``; all have equally many views."""
    seen = [detected(choice.draw, choice.generators, device=device) for choice in chosen]
    objects = [bragg_object_of_views(choice.draw.crystal, choice.draw.peaks, device=device) for choice in chosen]
    return DrawnBatch(
        torch.stack([torch.stack([counts for counts, _ in views]) for views in seen]),
        torch.stack([torch.stack([mask for _, mask in views]) for views in seen]),
        torch.stack([obj.support.float() for obj in objects]),
        torch.stack([obj.phase.float() for obj in objects]),
        tuple(choice.draw for choice in chosen),
        tuple(choice.index for choice in chosen),
    )


class _Draws(Dataset[Chosen]):
    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __len__(self) -> int:
        return self.recipe.samples

    def __getitem__(self, position: int) -> Chosen:
        return choose(self.recipe, self.recipe.first_index + position)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
