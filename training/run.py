"""Run a training: progress, resuming, a wall-clock budget, and the checkpoint at its end."""

import json
import platform
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, Timer, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger

from cdi.config import to_dict, write_config
from models.checkpoint import Checkpoint, load, save
from training.calibration import calibrate
from training.classifier import fit_classifier
from training.config import TrainConfig
from training.module import DefectModule

LAST = "last.ckpt"


class SaveWeights(Callback):
    """The network as a shippable checkpoint after every epoch, with what trained it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save ``model.safetensors`` (validation runs at the end of each epoch)."""
        if trainer.sanity_checking or not isinstance(module, DefectModule) or not trainer.is_global_zero:
            return
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
    callbacks: list[Callback] = [saver, keep, TQDMProgressBar(refresh_rate=5)]
    if config.minutes is not None:
        callbacks.append(Timer(timedelta(minutes=config.minutes), interval="epoch"))
    trainer = lightning.Trainer(
        max_epochs=config.epochs, accelerator="auto", devices="auto", callbacks=callbacks,
        logger=CSVLogger(output, name="log"), gradient_clip_val=1.0, enable_model_summary=False,
        log_every_n_steps=10, num_sanity_val_steps=0, default_root_dir=output,
    )  # fmt: skip
    try:
        trainer.fit(DefectModule(config), ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as stop:  # how the trainer ends after Ctrl-C
        raise KeyboardInterrupt from stop
    finish(saver.path, config)
    return saver.path


def finish(path: Path, config: TrainConfig) -> None:
    """Fit the classifier anew (where asked) and the calibration on validation crystals, and save again."""
    checkpoint = load(path)
    module = DefectModule(config)
    module.network.load_state_dict(checkpoint.weights)
    module.network.to("cuda" if torch.cuda.is_available() else "cpu")
    if config.classifier_samples:
        fit_classifier(module.network, module.classifier_dataloader(), seed=config.seed)
        checkpoint = replace(checkpoint, weights=module.network.state_dict())
    save(replace(checkpoint, calibration=calibrate(module.network, module.val_dataloader())), path)


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
    return {
        "config": to_dict(config),
        "epochs": trainer.current_epoch + 1,
        "crystals": (trainer.current_epoch + 1) * config.samples_per_epoch,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        if not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "metrics": json.loads(json.dumps(metrics)),
    }
