"""The Lightning module: network, loss, schedule, and the streams of crystals."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler

from data.dataset import StoredCrystals
from models.checkpoint import load
from models.network import DefectNet, NetworkOutput
from training.batches import (
    DrawnTargets,
    EpochBatches,
    FixedCrystals,
    Raw,
    StoredTargets,
    finished,
    first_place,
    loader,
    propose,
)
from training.config import TrainConfig
from training.losses import Losses, losses, proposal_losses
from training.near_objects import near_objects
from training.replay import Replayed, newly_labelled
from training.targets import Targets

UNKNOWN_GEOMETRY = 0.1
"""Fraction of crystals of one exposure whose geometry is withheld, so that patterns without one are answered too."""


class DefectModule(lightning.LightningModule):
    """Trains ``DefectNet`` on crystals that it never sees twice."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        torch.manual_seed(config.seed)
        self.network = DefectNet(config.network)
        if config.initial is not None:
            start_from(self.network, config.initial)
        _freeze(self.network, config.parts)
        # On a CPU 3D convolutions run faster with the channels last, on a GPU a tenth slower; the result is the same.
        if not torch.cuda.is_available():
            self.network.to(memory_format=torch.channels_last_3d)
        self.answer = torch.compile(self.network) if config.compiled else self.network
        self.spent: Callable[[], float] = _without_budget
        """Share of a wall-clock budget that is used up; goes to the processes that share a training."""

    def transfer_batch_to_device(self, batch: Raw, device: torch.device, dataloader_idx: int) -> Targets:
        """Targets on ``device``: moved there, or made there."""
        with torch.no_grad():
            return finished(batch, device)

    def training_step(self, batch: Targets, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        if self.config.parts in ("reader", "answers"):
            self.network.design.eval()  # what is frozen neither learns nor drops out
        # Dropout draws from the global stream: a step's draws must not depend on where the run resumed.
        torch.manual_seed(self.config.seed + self.global_step)
        if self.config.uses > 1:
            batch = newly_labelled(batch)
        return self._step(_some_unknown(batch), "train")

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """A gradient that is not finite is set to zero: it would end the run. How many there were is logged."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        bad = not bool(torch.nn.utils.get_total_norm(gradients).isfinite())
        if bad:
            for gradient in gradients:
                gradient.zero_()
        self.log("train/skipped", float(bad), on_step=False, on_epoch=True, reduce_fx="sum")

    def validation_step(self, batch: Targets, batch_idx: int) -> Tensor:
        """Loss and scores of one batch of crystals never trained on."""
        return self._step(batch, "validation")

    def _step(self, batch: Targets, stage: str) -> Tensor:
        if self.config.parts == "proposal":
            proposal = propose(self.network, batch.patterns)
            total = proposal_losses(proposal, batch, self.config.loss)
            self._log(stage, len(batch), {"loss": total})
            return total
        passes = self.config.network.passes
        # Every pass must be good to go on from: the number of passes that a step learns from is drawn.
        number = 1 + int(torch.randint(passes, ())) if stage == "train" else passes
        first = batch.proposal
        if first is None and self.config.network.first_stage == "search":
            # The same objects in every validation, others at every step.
            first = near_objects(batch, self.global_step if stage == "train" else 0)
        output: NetworkOutput = self.answer(batch.patterns, number, first)
        terms = losses(output, batch, self.config.loss)
        total = terms.total
        if self.config.parts == "all" and output.proposal is not None:
            own = proposal_losses(output.proposal, batch, self.config.loss)
            total = total + self.config.loss.proposal * own
        self._log(stage, len(batch), {"loss": total, **_scores(output, terms, batch)})
        return total

    def _log(self, stage: str, size: int, values: dict[str, Tensor]) -> None:
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self.log_dict(named, batch_size=size, on_step=False, on_epoch=True, sync_dist=self.trainer.world_size > 1)
        if stage == "train":
            self.log("loss", values["loss"], prog_bar=True, logger=False, batch_size=size)

    def configure_optimizers(self) -> Any:
        """AdamW; the rate warms up, then falls along a cosine over the planned steps or, if less, the budget."""
        config = self.config
        trained = [p for p in self.network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, config.learning_rate, weight_decay=config.weight_decay)
        total = config.epochs * config.batches_per_epoch * config.uses // self.trainer.world_size

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
            # Devices that share the weights must agree on the rate.
            spent = float(self.trainer.strategy.broadcast(self.spent())) if config.minutes and step else 0.0
            done = min(1.0, max(step / total, spent))
            return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> "DataLoader[Raw] | Replayed":
        """New crystals every epoch, each seen as often as the configuration says."""
        config, trainer = self.config, self.trainer
        sampler = EpochBatches(config.batches_per_epoch, trainer.global_rank, trainer.world_size, config.first_batch)
        # A run that resumes asks for its first batch before it tells the sampler where it is.
        sampler.set_epoch(trainer.fit_loop.epoch_progress.current.processed)
        if config.dataset is not None:
            crystals = StoredCrystals(config.dataset)
            kept = range(len(crystals) - config.validation_samples)
            return self._replayed(loader(StoredTargets(config, crystals, kept), sampler, config.workers))
        # A proposal made beside the targets has been seen in one labelling, and workers have no GPU.
        beside = self._on_cpu and config.uses == 1
        asks = config.network.first_stage == "network" and config.parts in ("reader", "answers")
        frozen = self.network if beside and asks and config.workers else None
        drawn = DrawnTargets(config, volumes_here=self._volumes_by_workers, frozen=frozen, proposals_here=beside)
        return self._replayed(loader(drawn, sampler, config.workers))

    def val_dataloader(self) -> "DataLoader[Raw]":
        """Always the same crystals, behind the last that training can reach."""
        config = self.config
        if config.dataset is not None:
            crystals = StoredCrystals(config.dataset)
            first = len(crystals) - config.validation_samples
            stored = StoredTargets(config, crystals, range(first, len(crystals)))
            numbers = range(next(n for n in count() if first_place(config, n) >= config.validation_samples))
            return loader(stored, SequentialSampler(numbers), config.workers)
        fixed = FixedCrystals(config.validation_recipe, config, volumes_here=self._volumes_by_workers)
        return loader(fixed, SequentialSampler(fixed), config.workers)

    def _replayed(self, source: "DataLoader[Raw]") -> "DataLoader[Raw] | Replayed":
        return source if self.config.uses == 1 else Replayed(source, self.config.uses, self._on_device)

    @torch.no_grad()
    def _on_device(self, raw: Raw, number: int) -> Targets:
        """What is learned from several times is moved, and led astray from its truth, but once."""
        targets = finished(raw, self.trainer.strategy.root_device)
        if self.config.network.first_stage == "search" and targets.proposal is None:
            return replace(targets, proposal=near_objects(targets, number))
        return targets

    @property
    def _on_cpu(self) -> bool:
        return bool(self.trainer.strategy.root_device.type == "cpu")

    @property
    def _volumes_by_workers(self) -> bool:
        """Else the training's device makes them, a crystal after the other in this process."""
        return self._on_cpu or self.config.workers > 0


def _without_budget() -> float:
    return 0.0


def start_from(network: DefectNet, initial: str) -> None:
    """Load the weights of a checkpoint into the parts of ``network`` that bear their names.

    Raises
    ------
    ValueError
        If a part has another size, or the checkpoint holds parts that the network lacks.
    """
    try:
        result = network.load_state_dict(load(initial).weights, strict=False)
    except RuntimeError as error:
        raise ValueError(f"initial must fit the network's sizes: {error}") from error
    if result.unexpected_keys:
        raise ValueError(f"initial must fit the network; it also holds {', '.join(result.unexpected_keys)}")


PROPOSAL = ("design.", "proposal_head.")
ANSWERS = ("winding_head.", "hidden.", "classifier.", "counter.")
"""Beginnings of the names of what the first stage learns, and of what answers from finished volumes."""


def _freeze(network: DefectNet, parts: str) -> None:
    for name, parameter in network.named_parameters():
        learns = {
            "all": True,
            "proposal": name.startswith(PROPOSAL),
            "reader": not name.startswith(PROPOSAL),
            "answers": name.startswith(ANSWERS),
        }
        parameter.requires_grad_(learns[parts])


def _some_unknown(batch: Targets) -> Targets:
    """Targets with the geometry of some crystals of one exposure withheld, drawn from torch's global stream."""
    patterns = batch.patterns
    if patterns.present.shape[1] > 1:
        return batch
    known = torch.rand(len(batch), device=patterns.voxel.device) >= UNKNOWN_GEOMETRY
    # The first stage, where it has answered already, has seen it; what learns has not.
    hidden = replace(patterns, G=patterns.G * known[:, None, None], voxel=patterns.voxel * known[:, None, None])
    return replace(batch, patterns=hidden)


def _scores(output: NetworkOutput, terms: Losses, batch: Targets) -> dict[str, Tensor]:
    determined = batch.determined.sum().clamp_min(1)
    hit = (output.class_logits.argmax(-1) == batch.defect).float()
    any_hit = ((output.class_logits.softmax(-1)[:, 0] < 0.5) == (batch.defect > 0)).float()
    return {
        "defect": terms.defect.sum() / determined,
        "count": terms.count.mean(),
        "line": terms.line.mean(),
        "winding": terms.winding.mean(),
        "support": terms.support.mean(),
        "phase": terms.phase.mean(),
        "accuracy": (hit * batch.determined).sum() / determined,
        "any_accuracy": (any_hit * batch.determined).sum() / determined,
        "count_accuracy": (output.count_logits.argmax(-1) == batch.count).float().mean(),
    }
