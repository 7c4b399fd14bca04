"""The classifier is fitted anew; the rest of the network stays as it was."""

from dataclasses import replace

import pytest
import torch

from data.recipe import Recipe
from models.config import NetworkConfig
from training.classifier import fit_classifier
from training.config import TrainConfig
from training.module import DefectModule
from training.targets import Targets

CONFIG = TrainConfig(
    "tiny",
    Recipe("tiny", samples=200, seed=5, shape=(16, 16, 16), hidden_fraction=0.0, strain_rad=(0.0, 0.2)),
    NetworkConfig((16, 16, 16), 8, 16, 1, 2),
    epochs=1,
    samples_per_epoch=8,
    batch_size=16,
    workers=0,
    classifier_samples=160,
)


def test_only_the_classifier_changes_and_it_learns() -> None:
    """Defect or none is told better than by the prior on the fitted crystals; the volumes' weights are untouched."""
    torch.set_num_threads(1)
    module = DefectModule(CONFIG)
    before = {key: value.clone() for key, value in module.network.state_dict().items()}
    batches: list[Targets] = list(module.classifier_dataloader())
    fit_classifier(module.network, batches, seed=0)  # type: ignore[arg-type]
    after = module.network.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if not key.startswith("classifier"))
    from models.preprocess import features

    with torch.inference_mode():
        answers = [module.network(features(b.counts), b.geometry).class_logits.argmax(-1) > 0 for b in batches]
    truth = torch.cat([b.defect > 0 for b in batches])
    assert float((torch.cat(answers) == truth).float().mean()) > float(truth.float().mean()) + 0.1


def test_the_classifier_sees_crystals_of_its_own() -> None:
    """Its indices follow those of the epochs and end before validation."""
    samples = DefectModule(CONFIG).classifier_dataloader().dataset.samples.recipe  # type: ignore[attr-defined]
    assert samples.first_index == CONFIG.recipe.first_index + CONFIG.drawn_in_epochs
    assert samples.first_index + samples.samples <= CONFIG.validation_recipe.first_index


def test_too_few_crystals_for_it_are_refused() -> None:
    """The recipe must hold the crystals of epochs and classifier."""
    with pytest.raises(ValueError, match="must cover epochs"):
        replace(CONFIG, classifier_samples=193)
