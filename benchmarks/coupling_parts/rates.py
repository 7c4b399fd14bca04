"""One rank that publishes at a fixed rate, or as fast as a blocking policy lets it."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from cdi.config import read_object
from inference_insitu import CouplingConfig, Variable, attach
from inference_insitu.watching.ledger_files import read_ledger


def main(given: dict[str, Any]) -> None:
    cores = sorted(os.sched_getaffinity(0))
    pattern = np.random.default_rng(0).exponential(10.0, tuple(given["shape"])).astype(np.float32)
    os.sched_setaffinity(0, {cores[-1]})  # what attach starts stays there
    output = Path(given["output"])
    coupling = attach(
        MPI.COMM_WORLD,
        read_object(CouplingConfig, given["config"], origin="rates"),
        variables={"pattern": Variable("float32", pattern.shape)},
        output=output,
    )
    os.sched_setaffinity(0, set(cores[:-1]) or set(cores))
    behind: list[float] = []
    began = time.monotonic()
    for step in range(given["frames"]):
        if given["rate"] is not None:
            due = began + step / given["rate"]
            time.sleep(max(0.0, due - time.monotonic()))
            behind.append(time.monotonic() - due)
        coupling.publish("pattern", pattern, step)
        coupling.end_step(step)
    coupling.close()
    Path(given["result"]).write_text(json.dumps(figures(output, behind)))


def figures(output: Path, behind: list[float]) -> dict[str, Any]:
    """Latencies from the schedule in s (a late publication counts from when it was due), and answers a second.

    From the first publication to the last answer: how long a run takes to end is no part of how fast it answers.
    """
    ledger = read_ledger(output)
    inferred = ledger.fate.where("inferred")
    answered_s = (ledger.published_s + ledger.latency_s)[inferred].max(initial=-np.inf) - ledger.published_s.min()
    late = np.asarray(behind)[ledger.step[inferred]] if behind else 0.0
    latency = ledger.latency_s[inferred] + late
    return {
        "inferred": int(inferred.sum()),
        "fates": ledger.fate.counts(),
        "answers_per_s": float(inferred.sum()) / answered_s,
        "latency_s": latency.tolist(),
        "latency_first_half_s": float(np.median(latency[: len(latency) // 2])) if len(latency) > 1 else None,
        "latency_second_half_s": float(np.median(latency[len(latency) // 2 :])) if len(latency) > 1 else None,
    }


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
