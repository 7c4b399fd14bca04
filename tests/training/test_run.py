"""A training run: it learns, resumes where it was, saves what predicts, and claims its folder."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from cdi.config import read_config, to_dict
from data.recipe import Recipe
from models.checkpoint import load
from models.config import NetworkConfig
from models.predictor import Predictor
from training.config import LossWeights, TrainConfig
from training.module import DefectModule, DrawnTargets
from training.run import LAST, train

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)

CONFIG = TrainConfig(
    "tiny",
    Recipe("tiny", samples=32, seed=3, shape=(16, 16, 16)),
    NetworkConfig(shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2),
    LossWeights(),
    validation_samples=4,
    epochs=2,
    samples_per_epoch=8,
    batch_size=4,
    warmup_steps=1,
    workers=0,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train(CONFIG, folder)
    return folder


def test_a_run_leaves_a_checkpoint_that_predicts(finished: Path) -> None:
    """With the configuration that made it beside it and inside it."""
    checkpoint = load(finished / "model.safetensors")
    assert checkpoint.training["config"] == to_dict(CONFIG)
    assert (checkpoint.training["epochs"], checkpoint.training["crystals"]) == (2, 16)
    assert read_config(TrainConfig, finished / "config.yaml") == CONFIG
    (prediction,) = Predictor.load(finished / "model.safetensors", "cpu").predict(
        [DrawnTargets(CONFIG.recipe).samples[0].exposure]
    )
    assert 0 <= prediction.defect_probability <= 1


def test_a_killed_run_ends_as_if_it_had_not_been(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its second epoch and started again: the same crystals, schedule, optimiser, and weights."""
    step, seen = DefectModule.training_step, []

    def dying(self: DefectModule, batch: object, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1 and batch_idx == 1:
            raise RuntimeError("killed")
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    def watching(self: DefectModule, batch: object, batch_idx: int) -> torch.Tensor:
        seen.append((self.current_epoch, batch_idx))
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(DefectModule, "training_step", dying)
    with pytest.raises(RuntimeError, match="killed"):
        train(CONFIG, tmp_path)
    assert (tmp_path / LAST).exists()
    monkeypatch.setattr(DefectModule, "training_step", watching)
    train(CONFIG, tmp_path)
    assert seen == [(1, 0), (1, 1)]
    whole, resumed = load(finished / "model.safetensors"), load(tmp_path / "model.safetensors")
    for key, value in whole.weights.items():
        torch.testing.assert_close(resumed.weights[key], value, atol=1e-6, rtol=1e-5)


def test_an_interrupt_is_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C leaves no weights that would pass for trained ones, and reaches the command line as what it was."""

    def interrupted(self: DefectModule, batch: object, batch_idx: int) -> torch.Tensor:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(DefectModule, "training_step", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, tmp_path)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_finished_run_started_again_changes_nothing(finished: Path) -> None:
    before = load(finished / "model.safetensors").weights
    train(CONFIG, finished)
    after = load(finished / "model.safetensors").weights
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_folder_of_another_configuration_is_refused(finished: Path) -> None:
    """Untouched."""
    before = (finished / "config.yaml").read_text()
    with pytest.raises(ValueError, match=r"must be empty or hold a run of this configuration"):
        train(replace(CONFIG, learning_rate=0.1), finished)
    assert (finished / "config.yaml").read_text() == before


def test_a_run_that_saw_half_its_budget_is_resumed_from_a_plain_file(finished: Path) -> None:
    """Nothing in the resume file needs unpickling of code."""
    state = torch.load(finished / LAST, weights_only=True)
    assert state["epoch"] == 1
    assert yaml.safe_load((finished / "config.yaml").read_text())["epochs"] == 2


def test_the_network_can_learn() -> None:
    """A few steps on one batch lower its loss to less than 0.95 of the start: gradients reach what they should."""
    module = DefectModule(replace(CONFIG, learning_rate=3e-3))
    module.log_dict = module.log = lambda *arguments, **options: None  # type: ignore[method-assign]
    batch = next(iter(module.train_dataloader()))
    optimizer = torch.optim.AdamW(module.network.parameters(), 3e-3)
    values = []
    for _ in range(8):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.95 * values[0]
    assert all(parameter.grad is not None for parameter in module.network.parameters())


def test_a_run_may_start_from_another_runs_weights(finished: Path) -> None:
    """``initial`` fills the parts it names; weights of another size are refused."""
    module = DefectModule(replace(CONFIG, initial=str(finished / "model.safetensors"), seed=9))
    for key, value in load(finished / "model.safetensors").weights.items():
        assert torch.equal(module.network.state_dict()[key], value)
    wider = replace(CONFIG.network, width=16)
    with pytest.raises(ValueError, match="initial must fit the network"):
        DefectModule(replace(CONFIG, network=wider, initial=str(finished / "model.safetensors")))


def test_validation_crystals_lie_behind_every_training_crystal() -> None:
    """Splits are by crystal: the index ranges are disjoint, and the same crystals come every time."""
    recipe, behind = CONFIG.recipe, CONFIG.validation_recipe
    assert behind.first_index == recipe.first_index + recipe.samples
    first = DrawnTargets(behind)[0]
    assert torch.equal(first.counts, DrawnTargets(behind)[0].counts)
    assert not torch.equal(first.counts, DrawnTargets(recipe)[0].counts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"workers": -1}, "workers and warmup_steps must not be negative"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"minutes": 0.0}, "minutes must be positive"),
        ({"network": NetworkConfig()}, "network.shape must equal recipe.shape"),
        ({"epochs": 5}, "recipe.samples must cover epochs x samples_per_epoch [+] classifier_samples = 40"),
    ],
)
def test_malformed_configurations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **change)  # type: ignore[arg-type]
