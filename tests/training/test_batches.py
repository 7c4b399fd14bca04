"""Streams of training crystals: a function of (configuration, number), one crystal on one side."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import SequentialSampler

from data.dataset import StoredCrystals
from data.drawn_batches import Chosen
from data.generation import generate
from data.recipe import Recipe
from models.config import NetworkConfig
from models.network import DefectNet
from models.pattern_set import PatternSet
from training.batches import (
    DrawnTargets,
    EpochBatches,
    FixedCrystals,
    StoredTargets,
    calibration_batches,
    finished,
    first_place,
    loader,
    propose,
)
from training.config import TrainConfig
from training.targets import Targets

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)

SMALL = NetworkConfig(
    shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2, dropout=0.3
)
CONFIG = TrainConfig(
    "tiny", Recipe("tiny", samples=48, seed=3, first_index=5, shape=(16, 16, 16)), network=SMALL, epochs=2,
    batches_per_epoch=4, batch_size=6, validation_samples=7, calibration_samples=5, workers=0,
)  # fmt: skip


class Watched(DrawnTargets):
    """Batches of which only the indices of the crystals and the number of their views are made."""

    def __getitem__(self, number: int) -> Any:
        raw = super().__getitem__(number)
        assert isinstance(raw, list)
        return [(c.index, len(c.draw.views)) for c in raw if isinstance(c, Chosen)]


def assert_same(a: Targets, b: Targets) -> None:
    for field in fields(PatternSet):
        assert torch.equal(getattr(a.patterns, field.name), getattr(b.patterns, field.name))
    for name in ("defect", "determined", "count", "line", "winding", "support", "phase"):
        assert torch.equal(getattr(a, name), getattr(b, name))


def test_batches_take_turns_in_their_reflections_on_crystals_of_their_own() -> None:
    """1, 3, 2, 1, … exposures a crystal; no crystal comes twice in all epochs."""
    batches = Watched(CONFIG, volumes_here=False)
    seen = [batches[number] for number in range(CONFIG.epochs * CONFIG.batches_per_epoch)]
    assert [(len(batch), batch[0][1]) for batch in seen[:4]] == [(6, 1), (2, 3), (3, 2), (6, 1)]
    indices = [index for batch in seen for index, _ in batch]
    assert len(set(indices)) == len(indices)
    assert min(indices) == 5
    assert max(indices) < CONFIG.validation_recipe.first_index


@pytest.mark.parametrize("workers", [1, 2])
def test_a_batch_does_not_depend_on_the_workers(workers: int) -> None:
    """Nor on which batches were made before it."""
    batches = DrawnTargets(CONFIG, volumes_here=True)
    found = list(loader(batches, [2, 5], workers))  # type: ignore[arg-type]
    for number, batch in zip((2, 5), found, strict=True):
        assert isinstance(batch, Targets)
        here = batches[number]
        assert isinstance(here, Targets)
        assert_same(batch, here)


def test_volumes_may_be_made_later() -> None:
    """Where the training's device is another; the crystals are the same."""
    here, later = (DrawnTargets(CONFIG, volumes_here=where)[1] for where in (True, False))
    assert isinstance(here, Targets)
    assert_same(finished(later, "cpu"), finished(here, "cpu"))


def test_a_frozen_first_stage_answers_beside_the_targets() -> None:
    """As it will in evaluation: nothing drops out."""
    network = DefectNet(SMALL).train()
    batch = DrawnTargets(CONFIG, volumes_here=True, frozen=network)[1]
    assert isinstance(batch, Targets)
    assert batch.proposal is not None
    with torch.no_grad():
        expected = propose(network.eval(), batch.patterns)
    torch.testing.assert_close(batch.proposal.line_logits, expected.line_logits)
    assert batch.proposal.to("cpu").phasor.shape == (6, 8, 8, 8)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_an_epoch_without_overlap(world: int) -> None:
    """Their batches are disjoint and cover it; the next epoch goes on where this one ended, also after a resume."""
    for epoch in (0, 3):
        shares = []
        for rank in range(world):
            sampler = EpochBatches(8, rank, world)
            sampler.set_epoch(epoch)
            assert len(list(sampler)) == len(sampler) == 8 // world
            shares.append(list(sampler))
        assert sorted(number for share in shares for number in share) == list(range(8 * epoch, 8 * epoch + 8))


def test_a_later_stage_goes_on_where_an_earlier_one_ended() -> None:
    """Its batches are counted from its first one."""
    sampler = EpochBatches(4, 1, 2, start=10)
    sampler.set_epoch(2)
    assert list(sampler) == [19, 21]


def test_an_epoch_that_does_not_divide_is_cut_alike_for_all() -> None:
    """Every process takes as many steps."""
    samplers = [EpochBatches(7, rank, 2) for rank in range(2)]
    assert [len(list(sampler)) for sampler in samplers] == [3, 3]
    assert not set(samplers[0]) & set(samplers[1])


def test_fixed_crystals_are_all_seen_once_and_alike_every_time() -> None:
    """7 crystals: 6 in one reflection, 1 in three."""
    fixed = FixedCrystals(CONFIG.validation_recipe, CONFIG, volumes_here=False)
    found = [fixed[number] for number in range(len(fixed))]
    views = [[(c.index, len(c.draw.views)) for c in raw if isinstance(c, Chosen)] for raw in found]
    first = CONFIG.validation_recipe.first_index
    assert views == [[(first + i, 1) for i in range(6)], [(first + 6, 3)]]
    again = finished(fixed[1], "cpu")
    assert_same(again, finished(fixed[1], "cpu"))


def test_calibration_crystals_lie_behind_those_of_validation() -> None:
    """Neither training nor validation has seen them."""
    dataset = calibration_batches(CONFIG).dataset
    assert isinstance(dataset, FixedCrystals)
    behind = CONFIG.validation_recipe
    assert dataset.recipe.first_index == behind.first_index + behind.samples
    assert dataset.recipe.samples == 5
    assert sum(last - first for first, last, _ in dataset.ranges) == 5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven crystals of three exposures."""
    folder = tmp_path_factory.mktemp("set")
    generate(replace(CONFIG.recipe, samples=11, reflection_count=3, samples_per_file=6), folder, progress=False)
    return folder


def stored_batches(dataset: Path, positions: range, batches: int) -> list[tuple[int, ...]]:
    """Positions of the crystals of the first batches."""

    class Seen(StoredCrystals):
        def __getitem__(self, position: int) -> Any:
            places.append(position)
            return super().__getitem__(position)

    found = []
    targets = StoredTargets(CONFIG, Seen(dataset), positions)
    for number in range(batches):
        places: list[int] = []
        targets[number]
        found.append(tuple(places))
    return found


def test_a_stored_set_is_gone_through_in_an_order_of_its_own_each_time(dataset: Path) -> None:
    """Every crystal once before any comes again, whatever the sizes of the batches; never the other side's."""
    found = stored_batches(dataset, range(8), 5)
    assert [len(batch) for batch in found] == [6, 2, 3, 6, 2]
    flat = [place for batch in found for place in batch]
    assert sorted(flat[:8]) == sorted(flat[8:16]) == list(range(8))
    assert flat[:8] != flat[8:16]
    assert first_place(CONFIG, 5) == len(flat)
    assert stored_batches(dataset, range(8), 5) == found


def test_stored_crystals_show_the_reflections_asked_for(dataset: Path) -> None:
    """The first of those stored, on one side of the split."""
    batch = StoredTargets(CONFIG, StoredCrystals(dataset), range(8, 11))[1]
    assert isinstance(batch, Targets)
    assert batch.patterns.counts.shape == (2, 3, 16, 16, 16)
    crystals = StoredCrystals(dataset)
    kept = {crystals[place][0].truth.defect for place in range(8, 11)}
    assert {truth.defect for truth in batch.truths} <= kept


def test_too_few_stored_exposures_are_refused(dataset: Path) -> None:
    config = replace(CONFIG, reflections=(4,), batch_size=8, epochs=1)
    with pytest.raises(
        ValueError, match=r"reflections must be at most the 3 exposures stored of each crystal, got \(4,\)"
    ):
        StoredTargets(config, StoredCrystals(dataset), range(8))[0]


def test_a_split_that_leaves_a_side_empty_is_refused(dataset: Path) -> None:
    with pytest.raises(
        ValueError, match="validation_samples must leave crystals of the data set on both sides, got 7 of 11"
    ):
        StoredTargets(CONFIG, StoredCrystals(dataset), range(0))


def test_a_loader_hands_over_in_order() -> None:
    fixed = FixedCrystals(CONFIG.validation_recipe, CONFIG, volumes_here=False)
    found = list(loader(fixed, SequentialSampler(fixed), 0))  # type: ignore[arg-type]
    assert [len(raw) for raw in found] == [6, 1]  # type: ignore[arg-type]
