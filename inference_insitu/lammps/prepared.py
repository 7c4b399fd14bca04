"""What a run begins with: the crystal, minimised in LAMMPS, and the detector that looks at it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from data.molecular_dynamics.potential import find_potential
from inference_insitu.lammps.compression import LammpsCompression, rotation
from inference_insitu.lammps.config import InsituConfig
from inference_insitu.lammps.pattern import Detector


@dataclass(frozen=True)
class Prepared:
    """The crystal and its detector."""

    lammps: LammpsCompression
    detector: Detector


def prepare(config: InsituConfig, communicator: Any) -> Prepared:
    """Build and minimise the crystal on the ranks of ``communicator``; the first amplitude loads the tables it needs.

    Raises
    ------
    ValueError, RunError
        If the potential is not there, or LAMMPS cannot build the crystal.
    """
    potential = find_potential(config.crystal.potential, config.crystal.element)
    lammps = LammpsCompression(config.crystal, config.load, potential, communicator)
    G = 2 * np.pi / potential.lattice_constant * np.asarray(config.pattern.reflection, np.float64)
    detector = Detector(
        element=config.crystal.element,
        reflection_vector=rotation(config.crystal.axis) @ G,
        extent_A=2 * config.crystal.radius_A,
        config=config.pattern,
    )
    detector.partial(lammps.local_positions())
    return Prepared(lammps, detector)
