"""Heat in a square, on strips of rows: a plain MPI code, and the six lines that couple it.

    mpiexec -n 3 python -m mpi4py examples/coupling/stencil.py runs/stencil [--steps 200] [--config FILE]

Two of three ranks compute; the last one is given up for inference (``stencil.yaml``). ``--config none`` computes
without a coupling, on all ranks. Each computing rank writes its last strip to ``<folder>/strip-<rank>.npy``.
"""

import argparse
from pathlib import Path

import numpy as np
from mpi4py import MPI

from inference_insitu import Variable, attach

ROWS, COLUMNS = 256, 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--config", default=str(Path(__file__).with_name("stencil.yaml")))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    if given.config == "none":
        compute(MPI.COMM_WORLD, None, given.steps, given.output)
        return
    variables = {"temperature": Variable("float64", (ROWS, COLUMNS))}  # 1
    with attach(MPI.COMM_WORLD, given.config, variables=variables, output=given.output / "coupling") as coupling:  # 2
        compute(coupling.simulation_comm, coupling, given.steps, given.output)  # 3


def compute(comm: MPI.Intracomm, coupling, steps: int, output: Path) -> None:
    strip = np.zeros((ROWS // comm.size + 2, COLUMNS))
    strip[1:-1, COLUMNS // 2] = 100.0 * (1 + comm.rank)
    for step in range(steps):
        exchange(comm, strip)
        strip[1:-1, 1:-1] += 0.1 * (
            strip[:-2, 1:-1] + strip[2:, 1:-1] + strip[1:-1, :-2] + strip[1:-1, 2:] - 4 * strip[1:-1, 1:-1]
        )
        if coupling is not None:
            coupling.publish("temperature", strip[1:-1], step)  # 4
            coupling.end_step(step)  # 5
            if any(command.name == "stop" for command in coupling.poll_steering()):  # 6
                break
    np.save(output / f"strip-{comm.rank}.npy", strip[1:-1])


def exchange(comm: MPI.Intracomm, strip: np.ndarray) -> None:
    """Edge rows from the neighbours; the outermost stay cold."""
    above = comm.rank - 1 if comm.rank > 0 else MPI.PROC_NULL
    below = comm.rank + 1 if comm.rank + 1 < comm.size else MPI.PROC_NULL
    comm.Sendrecv(strip[1], above, 0, strip[-1], below, 0)
    comm.Sendrecv(strip[-2], below, 0, strip[0], above, 0)


if __name__ == "__main__":
    main()
