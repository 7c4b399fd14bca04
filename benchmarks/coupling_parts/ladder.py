"""One rank of the ladder: arms in turn, block by block, in one job.

Every arm has its own coupling (placement ``process``), and all of them live through the whole run, so that each sees
the same machine. Simulation ranks share all cores but the last, workers have the last one.
"""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from cdi.config import read_object
from inference_insitu import Coupling, CouplingConfig, Variable, attach

WARM_UP = 5
"""Steps at the beginning of every block that are not counted: the arm before left the caches in its own state."""


def main(given: dict[str, Any]) -> None:
    world = MPI.COMM_WORLD
    side = round((given["bytes"] / 4) ** (1 / 3))
    pattern = np.random.default_rng(world.rank).exponential(10.0, (side,) * 3).astype(np.float32)
    cores = sorted(os.sched_getaffinity(0))
    arms = {}
    for name, arm in given["arms"].items():
        os.sched_setaffinity(0, {cores[-1]})  # what attach starts stays there
        config = arm.get("config")
        arms[name] = None if config is None else attached(world, config, name, pattern.shape, Path(given["output"]))
    os.sched_setaffinity(0, set(cores[:-1]) or set(cores))
    work = Work(given["work"], given["step_s"])
    spare = np.ones((4, *pattern.shape), np.float32)
    steps: dict[str, list[float]] = {name: [] for name in arms}
    calls: dict[str, list[float]] = {name: [] for name in arms}
    number = 0
    for block in range(given["blocks"]):
        order = list(arms)
        order = order[block % len(order) :] + order[: block % len(order)]
        for name in order:
            world.Barrier()
            for index in range(WARM_UP + given["block_steps"]):
                started = time.perf_counter()
                work()
                worked = time.perf_counter()
                number += 10
                couple(given["arms"][name], arms[name], pattern, number, spare)
                ended = time.perf_counter()
                if index >= WARM_UP:
                    steps[name].append(ended - started)
                    calls[name].append(ended - worked)
    largest = {name: (maximum(world, steps[name]), maximum(world, calls[name])) for name in arms}
    for coupling in arms.values():
        if coupling is not None:
            coupling.close()
    if world.rank == 0:
        Path(given["result"]).write_text(json.dumps({name: list(pair) for name, pair in largest.items()}))


class Work:
    """A step of the simulation: asleep, or computing (sweeps through 1 MB) for as long, by a calibrated count."""

    def __init__(self, kind: str, seconds: float, sweeps: int | None = None) -> None:
        self._kind, self._seconds = kind, seconds
        self._field = np.ones(1 << 17)
        self.sweeps = sweeps or 1
        if kind == "compute" and sweeps is None:
            started = time.perf_counter()
            for _ in range(500):
                self._sweep()
            self.sweeps = max(1, round(500 * seconds / (time.perf_counter() - started)))

    def __call__(self) -> None:
        if self._kind == "sleep":
            time.sleep(self._seconds)
            return
        for _ in range(self.sweeps):
            self._sweep()

    def _sweep(self) -> None:
        self._field *= 0.999
        self._field += 0.001


def attached(world: Any, config: dict[str, Any], name: str, shape: tuple[int, ...], output: Path) -> Coupling:
    return attach(
        world,
        read_object(CouplingConfig, config, origin=name),
        variables={"pattern": Variable("float32", shape)},
        output=output / name,
    )


def couple(arm: dict[str, Any], coupling: Coupling | None, pattern: np.ndarray, number: int, spare: np.ndarray) -> None:
    """What an arm does at the end of a step; ``number`` counts in tens, for the frames of a burst."""
    if arm["does"] == "copy":
        np.copyto(spare[number // 10 % len(spare)], pattern)
    if coupling is None:
        return
    if arm["does"] == "publish" and number // 10 % arm.get("every", 1) == 0:
        for index in range(arm.get("frames", 1)):
            coupling.publish("pattern", pattern, number + index)
    coupling.end_step(number)


def maximum(world: Any, seconds: list[float]) -> list[float]:
    mine, largest = np.asarray(seconds), np.empty(len(seconds))
    world.Allreduce(mine, largest, MPI.MAX)
    return [float(value) for value in largest]


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(json.loads(Path(sys.argv[1]).read_text()))
