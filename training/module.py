"""The Lightning module: network, loss, schedule, and the streams of crystals."""

import math
from dataclasses import replace
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.drawn import DrawnSamples, EpochSampler
from data.recipe import Recipe
from data.symmetry import AxisSymmetry
from models.checkpoint import load
from models.network import DefectNet
from models.preprocess import features
from training.config import TrainConfig
from training.losses import losses
from training.targets import Targets, collate, targets

UNKNOWN_GEOMETRY = 0.1
"""Fraction of training exposures whose geometry is withheld, so that patterns without one are answered too."""


class DrawnTargets(Dataset[Targets]):
    """Targets of drawn samples; with ``symmetry_seed`` each in one of the 48 orientations of its axes."""

    def __init__(self, recipe: Recipe, symmetry_seed: int | None = None) -> None:
        self.samples = DrawnSamples(recipe)
        self.symmetry_seed = symmetry_seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Targets:
        if self.symmetry_seed is None:
            return targets(self.samples[index])
        generator = np.random.default_rng([self.symmetry_seed, index])
        symmetry = AxisSymmetry.draw(generator)
        return targets(self.samples[index], symmetry, hide_geometry=generator.random() < UNKNOWN_GEOMETRY)


class DefectModule(lightning.LightningModule):
    """Trains ``DefectNet`` on crystals that it never sees twice."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        torch.manual_seed(config.seed)
        self.network = DefectNet(config.network)
        if config.initial is not None:
            _start_from(self.network, config.initial)
        # On a CPU 3D convolutions run faster with the channels last; the result is the same.
        self.network.to(memory_format=torch.channels_last_3d)

    def transfer_batch_to_device(self, batch: Targets, device: torch.device, dataloader_idx: int) -> Targets:
        """Move a ``Targets`` batch."""
        return batch.to(device)

    def training_step(self, batch: Targets, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        # Dropout draws from the global stream: a step's draws must not depend on where the run resumed.
        torch.manual_seed(self.config.seed + self.global_step)
        return self._step(batch, "train")

    def validation_step(self, batch: Targets, batch_idx: int) -> Tensor:
        """Loss and class accuracy of one batch of crystals never trained on."""
        return self._step(batch, "validation")

    def _step(self, batch: Targets, stage: str) -> Tensor:
        output = self.network(features(batch.counts), batch.geometry)
        loss = losses(output, batch, self.config.loss)
        determined = batch.determined.sum().clamp_min(1)
        hit = (output.class_logits.argmax(-1) == batch.defect).float()
        any_hit = ((output.class_logits.argmax(-1) > 0) == (batch.defect > 0)).float()
        values = {
            "loss": loss.total,
            "defect": loss.defect.sum() / determined,
            "line": loss.line.sum() / determined,
            "support": loss.support.mean(),
            "phase": loss.phase.mean(),
            "accuracy": (hit * batch.determined).sum() / determined,
            "any_accuracy": (any_hit * batch.determined).sum() / determined,
        }
        size = len(batch.counts)
        self.log_dict({f"{stage}/{k}": v for k, v in values.items()}, batch_size=size, on_step=False, on_epoch=True)
        if stage == "train":
            self.log("loss", loss.total, prog_bar=True, logger=False, batch_size=size)
        return loss.total

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate warms up, then falls along a cosine over the planned steps."""
        config = self.config
        optimizer = torch.optim.AdamW(self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        total = config.epochs * math.ceil(config.samples_per_epoch / config.batch_size)

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
            return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> DataLoader[Targets]:
        """New crystals every epoch."""
        config = self.config
        sampler = EpochSampler(config.recipe.samples, config.samples_per_epoch)
        return self._loader(DrawnTargets(config.recipe, config.seed), sampler)

    def val_dataloader(self) -> DataLoader[Targets]:
        """Always the same crystals, behind the last that training can reach."""
        return self._loader(DrawnTargets(self.config.validation_recipe), None)

    def classifier_dataloader(self) -> DataLoader[Targets]:
        """The crystals behind those of the epochs."""
        config = self.config
        first = config.recipe.first_index + config.drawn_in_epochs
        recipe = replace(config.recipe, first_index=first, samples=config.classifier_samples)
        return self._loader(DrawnTargets(recipe, config.seed), None)

    def _loader(self, dataset: Dataset[Targets], sampler: EpochSampler | None) -> DataLoader[Targets]:
        config = self.config
        return DataLoader(
            dataset, config.batch_size, sampler=sampler, collate_fn=collate, num_workers=config.workers,
            persistent_workers=config.workers > 0, prefetch_factor=4 if config.workers else None,
            worker_init_fn=_one_thread,
        )  # fmt: skip


def _start_from(network: DefectNet, initial: str) -> None:
    """Load the weights of a checkpoint into the parts of ``network`` that bear their names."""
    try:
        result = network.load_state_dict(load(initial).weights, strict=False)
    except RuntimeError as error:
        raise ValueError(f"initial must fit the network's sizes: {error}") from error
    if result.unexpected_keys:
        raise ValueError(f"initial must fit the network; it also holds {', '.join(result.unexpected_keys)}")


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
