"""LAMMPS compresses a nanoparticle; its patterns go nowhere, to the disk, or to a coupling.

    mpiexec -n 1 python simulation.py TASK.json      alone, offline
    mpiexec -n 2 python simulation.py TASK.json      coupled

Writes when the loop began and ended (``time.monotonic``), and what it spent on the simulation and on the patterns.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from frames_file import Reduced, Written

from cdi.config import read_object
from inference_insitu.coupling_config import CouplingConfig
from inference_insitu.lammps.config import InsituConfig
from inference_insitu.lammps.coupled import STREAM, variables
from inference_insitu.lammps.loop import Hooks, run_coupled
from inference_insitu.lammps.prepared import prepare
from inference_insitu.lammps.schedule import Schedule

GO, FRAMES = "go", "frames.h5"


def main(task: dict[str, Any]) -> None:
    from mpi4py import MPI

    from inference_insitu import attach

    config, output = read_object(InsituConfig, task["insitu"], origin="the task"), Path(task["output"])
    coupling = read_object(CouplingConfig, task["coupling"], origin="the task")
    operators, shape = coupling.streams[STREAM].operators, config.pattern.shape
    if task["way"] in ("alone", "offline"):
        output.mkdir()
        alone = Reduced(operators, shape) if task["way"] == "alone" else Written(output / FRAMES, operators, shape)
        said = simulate(config, alone, MPI.COMM_WORLD)
        alone.close()
    else:
        with attach(MPI.COMM_WORLD, coupling, variables=variables(config), output=output) as coupled:
            while task["waits"] and not (output / GO).exists():
                time.sleep(0.01)
            said = simulate(config, coupled, coupled.simulation_comm)
    Path(task["result"]).write_text(json.dumps(said | {"closed_s": time.monotonic()}))


def simulate(config: InsituConfig, coupling: Any, communicator: Any) -> dict[str, float]:
    """Run to the end; when it began and ended, its two parts, and the size of the crystal."""
    prepared = prepare(config, communicator)
    lammps = prepared.lammps
    hooks = Hooks(lambda reading: None, lambda step, positions: None, lambda step, commands: False, lambda array: array)
    began_s = time.monotonic()
    timing = run_coupled(lammps, prepared.detector, coupling, Schedule(config.coupling, config.load.steps), hooks)
    ended_s = time.monotonic()
    atoms = lammps.atom_count
    lammps.close()
    return {
        "atoms": atoms,
        "began_s": began_s,
        "ended_s": ended_s,
        "simulation_s": timing.simulation_s,
        "patterns_s": sum(timing.added_s),
    }


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
