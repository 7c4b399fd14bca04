"""What the coupling costs a running LAMMPS and how long an answer takes. JSON lines.

    python benchmarks/insitu.py [--run examples/insitu.yaml] [--repeats 2] [--dxa true]

Each repeat is a whole coupled run. ``added_step_time`` is the time that the coupling itself adds
per coupling step on the simulation's ranks, in seconds and as a fraction of the simulation's time;
the cores that the network shares with the simulation are not in it.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jsonargparse import auto_cli
from machine import emit, machine


def main(run: str = "examples/insitu.yaml", repeats: int = 2, dxa: bool = True) -> None:
    emit(benchmark="insitu", machine=machine(), config=run, dxa=dxa)
    with tempfile.TemporaryDirectory() as directory:
        for repeat in range(repeats):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "cdi", "insitu", "run", "--config", run, "--output",
                 str(Path(directory) / str(repeat)), "--dxa" if dxa else "--no-dxa"],
                check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            summary = json.loads(done.stdout.splitlines()[-1])
            emit(repeat=repeat, total_seconds=round(time.perf_counter() - start, 1),
                 **{key: value for key, value in summary.items() if key != "output"})  # fmt: skip


if __name__ == "__main__":
    auto_cli(main)
