"""The place for a simulation of your own: what it must do, and the six lines that couple it.

    mpiexec -n 3 python -m mpi4py examples/coupling/your_simulation.py runs/yours

``Simulation`` here is a stand-in that diffuses heat on a ring; replace it. An analysis of your own is in
``your_analysis.py``; the configuration ``your_simulation.yaml`` names it as ``your_analysis:roughness`` and has a rule
that steers: once the field is smooth, the simulation stops.
"""

import os
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

from inference_insitu import Variable, attach

HERE = Path(__file__).parent
# Workers are processes of their own: they find your module by the environment, or as an installed package.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))


class Simulation:
    """Yours. The one rule: use the communicator that you are given, never ``COMM_WORLD``."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.comm = comm
        self.field = np.random.default_rng(comm.rank).random(4096)

    def advance(self) -> None:
        left, right = (self.comm.rank - 1) % self.comm.size, (self.comm.rank + 1) % self.comm.size
        padded = np.empty(len(self.field) + 2)
        padded[1:-1] = self.field
        self.comm.Sendrecv(padded[-2:-1], right, 0, padded[:1], left, 0)
        self.comm.Sendrecv(padded[1:2], left, 1, padded[-1:], right, 1)
        self.field = self.field + 0.25 * (padded[:-2] + padded[2:] - 2 * self.field)


def main(output: str, steps: int = 20_000) -> None:
    variables = {"field": Variable("float64", (4096,))}  # 1: what a rank publishes, at most
    with attach(MPI.COMM_WORLD, HERE / "your_simulation.yaml", variables=variables, output=output) as coupling:  # 2
        simulation = Simulation(coupling.simulation_comm)  # 3: ranks given up for inference do not come here
        for step in range(steps):
            simulation.advance()
            coupling.publish("field", simulation.field, step)  # 4: never waits, unless the policy says so
            coupling.end_step(step)  # 5
            if any(command.name == "stop" for command in coupling.poll_steering()):  # 6: the same on all ranks
                break
        if coupling.simulation_comm.rank == 0:
            print(f"ended after step {step}")


if __name__ == "__main__":
    main(sys.argv[1])
