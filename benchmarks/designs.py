"""Which design of network learns most in a fixed time? Each from scratch, on the same stream of crystals. JSON lines.

    python benchmarks/designs.py [--designs '[tokens, unet, fourier, unrolled]'] [--minutes 6] [--crystals 200]

The budget is processor time of one thread, the crystals' simulation included: a cheaper design sees more of them. One
exposure a crystal, the distribution of examples/recipes/crystals.yaml; then temperatures and thresholds are fitted on
256 crystals, and each design answers the same test crystals of tier T1. Intervals: 95 % bootstrap over crystals.
"""

import math
import time
from dataclasses import replace
from pathlib import Path

import torch
from jsonargparse import auto_cli
from machine import emit, machine

from cdi.config import read_config
from data.drawn import DrawnCrystals
from data.recipe import Recipe
from models.checkpoint import Checkpoint
from models.config import DESIGNS, NetworkConfig
from models.network import DefectNet
from models.predictor import Predictor
from training.batches import DrawnTargets, calibration_batches
from training.calibration import calibrate
from training.config import TrainConfig
from training.evaluation import evaluate, tables
from training.losses import losses, proposal_losses
from training.network_method import NetworkMethod
from training.targets import Targets
from training.tiers import STANDARD

RECIPE = Path(__file__).parents[1] / "examples/recipes/crystals.yaml"


def main(
    designs: tuple[str, ...] = DESIGNS, minutes: float = 6.0, crystals: int = 200, seed: int = 0, batch_size: int = 16
) -> None:
    torch.set_num_threads(1)
    emit(benchmark="designs", machine=machine(), minutes_of_one_thread=minutes, seed=seed,
         test={"tier": "T1", "seed": STANDARD.seed, "crystals": crystals}, batch_size=batch_size)  # fmt: skip
    recipe = read_config(Recipe, RECIPE)
    methods = []
    for design in designs:
        config = TrainConfig(design, recipe, network=NetworkConfig(design=design), reflections=(1,), seed=seed,
                             batch_size=batch_size, calibration_samples=256, workers=0)  # fmt: skip
        network, seen, loss = trained(config, 60 * minutes)
        emit(design=design, parameters=sum(p.numel() for p in network.parameters()), exposures=seen, last_loss=loss)
        calibration = calibrate(network, calibration_batches(config))
        checkpoint = Checkpoint(design, config.network, network.state_dict(), calibration)
        methods.append(NetworkMethod(Predictor.of(checkpoint, "0" * 64, "cpu"), design))
    test = DrawnCrystals(replace(STANDARD, samples=crystals, reflection_count=1))
    for row, scores in tables(evaluate(methods, test, tier="T1"))["T1"].items():
        for name, value in scores.items():
            emit(method=row, score=name, value=value.value, low=value.low, high=value.high, crystals=value.crystals)


def trained(config: TrainConfig, seconds: float) -> tuple[DefectNet, int, float]:
    """A network after so many seconds of this process, the exposures that it saw, its mean loss over the last tenth."""
    torch.manual_seed(config.seed)
    network = DefectNet(config.network).to(memory_format=torch.channels_last_3d).train()
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    stream = DrawnTargets(config, volumes_here=True)
    start, step, history = time.process_time(), 0, []
    while (spent := (time.process_time() - start) / seconds) < 1:
        batch = stream[step]
        assert isinstance(batch, Targets)
        # Warm up over fifty steps, then a cosine over the time, as in a training run.
        rate = min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * spent)))
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate
        output = network(batch.patterns, 1 + step % config.network.passes)
        total = losses(output, batch, config.loss).total
        if output.proposal is not None:
            total = total + config.loss.proposal * proposal_losses(output.proposal, batch, config.loss)
        optimizer.zero_grad()
        torch.autograd.backward(total)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        history.append(float(total.detach()))
        step += 1
    tail = history[-max(1, len(history) // 10) :]
    return network.eval(), step * config.batch_size, sum(tail) / len(tail)


if __name__ == "__main__":
    auto_cli(main)
