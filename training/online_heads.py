"""Fine-tuning of the layers that answer, on what they see of frames of a run and of the replay."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cdi.requirements import require, require_positive, require_within
from models.checkpoint import load, save
from models.network import DefectNet
from training.calibration import familiarise
from training.online_features import Seen

ANSWERING = ("hidden", "classifier", "counter")
"""The parts of ``DefectNet`` that learn; the normalisation's statistics stay."""


@dataclass(frozen=True)
class HeadConfig:
    """How the layers learn.

    Parameters
    ----------
    epochs : over the run's frames.
    batch_size : frames of the run in a batch, and as many of the replay.
    learning_rate : of Adam.
    near : weight of the squared distance from the weights that it starts from.
    count_weight : of the loss of the count beside that of the class.
    set_apart : share of the crystals by which the epoch is chosen.
    """

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 5e-4
    near: float = 4.0
    count_weight: float = 0.25
    set_apart: float = 0.2

    def __post_init__(self) -> None:
        require(1 <= self.epochs <= 10_000, "epochs", "lie in [1, 10000]", self.epochs)
        require(1 <= self.batch_size <= 4096, "batch_size", "lie in [1, 4096]", self.batch_size)
        require_positive(self, "learning_rate")
        require_within(self, 0.0, 1e6, "near", "count_weight")
        require(0 < self.set_apart < 1, "set_apart", "lie in (0, 1)", self.set_apart)


def fine_tuned(model: str, run: Seen, replay: Seen, path: Path, config: HeadConfig, *, seed: int) -> None:
    """Write the checkpoint ``model``, its answering layers fine-tuned, to ``path``.

    Raises
    ------
    ValueError
        If there are too few crystals to set some apart, or the loss is not finite.
    """
    checkpoint = load(model)
    network = DefectNet(checkpoint.network)
    network.load_state_dict(checkpoint.weights)
    network.eval()
    ours, ours_apart = _split(run, config, seed)
    theirs, theirs_apart = _split(replay, config, seed)
    best = _learn(network, (ours, theirs), (ours_apart, theirs_apart), config, seed)
    network.load_state_dict(best)
    with torch.no_grad():
        everything = torch.cat([part.features for part in (ours, ours_apart, theirs, theirs_apart)])
        limit = familiarise(network, network.hidden(everything).double())
    # The temperatures stay: fitted to a run whose crystals are alike, they would make all others' answers too sure.
    calibration = replace(checkpoint.calibration, novelty_limit=limit if checkpoint.calibration.novelty_limit else 0.0)
    told = {**checkpoint.training, "online": {"of": checkpoint.name, "frames": len(run), "replay": len(replay)}}
    name = f"{checkpoint.name.partition(' online')[0]} online {seed}"
    save(replace(checkpoint, name=name, weights=network.state_dict(), calibration=calibration, training=told), path)


def _learn(
    network: DefectNet, learnt: tuple[Seen, Seen], apart: tuple[Seen, Seen], config: HeadConfig, seed: int
) -> dict[str, Tensor]:
    """The weights of the epoch of least loss on what is ``apart``; of none, those at the beginning."""
    weights = {name: value for name, value in network.named_parameters() if name.startswith(ANSWERING)}
    start = {name: value.detach().clone() for name, value in weights.items()}
    optimizer = torch.optim.Adam(weights.values(), config.learning_rate)
    generator = np.random.default_rng(seed)
    least, best = _loss_on(network, apart, config), _kept(network)
    for _ in range(config.epochs):
        order = generator.permutation(len(learnt[0]))
        for first in range(0, len(order), config.batch_size):
            rows = order[first : first + config.batch_size]
            others = generator.integers(len(learnt[1]), size=len(rows))
            away = torch.stack([(value - start[name]).square().sum() for name, value in weights.items()]).sum()
            parts = learnt[0].rows(rows.tolist()), learnt[1].rows(others.tolist())
            loss = torch.stack([_loss(network, part, config) for part in parts]).mean() + config.near * away
            if not torch.isfinite(loss):
                raise ValueError(f"the loss must be finite, got {float(loss)}; lower head.learning_rate")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if (now := _loss_on(network, apart, config)) < least:
            least, best = now, _kept(network)
    return best


def _loss(network: DefectNet, seen: Seen, config: HeadConfig) -> Tensor:
    hidden = network.hidden(seen.features)
    classes = cross_entropy(network.classifier(hidden), seen.defect)
    return classes + config.count_weight * cross_entropy(network.counter(hidden), seen.count)


@torch.no_grad()
def _loss_on(network: nn.Module, parts: tuple[Seen, Seen], config: HeadConfig) -> float:
    assert isinstance(network, DefectNet)
    return float(np.mean([float(_loss(network, part, config)) for part in parts]))


def _kept(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _split(seen: Seen, config: HeadConfig, seed: int) -> tuple[Seen, Seen]:
    """To learn from, and set apart; no crystal on both sides."""
    names, place = np.unique(np.asarray(seen.groups), return_inverse=True)
    number = max(1, round(config.set_apart * len(names)))
    if len(names) < 2:
        raise ValueError(f"frames must be of at least 2 crystals to set one apart, got {len(names)}")
    apart = np.isin(place, np.random.default_rng(seed).permutation(len(names))[:number])
    return seen.rows(np.flatnonzero(~apart).tolist()), seen.rows(np.flatnonzero(apart).tolist())
