"""Analyses the patterns that a simulation has written: ``python afterwards.py TASK.json``; one row of JSON for each."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from frames_file import frames_of
from simulation import FRAMES

from cdi.config import read_object
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.inference.analysis import plain_values
from inference_insitu.inference.frame import Variable
from inference_insitu.lammps.coupled import ANALYSIS, STREAM
from inference_insitu.transit.operators.analyses import Analyses


def main(task: dict[str, Any]) -> None:
    output = Path(task["output"])
    analyses = Analyses(read_object(CouplingConfig, task["coupling"], origin="the task"), output)
    analyses.warm_up(ANALYSIS, Variable("float32", tuple(task["insitu"]["pattern"]["shape"])))
    with (output / "results-0.0.jsonl").open("w") as results:
        for frame, published_s in frames_of(output / FRAMES, STREAM):
            started_s = time.monotonic()
            (values,) = analyses.get(ANALYSIS).answer([frame])
            now_s = time.monotonic()
            times = {"published_s": published_s, "inferred_s": now_s - started_s, "at_s": now_s}
            results.write(json.dumps({"step": frame.step, "values": plain_values(values), **times}) + "\n")
    analyses.close()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
