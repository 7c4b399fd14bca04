"""Samples per second from a recipe: to disk by processes and by MPI ranks, and on the fly. JSON lines.

    python benchmarks/generation.py [--samples 200] [--voxels 32] [--writers '[1, 2]'] [--seed 0]

Each arm to disk draws the same samples from start to end as a user does; ``seconds_start``, that of a data
set of one sample, is left out of the rates. ``per_core`` divides by the writers; ``speedup`` is against one
process in the same run. Where the start outweighs the samples no rate is given. Without a disk: one by one, as
training draws (``data.drawn``), and in batches made and kept on a device (``data.drawn_batches``). Without an MPI
launcher beside the interpreter those arms are left out.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jsonargparse import auto_cli
from machine import emit, machine

from cdi.config import write_config
from data.recipe import Recipe

LAUNCHER = Path(sys.executable).parent / "mpiexec"
BATCH = 16


def main(samples: int = 200, voxels: int = 32, writers: tuple[int, ...] = (1, 2), seed: int = 0) -> None:
    recipe = Recipe("benchmark", samples, seed=seed, samples_per_file=8, shape=(voxels, voxels, voxels))
    emit(benchmark="generation", machine=machine(), samples=samples, voxels=voxels, seed=seed)
    drawn = on_the_fly(recipe)
    emit(route="on the fly, one process", samples_per_second=round(samples / drawn, 3))
    for device in devices():
        seconds = in_batches(recipe, device)
        emit(route=f"on the fly, batches of {BATCH} on {device}", samples_per_second=round(samples / seconds, 3),
             of_on_the_fly=round(drawn / seconds, 3))  # fmt: skip
    routes = {"processes": [sys.executable, "-m", "cdi"]}
    if LAUNCHER.is_file():
        routes["MPI ranks"] = [str(LAUNCHER), "-n", "{writers}", sys.executable, "-m", "cdi"]
    alone: float | None = None
    for route, launch in routes.items():
        for count in writers:
            start = min(to_disk(recipe, 1, launch, count) for _ in range(2))
            whole = to_disk(recipe, samples, launch, count)
            seconds = {"seconds": round(whole, 2), "seconds_start": round(start, 2)}
            if whole < 1.2 * start:
                emit(route=f"to disk, {count} {route}", **seconds, samples_per_second=None,
                     reason="the start outweighs the samples: draw more of them")  # fmt: skip
                continue
            rate = (samples - 1) / (whole - start)
            alone = rate if alone is None and count == 1 else alone
            emit(route=f"to disk, {count} {route}", **seconds, samples_per_second=round(rate, 3),
                 per_core=round(rate / count, 3), speedup=alone and round(rate / alone, 3),
                 of_on_the_fly=round(rate / (samples / drawn), 3))  # fmt: skip


def on_the_fly(recipe: Recipe) -> float:
    """Seconds to draw every sample in this process on one thread."""
    import torch

    from data.drawn import DrawnSamples

    torch.set_num_threads(1)
    source = DrawnSamples(recipe)
    source[0]  # the first call loads what is loaded lazily
    start = time.perf_counter()
    for index in range(len(source)):
        source[index]
    return time.perf_counter() - start


def devices() -> list[str]:
    """Where batches can be made."""
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def in_batches(recipe: Recipe, device: str) -> float:
    """Seconds to make every sample in batches that stay on ``device``."""
    from data.drawn_batches import DrawnBatches

    next(iter(DrawnBatches(recipe, BATCH, device=device)))
    start = time.perf_counter()
    photons = sum(float(batch.counts.sum()) for batch in DrawnBatches(recipe, BATCH, device=device))
    assert photons > 0  # reading a number waits for the device
    return time.perf_counter() - start


def to_disk(recipe: Recipe, samples: int, launch: list[str], writers: int) -> float:
    """Seconds of the whole command for the first ``samples`` of the recipe."""
    with tempfile.TemporaryDirectory() as directory:
        write_config(recipe, Path(directory) / "recipe.yaml")
        command = [part.format(writers=writers) for part in launch]
        options = [] if "-n" in launch and writers > 1 else ["--processes", str(writers)]
        start = time.perf_counter()
        subprocess.run(
            [*command, "generate", f"{directory}/recipe.yaml", f"samples={samples}", "--output", f"{directory}/set",
             "--no-progress", *options],
            check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return time.perf_counter() - start


if __name__ == "__main__":
    auto_cli(main)
