"""Batches drawn on the fly whose volumes are made, and stay, on the training's device.

Random choices (a crystal, its defects, its detector) are small and made on the CPU, in worker
processes where wanted; fields, transform and detector run where the training runs, and nothing
touches a disk. A sample's choices are those of ``data.sampling.draw_sample``; its noise comes from
the device's own generator, so that counts on a GPU are other counts of the same distribution.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cdi.scattering.bragg_object import bragg_object
from data.recipe import Recipe
from data.sampling import Draw, detected, draw_crystal, sample_generator


@dataclass(frozen=True, eq=False)
class DrawnBatch:
    """Exposures of a batch of crystals and what made them; tensors on one device.

    Parameters
    ----------
    counts : (batch, x, y, z) float32
    mask : (batch, x, y, z) bool
        True where measured.
    support : (batch, x/2, y/2, z/2) float32
        On the central half of the dual voxels.
    phase : (batch, x/2, y/2, z/2) float32
        G·u plus the ramp of an off-centre peak, radians; not cut at the support.
    draws : the crystals, grids and reflections.
    indices : absolute index of each sample.
    """

    counts: Tensor
    mask: Tensor
    support: Tensor
    phase: Tensor
    draws: tuple[Draw, ...]
    indices: tuple[int, ...]


class DrawnBatches:
    """The samples of ``recipe`` in order, ``batch_size`` at a time, the last batch the rest.

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
    """One sample's choices, and the generator that is left for its noise."""

    index: int
    draw: Draw
    generator: np.random.Generator


def make_batch(chosen: list[Chosen], device: torch.device) -> DrawnBatch:
    """Volumes of the chosen samples on ``device``."""
    draws = tuple(choice.draw for choice in chosen)
    seen = [detected(choice.draw, choice.generator, device=device) for choice in chosen]
    obj = bragg_object(
        [draw.crystal for draw in draws],
        [draw.grid for draw in draws],
        [draw.reflection for draw in draws],
        device=device,
    )
    return DrawnBatch(
        torch.stack([counts for counts, _ in seen]),
        torch.stack([mask for _, mask in seen]),
        obj.support.float(),
        obj.phase.float(),
        draws,
        tuple(choice.index for choice in chosen),
    )


class _Draws(Dataset[Chosen]):
    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __len__(self) -> int:
        return self.recipe.samples

    def __getitem__(self, position: int) -> Chosen:
        index = self.recipe.first_index + position
        generator = sample_generator(self.recipe, index)
        return Chosen(index, draw_crystal(self.recipe, generator), generator)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
