"""The streams of training: batches of crystals drawn on the fly or stored, a function of (configuration, number).

Batch k has ``reflections[k mod n]`` exposures of each of its crystals, and crystals of its own. So the stream does not
depend on where a run resumed, on the workers, or on how many devices share it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from data.dataset import StoredCrystals
from data.drawn_batches import Chosen, choose, make_batch
from data.recipe import Recipe
from data.sample import Sample
from models.network import DefectNet, Proposal, Sight
from models.pattern_set import PatternSet
from models.preprocess import features
from training.config import TrainConfig
from training.near_objects import near_objects
from training.targets import Targets, targets_of_batch, targets_of_samples

Raw = list[Chosen] | list[Sequence[Sample]] | Targets
"""What a worker hands over: crystals whose volumes the device makes, or finished targets where that is the CPU."""


PREFETCHED = 3
"""Batches that a worker has ready: each holds a dozen open files, of which a process may have a thousand."""


class DrawnTargets(Dataset[Raw]):
    """Batch number → crystals of ``config.recipe``.

    With ``volumes_here`` they are finished targets, made where the batch is drawn. With ``proposals_here`` as well so
    is the answer of a first stage that does not learn: of ``frozen``, or objects near the truth in place of a search.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        volumes_here: bool,
        frozen: DefectNet | None = None,
        proposals_here: bool = True,
    ) -> None:
        self.config, self.volumes_here, self.frozen, self.proposals_here = config, volumes_here, frozen, proposals_here

    def __getitem__(self, number: int) -> Raw:
        reflections = self.config.reflections[number % len(self.config.reflections)]
        recipe = replace(self.config.recipe, reflection_count=reflections)
        first = recipe.first_index + number * self.config.batch_size
        chosen = [choose(recipe, first + i) for i in range(self.config.crystals(reflections))]
        if not self.volumes_here:
            return chosen
        targets = finished(chosen, "cpu")
        if not self.proposals_here:
            return targets
        if self.config.network.first_stage == "search":
            return replace(targets, proposal=near_objects(targets, number))
        if self.frozen is None:
            return targets
        with torch.no_grad():
            return replace(targets, proposal=propose(self.frozen.eval(), targets.patterns))


class StoredTargets(Dataset[Raw]):
    """Batch number → crystals of a stored set, in an order of its own every time all have been seen.

    ``positions`` are the crystals that may be used: those of one side of a split.
    """

    def __init__(self, config: TrainConfig, crystals: StoredCrystals, positions: Sequence[int]) -> None:
        if not len(positions):
            raise ValueError(
                f"validation_samples must leave crystals of the data set on both sides, got "
                f"{config.validation_samples} of {len(crystals)}"
            )
        self.config, self.crystals, self.positions = config, crystals, np.asarray(positions)

    def __getitem__(self, number: int) -> Raw:
        reflections = self.config.reflections[number % len(self.config.reflections)]
        chosen: list[Sequence[Sample]] = []
        for place in range(first_place(self.config, number), first_place(self.config, number + 1)):
            again, position = divmod(place, len(self.positions))
            order = np.random.default_rng([self.config.seed, again]).permutation(self.positions)
            samples = self.crystals[int(order[position])]
            if len(samples) < reflections:
                raise ValueError(
                    f"reflections must be at most the {len(samples)} exposures stored of each crystal, "
                    f"got {self.config.reflections}"
                )
            chosen.append(samples[:reflections])
        return finished(chosen, "cpu")


def first_place(config: TrainConfig, number: int) -> int:
    """Crystals of all batches before the batch ``number``."""
    sizes = [config.crystals(reflections) for reflections in config.reflections]
    rounds, rest = divmod(number, len(sizes))
    return rounds * sum(sizes) + sum(sizes[:rest])


class EpochBatches(Sampler[int]):
    """Numbers, from ``start`` on, of the epoch's batches that fall to this process, of ``world`` that share it."""

    def __init__(self, per_epoch: int, rank: int = 0, world: int = 1, start: int = 0) -> None:
        self.per_epoch, self.rank, self.world, self.start, self.epoch = per_epoch, rank, world, start, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch // self.world

    def __iter__(self) -> Iterator[int]:
        first = self.start + self.epoch * self.per_epoch
        return iter(range(first + self.rank, first + len(self) * self.world, self.world))


def propose(network: DefectNet, patterns: PatternSet) -> Proposal:
    """The first stage's answer to every exposure."""
    return network.propose(features(patterns.counts.flatten(0, 1)), Sight.of(patterns).where.flatten(0, 1))


def finished(raw: Raw, device: torch.device | str) -> Targets:
    """The targets of what a worker handed over, on ``device``."""
    if isinstance(raw, Targets):
        return raw.to(device)
    if isinstance(raw[0], Chosen):
        return targets_of_batch(make_batch([choice for choice in raw if isinstance(choice, Chosen)], device))
    return targets_of_samples([samples for samples in raw if not isinstance(samples, Chosen)]).to(device)


def loader(dataset: Dataset[Raw], sampler: Sampler[int], workers: int) -> "DataLoader[Raw]":
    """Batches ready made by ``workers`` processes of one thread each."""
    return DataLoader(
        dataset, None, sampler=sampler, num_workers=workers, persistent_workers=workers > 0,
        prefetch_factor=PREFETCHED if workers else None, worker_init_fn=_one_thread,
    )  # fmt: skip


class FixedCrystals(Dataset[Raw]):
    """Batch number → the same crystals every time: what validation and calibration look at.

    Each is seen in ``reflections[k mod n]`` exposures, k being the batch.
    """

    def __init__(self, recipe: Recipe, config: TrainConfig, *, volumes_here: bool) -> None:
        self.recipe, self.config, self.volumes_here = recipe, config, volumes_here
        self.ranges: list[tuple[int, int, int]] = []
        first = 0
        while first < recipe.samples:
            reflections = config.reflections[len(self.ranges) % len(config.reflections)]
            last = min(first + config.crystals(reflections), recipe.samples)
            self.ranges.append((first, last, reflections))
            first = last

    def __len__(self) -> int:
        return len(self.ranges)

    def __getitem__(self, number: int) -> Raw:
        first, last, reflections = self.ranges[number]
        recipe = replace(self.recipe, reflection_count=reflections)
        chosen = [choose(recipe, recipe.first_index + index) for index in range(first, last)]
        return finished(chosen, "cpu") if self.volumes_here else chosen


def calibration_batches(config: TrainConfig) -> "DataLoader[Raw]":
    """The crystals behind those of the validation."""
    behind = config.validation_recipe
    first = behind.first_index + behind.samples
    recipe = replace(behind, first_index=first, samples=config.calibration_samples)
    fixed = FixedCrystals(recipe, config, volumes_here=True)
    return loader(fixed, SequentialSampler(fixed), config.workers)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
