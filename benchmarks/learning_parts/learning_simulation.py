"""Publishes stored patterns with their truth, one a period: ``mpiexec -n 2 python learning_simulation.py TASK.json``.

The patterns are those of crystals of one kind, in the order of the file, again and again, each time as a crystal that
has been met: what is held out stays so.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

STOP = "stop"
PUBLISHED = "published.json"


def main(task: dict[str, Any]) -> None:
    from mpi4py import MPI

    from inference_insitu import Variable, attach

    given = np.load(task["patterns"])
    counts, told = given["counts"], json.loads(str(given["told"]))
    output = Path(task["output"])
    variables = {"pattern": Variable("float32", counts.shape[1:])}
    with attach(MPI.COMM_WORLD, task["config"], variables=variables, output=output) as coupling:
        step, due_s, longest_s = 0, time.monotonic(), 0.0
        while not (output / STOP).exists():
            number = step % len(counts)
            started_s = time.monotonic()
            coupling.publish("pattern", counts[number], step, told[number])
            coupling.end_step(step)
            longest_s = max(longest_s, time.monotonic() - started_s)
            step += 1
            due_s = max(due_s + task["period_s"], started_s)
            time.sleep(max(0.0, due_s - time.monotonic()))
        (output / PUBLISHED).write_text(json.dumps({"steps": step, "longest_call_s": longest_s}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
