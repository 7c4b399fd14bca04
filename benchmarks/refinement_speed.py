"""Seconds that `cdi refine` takes for one pattern, by device: the retrieval it starts from, and its fits. JSON lines.

    python benchmarks/refinement_speed.py [--sizes '[32,64]'] [--devices '[cpu]'] [--starts 10] [--iterations 80]
                                          [--threads 1] [--seed 0]

One reflection of a strained gold crystal with an edge dislocation, counted. The starts are the best three runs of a
retrieval, as the command takes them; all hypotheses that it asks are fitted, and the free object. ``lines`` is how many
it tells. A small retrieval and refinement goes before, so that no device's first calls are counted. Seconds are of wall
time.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from machine import emit, machine
from retrieval import simulated

from cdi.pattern import Exposure
from cdi.refinement.config import RefinementConfig
from cdi.refinement.refinement import Refinement, refine
from cdi.refinement.start import StartObject
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.phase_retrieval import retrieve

WINDINGS = ((-1,), (1,))
"""Of perfect Burgers vectors in the reflection 111."""
KEPT = 3
WARM_UP_SIZE = 24


def main(
    sizes: tuple[int, ...] = (32, 64),
    devices: tuple[str, ...] = ("cpu",),
    starts: int = 10,
    iterations: int = RefinementConfig.iterations,
    threads: int = 1,
    seed: int = 0,
) -> None:
    torch.set_num_threads(threads)
    emit(
        benchmark="refinement_speed",
        machine=machine(),
        starts=starts,
        iterations=iterations,
        threads=threads,
        seed=seed,
    )
    config = RefinementConfig(iterations=iterations)
    for device in devices:
        pattern = simulated(WARM_UP_SIZE, seed)[1]["counted"]
        refined(pattern, retrieved(pattern, 1, "HIO 40, ER 20", device), RefinementConfig(iterations=5), device)
    for size in sizes:
        pattern = simulated(size, seed)[1]["counted"]
        for device in devices:
            began = time.perf_counter()
            begun = retrieved(pattern, starts, RetrievalConfig.schedule, device)
            fitting = time.perf_counter()
            asked: list[str] = []
            found = refined(pattern, begun, config, device, asked)
            ended = time.perf_counter()
            emit(
                size=size,
                device=device,
                retrieval_s=round(fitting - began, 2),
                refinement_s=round(ended - fitting, 2),
                seconds=round(ended - began, 2),
                fits=len(asked),
                **told(found),
            )


def retrieved(exposure: Exposure, starts: int, schedule: str, device: str) -> list[StartObject]:
    kept = min(KEPT, starts)
    config = RetrievalConfig(schedule, starts=starts, best=kept, free_fraction=RefinementConfig.free_fraction)
    found = retrieve([exposure], config, generator=torch.Generator().manual_seed(0), device=device)
    support = torch.as_tensor(found.support).any(0)
    return [StartObject(f"run {n + 1}", torch.as_tensor(run), support) for n, run in enumerate(found.runs)]


def refined(
    exposure: Exposure, starts: Sequence[StartObject], config: RefinementConfig, device: str,
    asked: list[str] | None = None,
) -> Refinement:  # fmt: skip
    names = [] if asked is None else asked
    return refine(
        [exposure], starts, config, generator=torch.Generator().manual_seed(0), windings=WINDINGS, device=device,
        begin=lambda name, more: names.append(name),
    )  # fmt: skip


def told(found: Refinement) -> dict[str, Any]:
    return {
        "object": found.object_kind,
        "free_deviance": round(found.object_fit.free_deviance, 4),
        "lines": len(found.lines),
        "line_errors_voxels": [round(line.error, 4) for line in found.lines],
        "middles_voxels": [np.round(line.corners.mean(0).numpy(), 2).tolist() for line in found.lines],
    }


if __name__ == "__main__":
    auto_cli(main)
