"""Publishes a frame a period on every rank: ``mpiexec -n 5 python simulation.py TASK.json``."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main(task: dict[str, Any]) -> None:
    from mpi4py import MPI

    from inference_insitu import Variable, attach

    output, frame, calls = Path(task["output"]), np.zeros(task["bytes"] // 8), []
    variables = {"frame": Variable("float64", frame.shape)}
    with attach(MPI.COMM_WORLD, task["config"], variables=variables, output=output) as coupling:
        for step in range(task["steps"]):
            started_s = time.monotonic()
            coupling.publish("frame", frame, step)
            coupling.end_step(step)
            calls.append((started_s, time.monotonic() - started_s))
            time.sleep(max(0.0, started_s + task["period_s"] - time.monotonic()))
        np.save(output / f"calls-{coupling.simulation_comm.rank}.npy", np.array(calls))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
