"""A training run: it learns, resumes where it was, stops when told, saves what predicts, and claims its folder."""

import csv
import signal
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace

import lightning
import pytest
import torch
import yaml

from cdi.config import read_config, to_dict
from cdi.main import main
from data.generation import generate
from data.recipe import Recipe
from data.sampling import draw_samples
from models.checkpoint import load, save
from models.config import NetworkConfig
from models.predictor import Predictor
from training.config import TrainConfig
from training.module import DefectModule
from training.run import LAST, calibrated_anew, train
from training.targets import Targets

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)

CONFIG = TrainConfig(
    "tiny",
    Recipe("tiny", samples=24, seed=3, shape=(16, 16, 16)),
    network=NetworkConfig(
        shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2, dropout=0.1
    ),
    reflections=(1, 2),
    validation_samples=4,
    calibration_samples=8,
    epochs=3,
    batches_per_epoch=2,
    batch_size=4,
    warmup_steps=1,
    workers=0,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train(CONFIG, folder)
    return folder


def curve(folder: Path) -> dict[tuple[int, str], float]:
    """Every logged value by epoch and name, over all starts of a run."""
    found = {}
    for path in sorted(folder.glob("log/version_*/metrics.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                values = {(int(row["epoch"]), name): float(x) for name, x in row.items() if "/" in name and x}
                found.update(values)
    return found


def test_a_run_leaves_a_checkpoint_that_predicts(finished: Path) -> None:
    """With the configuration that made it beside it and inside it, and a calibration of its own."""
    checkpoint = load(finished / "model.safetensors")
    assert checkpoint.training["config"] == to_dict(CONFIG)
    assert (checkpoint.training["epochs"], checkpoint.training["exposures"]) == (3, 24)
    assert read_config(TrainConfig, finished / "config.yaml") == CONFIG
    assert checkpoint.calibration.novelty_limit > 0
    assert checkpoint.weights["familiar_precision"].any()
    samples = draw_samples(replace(CONFIG.recipe, reflection_count=2), 0)
    (prediction,) = Predictor.load(finished / "model.safetensors", "cpu").predict_crystals(
        [[sample.exposure for sample in samples]]
    )
    assert 0 <= prediction.defect_probability <= 1
    assert prediction.phase.shape == (2, 8, 8, 8)


def test_a_killed_run_ends_as_if_it_had_not_been(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its second epoch and started again: the same crystals, schedule, optimiser, weights and curve."""
    step, seen = DefectModule.training_step, []

    def dying(self: DefectModule, batch: Targets, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 1 and batch_idx == 1:
            raise RuntimeError("killed")
        return step(self, batch, batch_idx)

    def watching(self: DefectModule, batch: Targets, batch_idx: int) -> torch.Tensor:
        seen.append((self.current_epoch, batch_idx))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(DefectModule, "training_step", dying)
    with pytest.raises(RuntimeError, match="killed"):
        train(CONFIG, tmp_path)
    assert (tmp_path / LAST).exists()
    assert load(tmp_path / "model.safetensors").training["epochs"] == 1
    monkeypatch.setattr(DefectModule, "training_step", watching)
    train(CONFIG, tmp_path)
    assert seen == [(1, 0), (1, 1), (2, 0), (2, 1)]
    whole, resumed = load(finished / "model.safetensors"), load(tmp_path / "model.safetensors")
    for key, value in whole.weights.items():
        assert torch.equal(resumed.weights[key], value), key
    assert resumed.calibration == whole.calibration
    assert curve(tmp_path) == curve(finished)
    assert {epoch for epoch, _ in curve(finished)} == {0, 1, 2}
    assert {"train/loss", "validation/loss", "validation/accuracy"} <= {name for _, name in curve(finished)}


def test_confidences_are_fitted_anew_and_nothing_else(finished: Path, tmp_path: Path) -> None:
    """By the command, on the crystals that the training set aside: as the training did, whatever was there before."""
    made = load(finished / "model.safetensors")
    other, anew = tmp_path / "other.safetensors", tmp_path / "anew.safetensors"
    save(replace(made, calibration=replace(made.calibration, temperature=3.0, winding_sigma=0.9)), other)
    assert main(["calibrate", str(other), "--output", str(anew)]) == 0
    found = load(anew)
    assert found.calibration == made.calibration
    assert found.training == made.training
    assert found.weights.keys() == made.weights.keys()
    for name, values in made.weights.items():
        torch.testing.assert_close(found.weights[name], values)
    assert main(["calibrate", str(other), "--output", str(anew)]) == 2  # it is there already


def test_weights_in_half_precision_answer_alike_from_a_smaller_file(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, small = finished / "model.safetensors", tmp_path / "small.safetensors"
    assert main(["calibrate", str(model), "--half", "--output", str(small), "--no-progress"]) == 0
    capsys.readouterr()
    assert small.stat().st_size < 0.8 * model.stat().st_size
    whole, rounded = load(model), load(small)
    assert rounded.weights.keys() == whole.weights.keys()
    for name, values in whole.weights.items():
        stays = values.dim() < 2 or name.startswith("familiar")
        assert rounded.weights[name].dtype == (values.dtype if stays else torch.float16)
        if not name.startswith("familiar"):
            torch.testing.assert_close(rounded.weights[name].float(), values.float(), rtol=2**-11, atol=1e-7)
    assert rounded.calibration.temperature == pytest.approx(whole.calibration.temperature, rel=0.02)
    # Fitted to the rounded weights; once more changes nothing.
    again = tmp_path / "again.safetensors"
    calibrated_anew(str(small), again, None)
    assert load(again).calibration == rounded.calibration
    assert all(torch.equal(load(again).weights[name], values) for name, values in rounded.weights.items())


def test_where_confidences_cannot_be_written_none_are_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.run.calibrated_anew", lambda *_, **__: pytest.fail("minutes of work for nothing"))
    assert main(["calibrate", "default", "--output", str(tmp_path / "missing" / "anew.safetensors")]) == 2
    assert "must lie in an existing directory" in capsys.readouterr().err


def test_what_answers_nothing_has_no_confidence_to_fit(finished: Path, tmp_path: Path) -> None:
    made = load(finished / "model.safetensors")
    path = tmp_path / "model.safetensors"
    save(replace(made, training={}), path)
    with pytest.raises(ValueError, match="must carry its training configuration"):
        calibrated_anew(str(path), path, None)
    config = {**made.training["config"], "parts": "proposal"}
    save(replace(made, training={**made.training, "config": config}), path)
    with pytest.raises(ValueError, match="a first stage alone"):
        calibrated_anew(str(path), path, None)


def test_a_training_can_be_sent_to_the_processes_that_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a budget and without."""
    sent: list[bytes] = []

    def fit(self: lightning.Trainer, module: DefectModule, **_: object) -> None:
        sent.append(bytes(ForkingPickler.dumps(module)))
        raise KeyboardInterrupt

    monkeypatch.setattr(lightning.Trainer, "fit", fit)
    for name, config in (("timed", replace(CONFIG, minutes=1.0)), ("free", CONFIG)):
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / name)
    assert len(sent) == 2


@pytest.mark.parametrize(("workers", "inside"), [(2, 1), (0, 3)])
def test_beside_workers_a_gpus_training_leaves_them_the_cores(
    workers: int, inside: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gives its threads back."""
    found: list[int] = []

    def fit(self: lightning.Trainer, module: DefectModule, **_: object) -> None:
        found.append(torch.get_num_threads())
        raise KeyboardInterrupt

    monkeypatch.setattr(lightning.Trainer, "fit", fit)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(replace(CONFIG, workers=workers), tmp_path)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert found == [inside]


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
    before = load(finished / "model.safetensors")
    train(CONFIG, finished)
    after = load(finished / "model.safetensors")
    assert all(torch.equal(before.weights[key], after.weights[key]) for key in before.weights)
    assert before.calibration == after.calibration


def test_a_folder_of_another_configuration_is_refused(finished: Path) -> None:
    """Untouched."""
    before = (finished / "config.yaml").read_text()
    with pytest.raises(ValueError, match=r"must be empty or hold a run of this configuration"):
        train(replace(CONFIG, learning_rate=0.1), finished)
    assert (finished / "config.yaml").read_text() == before


def test_the_resume_file_is_plain(finished: Path) -> None:
    """Nothing in it needs unpickling of code."""
    state = torch.load(finished / LAST, weights_only=True)
    assert state["epoch"] == 2
    assert yaml.safe_load((finished / "config.yaml").read_text())["epochs"] == 3


def test_a_spent_budget_ends_a_run_complete(tmp_path: Path) -> None:
    """In the middle of an epoch: what it has learned is saved and calibrated, and the rate has come to its end."""
    train(replace(CONFIG, minutes=1e-6), tmp_path)
    checkpoint = load(tmp_path / "model.safetensors")
    assert checkpoint.training["epochs"] == 1
    assert checkpoint.training["exposures"] == CONFIG.batch_size
    assert checkpoint.calibration.novelty_limit > 0
    fresh = DefectModule(CONFIG).network.state_dict()
    assert any(not torch.equal(fresh[key], value) for key, value in checkpoint.weights.items())


def test_the_learning_rate_ends_with_the_budget() -> None:
    """A budget half spent is a cosine half done, whatever the steps say."""
    module = DefectModule(replace(CONFIG, minutes=1.0, warmup_steps=0))
    module.trainer = SimpleNamespace(world_size=1, strategy=SimpleNamespace(broadcast=float))  # type: ignore[assignment]
    schedule = module.configure_optimizers()["lr_scheduler"]["scheduler"]
    spent = [0.0, 0.5, 1.0, 2.0]
    found = []
    for share in spent:
        module.spent = lambda share=share: share  # type: ignore[misc]
        found.append(schedule.lr_lambdas[0](1) if share else schedule.lr_lambdas[0](0))
    assert found == pytest.approx([1.0, 0.51, 0.02, 0.02])


def test_patience_ends_a_run_that_no_longer_gains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses 1, 2, 3 … with a patience of two: three epochs of nine."""

    def worse(self: DefectModule, batch: Targets, batch_idx: int) -> None:
        self.log("validation/loss", 1.0 + self.current_epoch, batch_size=len(batch))

    monkeypatch.setattr(DefectModule, "validation_step", worse)
    config = replace(CONFIG, epochs=9, patience=2, batches_per_epoch=1, recipe=replace(CONFIG.recipe, samples=36))
    train(config, tmp_path)
    assert load(tmp_path / "model.safetensors").training["epochs"] == 3


def test_a_stored_set_trains_and_validates_on_sides_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last crystals are validated on, all of them and the same in every epoch, and never trained on."""
    stored = replace(CONFIG.recipe, samples=13, reflection_count=2, samples_per_file=13)
    generate(stored, tmp_path / "set", progress=False)
    seen: dict[str, list[tuple[int, frozenset[float]]]] = {"training": [], "validation": []}

    def watched(name: str) -> None:
        step = getattr(DefectModule, f"{name}_step")

        def watching(self: DefectModule, batch: Targets, batch_idx: int) -> torch.Tensor:
            found = frozenset(batch.patterns.counts[:, 0].double().sum((1, 2, 3)).tolist())
            seen[name].append((self.current_epoch, found))
            return step(self, batch, batch_idx)

        monkeypatch.setattr(DefectModule, f"{name}_step", watching)

    watched("training")
    watched("validation")
    train(replace(CONFIG, dataset=str(tmp_path / "set")), tmp_path / "run")
    sides = {
        name: [set().union(*(found for at, found in batches if at == epoch)) for epoch in range(3)]
        for name, batches in seen.items()
    }
    assert sides["validation"][0] == sides["validation"][1] == sides["validation"][2]
    assert len(sides["validation"][0]) == 4
    assert len(set().union(*sides["training"])) == 9
    assert not set().union(*sides["training"]) & sides["validation"][0]


def test_the_reader_learns_on_a_first_stage_that_workers_ask(tmp_path: Path) -> None:
    """In mixed precision as well; the first stage that came in goes out bit for bit."""
    first = train(replace(CONFIG, parts="proposal", epochs=1), tmp_path / "first")
    config = replace(CONFIG, parts="reader", epochs=1, initial=str(first), workers=1, precision="bf16-mixed", seed=4)
    second = train(config, tmp_path / "second")
    before, after = load(first), load(second)
    assert not before.calibration.novelty_limit  # it answers nothing yet
    for key, value in before.weights.items():
        if key.startswith(("design.", "proposal_head.")):
            assert torch.equal(after.weights[key], value), key
    assert not torch.equal(after.weights["reader.fine.0.weight"], before.weights["reader.fine.0.weight"])
    assert all(value.isfinite().all() for value in after.weights.values())


class Noted(lightning.Callback):
    """Writes which crystals each process sees, and a fingerprint of its weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_start(self, trainer: lightning.Trainer, module: DefectModule, batch: Targets, at: int) -> None:
        with (self.folder / f"rank{trainer.global_rank}.txt").open("a") as file:
            for total in batch.patterns.counts.double().sum((1, 2, 3, 4)).tolist():
                file.write(f"{total}\n")

    def on_train_end(self, trainer: lightning.Trainer, module: DefectModule) -> None:
        total = sum(float(p.detach().double().abs().sum()) for p in module.network.parameters())
        (self.folder / f"weights{trainer.global_rank}.txt").write_text(f"{total!r} {trainer.global_step}")


@pytest.mark.slow
def test_two_processes_share_the_crystals_and_the_weights(tmp_path: Path) -> None:
    """Gloo on two processes: no crystal in both, equal weights after every step, half the steps."""
    config = replace(CONFIG, batches_per_epoch=4, epochs=1)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, strategy="ddp_spawn", callbacks=[Noted(tmp_path)], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(DefectModule(config))
    seen = [(tmp_path / f"rank{rank}.txt").read_text().split() for rank in range(2)]
    assert [len(crystals) for crystals in seen] == [4 + 4, 2 + 2]
    assert not set(seen[0]) & set(seen[1])
    weights = [(tmp_path / f"weights{rank}.txt").read_text() for rank in range(2)]
    assert weights[0] == weights[1]
    assert weights[0].endswith(" 2")
