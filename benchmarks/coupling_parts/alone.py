"""The network alone, on the core that a worker would have: patterns a second in batches."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from analyses import Network

from inference_insitu.inference.frame import Frame, Variable


def main(given: dict[str, Any]) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    network = Network()
    shape = tuple(given["shape"])
    network.warm_up(Variable("float32", shape))
    pattern = np.random.default_rng(0).exponential(10.0, shape).astype(np.float32)
    batch = [Frame("pattern", 0, step, pattern) for step in range(given["batch"])]
    network.answer(batch)
    began, answered = time.monotonic(), 0
    while answered < given["frames"]:
        answered += len(network.answer(batch))
    rate = answered / (time.monotonic() - began)
    Path(given["result"]).write_text(json.dumps({"answers_per_s": rate, "device": network.device}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
