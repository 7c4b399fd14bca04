"""Publishes frames at a fixed rate until it is told to stop: ``mpiexec -n 2 python simulation.py TASK.json``.

A task has episodes, each a coupling of its own with a folder of its own: a run that is stopped and started again has
several. Times are those of ``time.monotonic``.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

STOP, GO, CALLS = "stop", "go", "calls.npy"


def main(task: dict[str, Any]) -> None:
    from mpi4py import MPI

    calls: list[tuple[float, float, float]] = []
    for episode in task["episodes"]:
        try:
            play(MPI.COMM_WORLD, task, episode, calls)
        except SystemExit as end:  # a rank given up for inference has served
            if end.code:
                raise
    if calls:
        np.save(task["calls"], np.array(calls))


def play(world: Any, task: dict[str, Any], episode: dict[str, Any], calls: list[tuple[float, float, float]]) -> None:
    """One coupling; adds (step, when, seconds of publish and end_step) for each step."""
    from inference_insitu import Variable, attach

    output, frame = Path(episode["output"]), np.zeros(task["bytes"] // 8)
    with attach(
        world, task["config"], variables={"frame": Variable("float64", frame.shape)}, output=output
    ) as coupling:
        while episode["waits"] and not (output / GO).exists():
            time.sleep(0.005)
        due_s = time.monotonic()
        while not (output / STOP).exists():
            step = len(calls)
            frame[:2] = step
            started_s = time.monotonic()
            coupling.publish("frame", frame, step)
            coupling.end_step(step)
            calls.append((step, started_s, time.monotonic() - started_s))
            due_s = max(due_s + task["period_s"], started_s)
            time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
