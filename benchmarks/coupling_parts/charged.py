"""One rank of a fixed amount of work, with or without its share of the cores."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ladder import Work
from mpi4py import MPI

from cdi.config import read_object
from inference_insitu import CouplingConfig, Variable, attach


def main(given: dict[str, Any]) -> None:
    world = MPI.COMM_WORLD
    cores = sorted(os.sched_getaffinity(0))
    pattern = np.random.default_rng(world.rank).exponential(10.0, (given["bytes"] // 4,)).astype(np.float32)
    coupling = None
    if given["config"] is not None:
        os.sched_setaffinity(0, {cores[-1]})
        coupling = attach(
            world,
            read_object(CouplingConfig, given["config"], origin="charged"),
            variables={"pattern": Variable("float32", pattern.shape)},
            output=Path(given["output"]),
        )
    os.sched_setaffinity(0, {cores[world.rank % len(cores)]})
    # The same work in every arm: counted once, by one rank while the others wait, and told to all.
    sweeps = given["sweeps"] or world.bcast(Work("compute", given["step_s"]).sweeps if world.rank == 0 else None)
    work = Work("compute", given["step_s"], sweeps)
    world.Barrier()
    began = time.perf_counter()
    for step in range(given["steps"]):
        for _ in range(given["shares"] // world.size):
            work()
        world.Barrier()  # a step ends when every rank has done its share
        if coupling is not None:
            coupling.publish("pattern", pattern, step)
            coupling.end_step(step)
    seconds = time.perf_counter() - began
    if coupling is not None:
        coupling.close()
    if world.rank == 0:
        Path(given["result"]).write_text(json.dumps({"step_s": seconds / given["steps"], "sweeps": sweeps}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
