"""Exposures a second that are simulated and learned from, and how long the device waits for data. JSON lines.

    python benchmarks/training_throughput.py [--run examples/train.yaml] [--workers '[0,1,2]'] [--batches 24]
                                             [--device cpu] [--overrides '[batch_size=12,precision=32-true]']

simulator  one process, one thread: choices alone, and up to finished targets, made by the processor and by the device.
step       the network's training step on batches that are already on the device.
loop       ``cdi train``'s own loop: exposures a second, and the shares of its time that pass in waiting for the loader
           (``waiting``), in making or moving targets (``moving``) and in the step. Not counted are the first batches,
           which start the workers and, where each batch is learned from several times, precede its last use.

A configuration for a GPU wants precision=32-true on a CPU: without arithmetic for bf16 a step takes tens of times as
long.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightning
import torch
from jsonargparse import auto_cli
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import SimpleProfiler
from machine import emit, machine
from torch.utils.data import DataLoader

from cdi.config import read_config
from training.batches import DrawnTargets, finished
from training.config import TrainConfig
from training.module import DefectModule
from training.replay import LATER
from training.targets import Targets

SECTIONS = ("simulator", "step", "loop")
WAITING, MOVING, STEP = "train_dataloader_next", "batch_to_device", "run_training_batch"
"""How Lightning's profiler names what a loop does."""
FIRST = 4
"""Batches that are not counted: workers start, kernels are chosen."""


def main(
    sections: tuple[str, ...] = SECTIONS,
    run: str = "examples/train.yaml",
    workers: tuple[int, ...] = (0, 1, 2),
    batches: int = 24,
    device: str = "cpu",
    overrides: tuple[str, ...] = (),
) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    # A checkpoint to start from does not change the speed, and need not be there.
    chosen = replace(read_config(TrainConfig, run, list(overrides)), initial=None)
    emit(benchmark="training_throughput", machine=machine(), config=run, device=device, batches=batches,
         threads=torch.get_num_threads(), reflections=chosen.reflections, batch_size=chosen.batch_size)  # fmt: skip
    if "simulator" in sections:
        simulator(chosen, device)
    if "step" in sections:
        step(chosen, batches, device)
    if "loop" in sections:
        for number in workers:
            loop(chosen, number, batches, device)


def simulator(config: TrainConfig, device: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for reflections in sorted(set(config.reflections)):
        stream = DrawnTargets(replace(config, reflections=(reflections,)), volumes_here=False)
        exposures = config.crystals(reflections) * reflections
        finished(stream[0], device)  # transforms are planned, lattices found
        begin = time.perf_counter()
        raw = stream[1]
        chosen = time.perf_counter() - begin
        finished(raw, device)
        _wait(device)
        whole = time.perf_counter() - begin
        by_processor = DrawnTargets(replace(config, reflections=(reflections,)), volumes_here=True)
        begin = time.perf_counter()
        by_processor[1]
        here = time.perf_counter() - begin
        emit(section="simulator", reflections=reflections, choices_per_s=round(exposures / chosen, 1),
             processor_exposures_per_s=round(exposures / here, 1),
             device_exposures_per_s=round(exposures / whole, 1))  # fmt: skip
    torch.set_num_threads(threads)


def step(config: TrainConfig, batches: int, device: str) -> None:
    """One ready batch for each number of reflections, again and again."""
    stream = DrawnTargets(config, volumes_here=True, proposals_here=False)
    ready = [finished(stream[number], device) for number in range(len(config.reflections))]
    times = _fit(config, batches, FIRST, device, [ready[number % len(ready)] for number in range(batches + FIRST)])
    mean = sum(len(batch) * batch.patterns.present.shape[1] for batch in ready) / len(ready)
    emit(section="step", exposures_per_s=round(mean / (sum(times[STEP]) / len(times[STEP])), 1))


def loop(config: TrainConfig, workers: int, batches: int, device: str) -> None:
    first = FIRST if config.uses == 1 else FIRST + sum(1 + n // LATER for n in range((config.uses - 1) * LATER))
    drawn = first + batches  # more than are asked for: the epoch does not end within the count
    times = _fit(replace(config, workers=workers, batches_per_epoch=drawn, epochs=1), batches, first, device, None)
    mean = sum(config.crystals(r) * r for r in config.reflections) / len(config.reflections)
    total = sum(times["whole"])
    shares = {
        name: round(sum(times[key]) / total, 3)
        for name, key in (("waiting", WAITING), ("moving", MOVING), ("step", STEP))
    }
    learned = mean * batches / total
    emit(section="loop", workers=workers, uses=config.uses, exposures_per_s=round(learned, 1),
         new_exposures_per_s=round(learned / config.uses, 1), **shares)  # fmt: skip


class _Whole(Callback):
    """Seconds from the end of the ``first`` batches to the end of the last."""

    def __init__(self, device: str, first: int) -> None:
        self.device, self.first, self.begin, self.end = device, first, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == self.first - 1:
            _wait(self.device)
            self.begin = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        _wait(self.device)
        self.end = time.perf_counter()


def _fit(
    config: TrainConfig, batches: int, first: int, device: str, ready: Sequence[Targets] | None
) -> dict[str, list[float]]:
    """Seconds of every counted event by its name in the profiler; ``batches`` after the ``first``."""
    profiler, whole = SimpleProfiler(), _Whole(device, first)
    trainer = lightning.Trainer(
        max_epochs=1, limit_train_batches=batches + first, limit_val_batches=0, profiler=profiler, callbacks=[whole],
        accelerator="gpu" if device.startswith("cuda") else "cpu", devices=1, precision=config.precision,
        gradient_clip_val=1.0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, benchmark=device.startswith("cuda"),
    )  # fmt: skip
    module = DefectModule(config)
    trainer.fit(module, train_dataloaders=None if ready is None else DataLoader(ready, None))
    times = {
        key: [second for name, seconds in profiler.recorded_durations.items() if name.endswith(key) or key in name
              for second in seconds[first:][:batches]]
        for key in (WAITING, MOVING, STEP)
    }  # fmt: skip
    return {**times, "whole": [whole.end - whole.begin]}


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    auto_cli(main)
