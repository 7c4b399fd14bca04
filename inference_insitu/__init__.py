"""Inference beside a running MPI simulation.

from inference_insitu import Variable, attach

with attach(comm, "coupling.yaml", variables={"density": Variable("float64", (64, 64))}, output="run") as coupling:
    for step in range(steps):
        advance(coupling.simulation_comm)
        coupling.publish("density", density, step)
        coupling.end_step(step)
"""

from inference_insitu.attach import attach as attach
from inference_insitu.coupling import Coupling as Coupling
from inference_insitu.coupling_config import CouplingConfig as CouplingConfig
from inference_insitu.inference.analysis import Analysis as Analysis
from inference_insitu.inference.frame import Frame as Frame
from inference_insitu.inference.frame import Variable as Variable
from inference_insitu.steering.commands import CommandSpec as CommandSpec
