"""Objects that stand for those of a search: as near the truth as these are, and sometimes as wrong."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cdi.ambiguity import twin
from data.recipe import Recipe
from models.config import NetworkConfig
from training import near_objects as made
from training.batches import DrawnTargets
from training.config import TrainConfig
from training.module import DefectModule
from training.near_objects import near_objects
from training.targets import Targets

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)

SHAPE = (16, 16, 16)
CONFIG = TrainConfig(
    "tiny",
    Recipe("tiny", samples=64, seed=3, shape=SHAPE, reflections=((1, 1, 1), (2, 0, 0)), reflection_count=2,
           strain_rad=(1, 1)),
    network=NetworkConfig(
        shape=SHAPE, width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2, first_stage="search",
        passes=1,
    ),
    parts="reader", reflections=(2,), epochs=1, batches_per_epoch=4, batch_size=16, validation_samples=8, workers=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def batch() -> Targets:
    found = DrawnTargets(CONFIG, volumes_here=True)[0]
    assert isinstance(found, Targets)
    return found


def phase_errors(phasor: Tensor, batch: Targets) -> tuple[Tensor, Tensor]:
    """Mean |Δφ| of each exposure over the true support: straight, and of the twin."""
    support, phase = batch.support.flatten(0, 1), batch.phase.flatten(0, 1)
    found = []
    for density in (phasor, twin(phasor)):
        unit = torch.polar(torch.ones_like(phase), density.angle() - phase) * support
        away = (unit * unit.sum((1, 2, 3), keepdim=True).conj()).angle().abs()
        found.append((away * support).sum((1, 2, 3)) / support.sum((1, 2, 3)))
    return found[0], found[1]


def test_the_same_seed_is_the_same_object_and_another_another(batch: Targets) -> None:
    first, again, other = (near_objects(batch, seed).phasor for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_failures_the_truth_is_near_and_a_crystal_has_one_twin(
    batch: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Straight or turned is drawn by crystal: both of its reflections are the same twin."""
    for name, value in (("HYBRID", (4,)), ("BOTH_TWINS", 0.0), ("NO_PHASE", 0.0), ("WRONG_TWIN", 0.0)):
        monkeypatch.setattr(made, name, value)
    straight, turned = phase_errors(near_objects(batch, 0).phasor, batch)
    assert float(torch.minimum(straight, turned).median()) < 0.35
    told = ((straight - turned).abs() > 0.2).reshape(-1, 2).all(1)  # where strain tells the twin at all
    twins = (turned < straight).reshape(-1, 2)
    assert int(told.sum()) >= 3
    assert torch.equal(twins[told, 0], twins[told, 1])
    assert 0 < int(twins[told, 0].sum()) < int(told.sum())


def test_longer_wandering_and_failures_are_farther_from_the_truth(
    batch: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(hybrid: int, no_phase: float) -> float:
        for name, value in (("HYBRID", (hybrid,)), ("BOTH_TWINS", 0.0), ("NO_PHASE", no_phase)):
            monkeypatch.setattr(made, name, value)
        return float(torch.minimum(*phase_errors(near_objects(batch, 0).phasor, batch)).mean())

    near, far, lost = error(4, 0.0), error(100, 0.0), error(4, 1.0)
    assert near < far < lost


def test_training_takes_them_from_the_stream_and_validation_makes_its_own() -> None:
    """The stream's proposals are a function of the batch's number; a batch without one is answered all the same."""
    stream = DrawnTargets(CONFIG, volumes_here=True)
    first, again = stream[1], stream[1]
    assert isinstance(first, Targets)
    assert isinstance(again, Targets)
    assert first.proposal is not None
    assert again.proposal is not None
    assert torch.equal(first.proposal.phasor, again.proposal.phasor)
    bare = replace(first, proposal=None)
    losses = []
    for _ in range(2):
        module = DefectModule(CONFIG).eval()
        module.log_dict = lambda *given, **named: None  # type: ignore[method-assign]
        module._trainer = type("Trainer", (), {"world_size": 1, "global_step": 0})()  # type: ignore[assignment]
        with torch.no_grad():
            losses.append(float(module.validation_step(bare, 0)))
    assert losses[0] == losses[1] > 0
