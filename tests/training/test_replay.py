"""A batch learnt from several times: when it comes again, and what a new labelling of its voxels leaves as it was."""

from collections import Counter
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

from cdi.fourier import centre_pad, origin_to_corner
from cdi.grid import QGrid
from cdi.retrieval.projections import corner_amplitude
from cdi.scattering.object_amplitude import object_amplitudes
from data.drawn_batches import choose
from data.recipe import Recipe
from data.sampling import SINGLE
from models.checkpoint import load
from models.config import NetworkConfig
from models.network import Proposal
from models.pattern_set import geometry
from training import replay
from training.batches import DrawnTargets, EpochBatches, loader
from training.config import TrainConfig
from training.module import DefectModule
from training.replay import Replayed, newly_labelled, relabelled
from training.run import train
from training.targets import Targets, line_volumes

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)

CONFIG = TrainConfig(
    "tiny",
    Recipe("tiny", samples=96, seed=3, shape=(16, 16, 16), elements=("Cu",), class_fractions=(0, 0, 0, 0.5, 0.5, 0)),
    network=NetworkConfig(shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2),
    reflections=(2,), epochs=2, batches_per_epoch=4, batch_size=6, validation_samples=4, calibration_samples=4,
    workers=0, uses=3,
)  # fmt: skip
LABELLINGS = [((0, 1, 2), (-1, -1, -1)), ((1, 2, 0), (1, 1, 1)), ((0, 2, 1), (1, 1, 1)), ((2, 1, 0), (1, -1, 1))]


@pytest.fixture(scope="module")
def batch() -> Targets:
    found = DrawnTargets(CONFIG, volumes_here=True)[0]
    assert isinstance(found, Targets)
    return found


class Numbers(torch.utils.data.Dataset[int]):
    def __getitem__(self, number: int) -> int:
        return number


@pytest.mark.parametrize(("drawn", "uses"), [(1, 1), (5, 1), (3, 2), (9, 2), (9, 3), (20, 4)])
def test_every_batch_comes_as_often_as_it_is_to_and_later_each_time(
    drawn: int, uses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "LATER", 4)
    source = loader(Numbers(), EpochBatches(drawn), 0)  # type: ignore[arg-type]
    stream = Replayed(source, uses)
    seen: list[int] = list(stream)  # type: ignore[arg-type]
    assert len(seen) == len(stream) == drawn * uses
    assert Counter(seen) == dict.fromkeys(range(drawn), uses)
    first = [seen.index(number) for number in range(drawn)]
    assert first == sorted(first), "new batches come in their order"
    assert list(stream) == seen
    # At no time are more held than are needed, and a batch comes again when four new ones have been drawn.
    for number in range(drawn - 4):
        if uses > 1:
            again = [place for place, seen_number in enumerate(seen) if seen_number == number][1]
            assert seen.index(number + 4) < again


def test_the_trainer_finds_the_sampler_through_it() -> None:
    sampler = EpochBatches(4)
    stream = Replayed(loader(Numbers(), sampler, 0), 2)  # type: ignore[arg-type]
    assert stream.sampler is sampler
    sampler.set_epoch(2)
    assert sorted(set(stream)) == [8, 9, 10, 11]  # type: ignore[type-var]


def test_a_batch_is_used_at_least_once() -> None:
    with pytest.raises(ValueError, match="uses must be at least 1, got 0"):
        replace(CONFIG, uses=0)
    with pytest.raises(ValueError, match="uses must be at least 1, got 0"):
        Replayed(loader(Numbers(), EpochBatches(4), 0), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("order", "signs"), LABELLINGS)
def test_lines_and_windings_are_those_of_the_crystal_on_the_new_voxels(
    batch: Targets, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    """Drawn anew from the same points in Å; the hand of the voxels turns the circulation round where it changes."""
    turned = relabelled(batch, order, signs)
    inside = (turned.support.amax(1) > 0).float()
    assert batch.line.amax() > 0.5
    for number, truth in enumerate(batch.truths):
        voxel = turned.patterns.voxel[number].numpy()
        density, winding = line_volumes(truth.visible, voxel, 2, (8, 8, 8))
        # The plane −N/2 has no partner on the other side.
        inner = (Ellipsis, slice(1, None), slice(1, None), slice(1, None))
        torch.testing.assert_close(turned.line[number][inner], (density * inside[number])[inner], atol=1e-4, rtol=0)
        torch.testing.assert_close(turned.winding[number][inner], (winding * inside[number])[inner], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("order", "signs"), LABELLINGS)
def test_the_pattern_is_that_of_the_same_crystal_on_the_new_grid(
    order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    """Simulated twice, the second time on the grid whose steps are labelled anew: no atom moves."""
    draw = choose(replace(CONFIG.recipe, reflection_count=1), 7).draw
    ((reflection, grid),) = draw.peaks
    new = QGrid(grid.centre, np.array(signs)[:, None] * grid.step[list(order)], grid.shape)
    old_pattern, new_pattern = (
        object_amplitudes(draw.crystal, [(reflection, on)], model=SINGLE)[0].abs().square() for on in (grid, new)
    )
    turned = relabelled(_with_counts(old_pattern), order, signs).patterns
    inner = (slice(1, None),) * 3
    torch.testing.assert_close(turned.counts[0, 0][inner], new_pattern[inner], atol=1e-5 * float(new_pattern.max()),
                               rtol=1e-3)  # fmt: skip
    old_voxel = torch.as_tensor(grid.voxel)[None]
    expected = old_voxel[:, list(order)] * torch.tensor(signs)[:, None]
    torch.testing.assert_close(torch.as_tensor(new.voxel)[None], expected)


def _with_counts(pattern: torch.Tensor) -> Targets:
    found = DrawnTargets(replace(CONFIG, reflections=(1,), batch_size=2), volumes_here=True)[0]
    assert isinstance(found, Targets)
    counts = pattern.float()[None, None].repeat(2, 1, 1, 1, 1)
    return replace(found, patterns=replace(found.patterns, counts=counts))


def test_phase_and_support_still_explain_the_pattern(batch: Targets) -> None:
    """Their transform is as like the measured moduli: object and counts are of one crystal in one frame."""

    def likeness(one: Targets) -> torch.Tensor:
        box = centre_pad(torch.polar(one.support, one.phase), (16, 16, 16))
        modulus = corner_amplitude(origin_to_corner(box)).abs().flatten(2)
        root = origin_to_corner(one.patterns.counts).sqrt().flatten(2)
        return torch.nn.functional.cosine_similarity(modulus, root, dim=2)

    before, after = likeness(batch), likeness(relabelled(batch, (2, 0, 1), (1, -1, 1)))
    assert before.mean() > 0.8
    torch.testing.assert_close(after, before, atol=0.03, rtol=0)


def test_what_the_network_is_told_of_the_geometry_follows(batch: Targets) -> None:
    """The direction of G along the new axes: the old components, in the new order and sense."""
    turned = relabelled(batch, (1, 0, 2), (1, 1, -1))
    old, new = geometry(batch.patterns), geometry(turned.patterns)
    torch.testing.assert_close(new[..., :3], old[..., [1, 0, 2]] * torch.tensor([1.0, 1.0, -1.0]))
    assert turned.patterns.G is batch.patterns.G
    assert turned.truths is batch.truths


def test_the_labellings_form_a_group_of_48(batch: Targets) -> None:
    every = list(product(permutations(range(3)), product((1, -1), repeat=3)))
    found = {tuple(relabelled(batch, order, signs).patterns.voxel[0].flatten().tolist()) for order, signs in every}
    assert len(found) == 48
    there = relabelled(batch, (1, 2, 0), (1, -1, 1))
    back = relabelled(there, (2, 0, 1), (1, 1, -1))
    assert torch.equal(back.patterns.counts, batch.patterns.counts)
    assert torch.equal(back.winding, batch.winding)
    torch.manual_seed(4)
    drawn = newly_labelled(batch)
    torch.manual_seed(4)
    assert torch.equal(newly_labelled(batch).phase, drawn.phase)


@pytest.mark.parametrize(("order", "signs"), LABELLINGS)
def test_a_proposal_goes_where_its_crystal_goes(batch: Targets, order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    support, phase = batch.support.flatten(0, 1), batch.phase.flatten(0, 1)
    told = Proposal(2 * support, support, torch.polar(support, phase))
    turned = relabelled(replace(batch, proposal=told), order, signs)
    assert turned.proposal is not None
    new_support, new_phase = turned.support.flatten(0, 1), turned.phase.flatten(0, 1)
    assert torch.equal(turned.proposal.support_logits, new_support)
    assert torch.equal(turned.proposal.line_logits, 2 * new_support)
    torch.testing.assert_close(turned.proposal.phasor, torch.polar(new_support, new_phase))


def test_a_batch_is_prepared_once_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "LATER", 2)
    sampler, asked = EpochBatches(5, start=10), []

    def prepared(raw: object, number: int) -> object:
        asked.append((raw, number))
        return f"batch {number}"

    stream = list(Replayed(loader(Numbers(), sampler, 0), 3, prepared))  # type: ignore[arg-type]
    assert asked == [(number, number) for number in range(10, 15)]
    assert Counter(stream) == {f"batch {number}": 3 for number in range(10, 15)}


def test_objects_near_the_truth_are_made_once_by_the_batch_s_number(batch: Targets) -> None:
    """For a reader of searched objects; a network that makes its own proposals makes them when it is asked."""
    searching = replace(CONFIG.network, first_stage="search", passes=1)
    reader = DefectModule(replace(CONFIG, network=searching, parts="reader"))
    reader.trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    first, again, other = (reader._on_device(batch, number).proposal for number in (5, 5, 6))
    assert first is not None
    assert again is not None
    assert other is not None
    assert torch.equal(first.phasor, again.phasor)
    assert not torch.equal(first.phasor, other.phasor)
    stream = reader._replayed(loader(DrawnTargets(reader.config, volumes_here=True, proposals_here=False),
                                     EpochBatches(2), 0))  # fmt: skip
    proposals = [one.proposal for one in stream if isinstance(one, Targets)]
    assert len(proposals) == 6
    assert len({id(proposal) for proposal in proposals}) == 2
    whole = DefectModule(CONFIG)
    whole.trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert whole._on_device(batch, 5).proposal is None


def test_a_grid_that_would_change_is_refused(batch: Targets) -> None:
    cut = replace(batch.patterns, counts=batch.patterns.counts[..., :8])
    with pytest.raises(ValueError, match="order must keep the grid's shape"):
        relabelled(replace(batch, patterns=cut), (0, 2, 1), (1, 1, 1))


def test_a_killed_run_of_several_uses_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "LATER", 2)
    whole = load(train(CONFIG, tmp_path / "whole"))
    assert whole.training["exposures"] == 3 * 48  # learned from
    step = DefectModule.training_step

    def dying(self: DefectModule, batch: Targets, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1 and batch_idx == 5:
            raise RuntimeError("killed")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(DefectModule, "training_step", dying)
    with pytest.raises(RuntimeError, match="killed"):
        train(CONFIG, tmp_path / "cut")
    monkeypatch.setattr(DefectModule, "training_step", step)
    resumed = load(train(CONFIG, tmp_path / "cut"))
    for key, value in whole.weights.items():
        assert torch.equal(resumed.weights[key], value), key
