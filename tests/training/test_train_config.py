"""A training's configuration: what does not fit is said before anything starts."""

from dataclasses import replace
from typing import Any

import pytest

from data.recipe import Recipe
from models.config import NetworkConfig
from training.config import TrainConfig

SMALL = NetworkConfig(shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8)
CONFIG = TrainConfig(
    "tiny", Recipe("tiny", samples=96, first_index=7, shape=(16, 16, 16)), network=SMALL, epochs=3,
    batches_per_epoch=5, batch_size=6,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation_samples": 0}, "validation_samples must be at least 1, got 0"),
        ({"calibration_samples": 3}, "calibration_samples must be at least 4, got 3"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batches_per_epoch": 0}, "batches_per_epoch must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"parts": "encoder"}, "parts must be one of all, proposal, reader, answers, got 'encoder'"),
        ({"precision": "16"}, "precision must be one of 32-true, bf16-mixed, got '16'"),
        (
            {"parts": "reader", "network": replace(SMALL, design="unet")},
            "parts must be all for the design unet, got 'reader'",
        ),
        (
            {"parts": "all", "network": replace(SMALL, first_stage="search")},
            "parts must be reader or answers where the first stage is a search, got 'all'",
        ),
        ({"reflections": ()}, "reflections must be numbers from 1 to batch_size / 2 = 3"),
        ({"reflections": (1, 0)}, "reflections must be numbers from 1 to batch_size / 2 = 3"),
        ({"reflections": (4,)}, r"reflections must be numbers from 1 to batch_size / 2 = 3, got \(4,\)"),
        ({"workers": -1}, "workers must not be negative, got -1"),
        ({"first_batch": -1}, "first_batch must not be negative, got -1"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative, got -1"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative, got -0.1"),
        ({"minutes": 0.0}, "minutes must be positive, got 0.0"),
        ({"network": NetworkConfig()}, r"network.shape must equal recipe.shape \(16, 16, 16\), got \(32, 32, 32\)"),
        (
            {"epochs": 4},
            r"recipe.samples must cover \(first_batch \+ epochs x batches_per_epoch\) x batch_size = 120, got 96",
        ),
    ],
)
def test_malformed_configurations_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)


def test_a_later_stage_sets_aside_what_an_earlier_one_has_seen() -> None:
    """Its own batches follow, and all of them must be covered."""
    assert replace(CONFIG, first_batch=1).drawn == 96
    with pytest.raises(ValueError, match="x batch_size = 102, got 96"):
        replace(CONFIG, first_batch=2)


def test_a_stored_set_need_not_cover_the_epochs() -> None:
    """It is seen again and again."""
    assert replace(CONFIG, epochs=4, dataset="somewhere").drawn == 120


def test_validation_crystals_lie_behind_every_training_crystal() -> None:
    """Splits are by crystal: the last index that training can reach comes before the first of validation."""
    behind = CONFIG.validation_recipe
    last = CONFIG.recipe.first_index + CONFIG.drawn - 1
    assert last < behind.first_index == 7 + 96
    assert behind.samples == CONFIG.validation_samples
    assert replace(behind, first_index=7, samples=96) == CONFIG.recipe


def test_a_batch_holds_as_many_exposures_whatever_the_reflections() -> None:
    assert [CONFIG.crystals(n) for n in (1, 2, 3)] == [6, 3, 2]
