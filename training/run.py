"""Run a training: progress, resuming, a wall-clock budget, and the checkpoint at its end."""

import json
import os
import platform
import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, Timer, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from cdi.config import read_object, to_dict, write_config
from cdi.progress import progress_bar
from models.checkpoint import Calibration, Checkpoint, halved, load, save
from models.network import DefectNet
from models.searched_stage import SearchedStage, Searcher
from training.batches import calibration_batches
from training.calibration import calibrate
from training.config import TrainConfig
from training.module import DefectModule

LAST = "last.ckpt"
NODES_VARIABLE = "SLURM_STEP_NUM_NODES"
"""How many nodes the tasks are on that srun started; without it, one."""


class SaveWeights(Callback):
    """The network as a shippable checkpoint, with what trained it: after every epoch, and where a budget ends one."""

    def __init__(self, path: Path) -> None:
        self.path, self._saved = path, 0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """What a resumed run starts from is saved."""
        self._saved = trainer.global_step

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save ``model.safetensors`` (validation runs at the end of each epoch)."""
        if not trainer.sanity_checking:
            self._save(trainer, module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save what an unfinished last epoch has learned."""
        if trainer.global_step != self._saved:
            self._save(trainer, module)

    def _save(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if not isinstance(module, DefectModule) or not trainer.is_global_zero:
            return
        self._saved = trainer.global_step
        facts = _facts(trainer, module.config)
        checkpoint = Checkpoint(module.config.name, module.config.network, module.network.state_dict(), training=facts)
        save(checkpoint, self.path)


def train(config: TrainConfig, output: Path) -> Path:
    """Train and return the path of ``model.safetensors`` in ``output``.

    A run that was killed continues from its last epoch when started again with the same
    configuration; the optimiser, the schedule and the stream of crystals go on as they were.

    Raises
    ------
    ValueError
        If ``output`` holds a run of another configuration.
    """
    output.mkdir(parents=True, exist_ok=True)
    _claim(output, config)
    last = output / LAST
    saver = SaveWeights(output / "model.safetensors")
    keep = ModelCheckpoint(output, filename="last", save_top_k=1, monitor=None, enable_version_counter=False)
    shown = sys.stdout.isatty()
    callbacks: list[Callback] = [saver, keep, *([TQDMProgressBar(refresh_rate=5)] if shown else [])]
    module = DefectModule(config)
    if config.minutes is not None:
        budget = timedelta(minutes=config.minutes)
        timer = Timer(budget, interval="step")
        callbacks.append(timer)
        module.spent = partial(_spent, timer, budget)
    if config.patience is not None:
        callbacks.append(EarlyStopping("validation/loss", patience=config.patience))
    trainer = lightning.Trainer(
        max_epochs=config.epochs, accelerator="auto", devices="auto", callbacks=callbacks, logger=_loggers(output),
        precision=config.precision, gradient_clip_val=1.0, enable_model_summary=False, log_every_n_steps=10,
        num_sanity_val_steps=0, default_root_dir=output, use_distributed_sampler=False, enable_progress_bar=shown,
        num_nodes=int(os.environ.get(NODES_VARIABLE, 1)), benchmark=torch.cuda.is_available(),
    )  # fmt: skip
    threads = torch.get_num_threads()
    if torch.cuda.is_available() and config.workers:
        torch.set_num_threads(1)  # the other cores belong to those that draw
    try:
        trainer.fit(module, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as stop:  # how the trainer ends after Ctrl-C
        raise KeyboardInterrupt from stop
    finally:
        torch.set_num_threads(threads)
    if config.parts != "proposal":  # the first stage alone answers nothing
        calibrate_on(config, load(saver.path), saver.path, progress=shown)
    return saver.path


def calibrated_anew(
    model: str, output: Path, objects: str | None, *, half: bool = False, progress: bool = False
) -> Calibration:
    """The checkpoint ``model`` saved at ``output`` with its confidences fitted again; what they are.

    For weights that are asked in another way than when they were trained: with another search, say. ``objects`` is the
    folder in which a search keeps what it finds; ``half`` rounds the weights before (``models.checkpoint.halved``).

    Raises
    ------
    ValueError
        If the checkpoint does not carry its training's configuration, or its first stage alone was trained.
    """
    checkpoint = halved(load(model)) if half else load(model)
    told = {**checkpoint.training_config, "objects": objects}
    config = read_object(TrainConfig, told, origin=f"model {model!r}")
    if config.parts == "proposal":
        raise ValueError(f"model {model!r} must answer, got a first stage alone; train a reader on it")
    return calibrate_on(config, checkpoint, output, progress=progress)


def calibrate_on(config: TrainConfig, checkpoint: Checkpoint, path: Path, *, progress: bool) -> Calibration:
    """Fit the calibration on crystals that neither training nor validation has seen, and save with it at ``path``."""
    network = DefectNet(config.network)
    network.load_state_dict(checkpoint.weights)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    stage = None
    if config.network.first_stage == "search":
        folder = None if config.objects is None else Path(config.objects)
        stage = SearchedStage(network, Searcher(config.network.search, folder))
    batches = progress_bar(None, "batch", "calibrate", shown=progress, over=calibration_batches(config))
    calibration = calibrate(network, batches, stage)
    # Rounded weights are stored as they came, though the network holds them in single precision.
    weights = {name: value.to(checkpoint.weights[name].dtype) for name, value in network.state_dict().items()}
    save(replace(checkpoint, weights=weights, calibration=calibration), path)
    return calibration


def _spent(timer: Timer, budget: timedelta) -> float:
    return float(timer.time_elapsed() / budget.total_seconds())


def _loggers(output: Path) -> list[Logger]:
    """CSV always, TensorBoard where it is installed."""
    loggers: list[Logger] = [CSVLogger(output, name="log")]
    if find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(output, name="tensorboard"))
    return loggers


def _claim(output: Path, config: TrainConfig) -> None:
    """Write the resolved configuration, or check that the run in ``output`` is this one."""
    path = output / "config.yaml"
    if path.exists():
        import yaml

        if yaml.safe_load(path.read_text()) != to_dict(config):
            raise ValueError(f"{output} must be empty or hold a run of this configuration; its config.yaml differs")
    write_config(config, path)


def _facts(trainer: lightning.Trainer, config: TrainConfig) -> dict[str, Any]:
    metrics = {key: round(float(value), 5) for key, value in trainer.callback_metrics.items()}
    batches = trainer.global_step * trainer.world_size
    return {
        "config": to_dict(config),
        "epochs": -(-batches // (config.batches_per_epoch * config.uses)),
        "exposures": batches * config.batch_size,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "metrics": json.loads(json.dumps(metrics)),
    }
