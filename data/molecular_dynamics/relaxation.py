"""A crystal brought to the nearest minimum of an interatomic potential's energy.

Molecular statics: atoms move until no force exceeds a tolerance, after an optional annealing
with Langevin's thermostat (Schneider & Stoll, Phys. Rev. B 17, 1302, 1978). Cores dissociate,
surfaces relax and image forces act, as the analytic fields of a built crystal do not know.

Image forces draw lines out of particles of some nanometres. Where lines shall stay, the atoms of an
outer shell keep the places that the elastic field gave them and the others relax within: the cluster
method for dislocation cores (Sinclair, J. Appl. Phys. 42, 5321, 1971; Bulatov & Cai, Computer
Simulations of Dislocations, 2006, ch. 5). The rigid shell pushes lines back where a free surface would pull.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.atoms import Atoms
from cdi.errors import RunError
from data.molecular_dynamics.lammps_engine import open_lammps, pair_commands, run_commands
from data.molecular_dynamics.potential import Potential, common_potential
from data.molecular_dynamics.relaxation_progress import Look, looking, share_of_force, share_of_steps

Array = NDArray[np.float64]

MINIMISERS = ("cg", "fire")
LEAST_DISTANCE_A = 1.0
"""Below this distance in Å between two atoms an embedded-atom potential means nothing."""
LARGEST_GROWTH = 1.5
"""A crystal whose extent grows by this factor has come apart."""
TIMESTEP_PS, DAMPING_PS, COLD_K = 0.002, 0.1, 1.0


@dataclass(frozen=True)
class Annealing:
    """Motion at ``temperature_K`` for ``time_ps``, then linear cooling over ``cooling_ps`` and a minimum.

    Without ``quench`` the motion ends hot: the atoms are a snapshot of it. ``seed`` draws velocities and
    the thermostat's forces; the same seed on the same number of ranks gives the same crystal.

    Raises
    ------
    ValueError
        For a temperature, time or seed that is not positive.
    """

    temperature_K: float
    time_ps: float = 10.0
    cooling_ps: float = 5.0
    seed: int = 1
    quench: bool = True

    def __post_init__(self) -> None:
        for name in ("temperature_K", "time_ps", "cooling_ps", "seed"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, got {value}")


@dataclass(frozen=True)
class RelaxConfig:
    """How a crystal is relaxed.

    ``potential`` is a name that comes with LAMMPS, or a path. The minimiser ends when no
    component of a force exceeds ``force_tolerance_eV_A`` (eV/Å), or after ``max_iterations``.
    Atoms within ``anchored_shell_A`` (Å) of the convex surface keep their places; 0 leaves surfaces free.

    Raises
    ------
    ValueError
        For an unknown minimiser, a tolerance or number that is not positive, or a negative depth.
    """

    potential: str
    minimiser: str = "cg"
    force_tolerance_eV_A: float = 1e-3
    max_iterations: int = 10_000
    annealing: Annealing | None = None
    anchored_shell_A: float = 0.0

    def __post_init__(self) -> None:
        if self.minimiser not in MINIMISERS:
            raise ValueError(f"minimiser must be one of {', '.join(MINIMISERS)}, got {self.minimiser!r}")
        if not (np.isfinite(self.force_tolerance_eV_A) and self.force_tolerance_eV_A > 0):
            raise ValueError(f"force_tolerance_eV_A must be positive, got {self.force_tolerance_eV_A}")
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations must be at least 1, got {self.max_iterations}")
        if not (np.isfinite(self.anchored_shell_A) and self.anchored_shell_A >= 0):
            raise ValueError(f"anchored_shell_A must not be negative, got {self.anchored_shell_A}")


@dataclass(frozen=True)
class Relaxed:
    """Relaxed ``atoms``, in the order and the frame of the given ones, and how they got there.

    Energies are in eV per atom, the largest remaining component of a force on a free atom in eV/Å,
    displacements from the given positions in Å, without the rigid motion of a crystal that nothing
    holds. ``iterations`` are those of the last minimisation: none of a snapshot. ``interrupted``: Ctrl-C
    ended the last minimisation before its end.
    """

    atoms: Atoms
    energy_before_eV: float
    energy_after_eV: float
    iterations: int
    largest_force_eV_A: float
    displacement_rms_A: float
    displacement_max_A: float
    interrupted: bool = False


def relax(
    atoms: Atoms,
    config: RelaxConfig,
    communicator: Any = None,
    *,
    look: Look | None = None,
    keep_interrupted: bool = False,
) -> Relaxed:
    """``atoms`` relaxed, with free surfaces or within an anchored shell.

    Collective over ``communicator`` (mpi4py's; None: one process). Every rank gives the same atoms
    and gets all of them back. ``look`` is told from time to time how far it is. With ``keep_interrupted``
    Ctrl-C during the last minimisation ends it, on one process, and the atoms are those of that moment.

    Raises
    ------
    ValueError
        If there is no such potential, it lacks an element, two atoms nearly coincide, or the shell leaves none free.
    RunError
        If LAMMPS fails or the crystal comes apart.
    MissingDependencyError
        If LAMMPS or mpi4py is not installed.
    """
    potential = common_potential(config.potential, atoms.elements)
    _check_distances(atoms.positions)
    anchored = _anchored(atoms.positions, config.anchored_shell_A)
    lammps = open_lammps(communicator)
    try:
        _fill(lammps, atoms, anchored, potential)
        run_commands(lammps, "balance 1.05 rcb\nrun 0")
        before = float(lammps.get_thermo("pe"))
        if config.annealing is not None:
            run_commands(lammps, _minimise(config), _minimising(lammps, config, look))
            steps = share_of_steps(sum(_steps(config.annealing)))
            run_commands(lammps, _anneal(config.annealing), looking(lammps, "annealing", steps, look))
        ends_at_rest = config.annealing is None or config.annealing.quench
        interrupted = False
        try:
            last = _minimise(config) if ends_at_rest else "run 0"
            run_commands(lammps, f"reset_timestep 0\n{last}", _minimising(lammps, config, look))
        except KeyboardInterrupt:
            if not keep_interrupted or (communicator is not None and communicator.size > 1):
                raise  # of several ranks the launcher ends the others
            run_commands(lammps, "timer timeout off\nrun 0")
            interrupted = True
        after, force = float(lammps.get_thermo("pe")), float(lammps.get_thermo("fmax"))
        iterations = int(lammps.extract_global("ntimestep"))
        positions = _gather(lammps, len(atoms))
    finally:
        lammps.close()
    _check_whole(positions, atoms, after)
    if not anchored.any():
        positions = without_rigid_motion(positions, atoms.positions)
    moved = np.linalg.norm(positions - atoms.positions, axis=1)
    return Relaxed(
        Atoms(positions, atoms.species, atoms.elements),
        before / len(atoms), after / len(atoms), iterations, force,
        float(np.sqrt((moved**2).mean())), float(moved.max()), interrupted,
    )  # fmt: skip


def _minimising(lammps: Any, config: RelaxConfig, look: Look | None) -> Callable[[], None] | None:
    return looking(lammps, "minimising", share_of_force(config.force_tolerance_eV_A), look)


def without_rigid_motion(positions: Array, reference: Array) -> Array:
    """``positions`` (n, 3) Å, turned and shifted so that the interior fits best to ``reference`` (n, 3).

    Least squares (Kabsch, Acta Cryst. A32, 922, 1976) over the atoms that have, in ``reference``,
    as many neighbours as most: neither surface nor core.
    """
    from scipy.spatial.transform import Rotation

    inside = _interior(reference)
    centre, target = positions[inside].mean(0), reference[inside].mean(0)
    rotation, _ = Rotation.align_vectors(reference[inside] - target, positions[inside] - centre)
    return np.asarray(rotation.apply(positions - centre) + target, np.float64)


def depth_below_surface(points: Array, positions: Array) -> Array:
    """Depth ``(...)`` in Å of ``points`` (..., 3) below the convex surface of atoms at ``positions`` (n, 3)."""
    from scipy.spatial import ConvexHull

    facets = ConvexHull(positions).equations
    return np.asarray(-(np.asarray(points) @ facets[:, :3].T + facets[:, 3]).max(-1))


def _anchored(positions: Array, shell: float) -> NDArray[np.bool_]:
    """Which atoms ``(n,)`` lie in the shell that keeps its place."""
    if shell == 0:
        return np.zeros(len(positions), bool)
    anchored = np.asarray(depth_below_surface(positions, positions) <= shell)
    if anchored.all():
        raise ValueError(f"anchored_shell_A must leave some atoms free, got {shell} for all {len(positions)}")
    return anchored


def _interior(positions: Array) -> NDArray[np.bool_]:
    from scipy.spatial import cKDTree

    tree = cKDTree(positions)
    nearest = float(np.median(tree.query(positions, k=2)[0][:, 1]))
    # Between the first and second shell of close packings, beyond the second of bcc.
    neighbours = tree.query_ball_point(positions, 1.25 * nearest, return_length=True)
    return np.asarray(neighbours == np.bincount(neighbours).argmax())


def _fill(lammps: Any, atoms: Atoms, anchored: NDArray[np.bool_], potential: Potential) -> None:
    """Hand the atoms over in two groups, ``free`` and ``anchored``; the latter as elements of their own."""
    kinds = len(atoms.elements)
    held = f"group anchored type {kinds + 1}:{2 * kinds}\nfix hold anchored setforce 0 0 0" if anchored.any() else ""
    elements = atoms.elements * (2 if held else 1)
    low, high = atoms.positions.min(0) - 1, atoms.positions.max(0) + 1
    block = " ".join(f"{a} {b}" for a, b in zip(low, high, strict=True))
    setup = f"""
units metal
atom_style atomic
boundary s s s
comm_style tiled
region box block {block} units box
create_box {len(elements)} box
{pair_commands(potential, elements)}
neigh_modify every 1 delay 5 check yes
thermo_style custom step temp pe fmax
thermo 10
"""
    run_commands(lammps, setup)
    count, types = len(atoms), atoms.species + 1 + kinds * anchored
    lammps.create_atoms(
        count, np.arange(1, count + 1), types, np.ascontiguousarray(atoms.positions).ravel(),
        shrinkexceed=True,
    )  # fmt: skip
    if int(lammps.get_natoms()) != count:
        raise RunError(f"LAMMPS must take all {count} atoms, it took {int(lammps.get_natoms())}")
    run_commands(lammps, f"group free type 1:{kinds}\n{held}")


def _minimise(config: RelaxConfig) -> str:
    most = config.max_iterations
    return f"""
min_style {config.minimiser}
min_modify norm inf
minimize 0 {config.force_tolerance_eV_A} {most} {10 * most}
"""


def _anneal(annealing: Annealing) -> str:
    temperature, seed = annealing.temperature_K, annealing.seed
    hold, cool = _steps(annealing)
    cooling = f"fix bath free langevin {temperature} {COLD_K} {DAMPING_PS} {seed} zero yes\nrun {cool}\n"
    # Half of the kinetic energy of atoms at rest in a minimum goes into the potential energy.
    return f"""
reset_timestep 0
timestep {TIMESTEP_PS}
velocity free create {2 * temperature} {seed} loop geom mom yes rot yes
fix integrate free nve
fix bath free langevin {temperature} {temperature} {DAMPING_PS} {seed} zero yes
run {hold}
{cooling if annealing.quench else ""}unfix bath
unfix integrate
velocity all set 0 0 0
"""


def _steps(annealing: Annealing) -> tuple[int, int]:
    """Of holding the temperature, and of cooling."""
    hold, cool = (max(1, round(time / TIMESTEP_PS)) for time in (annealing.time_ps, annealing.cooling_ps))
    return hold, cool if annealing.quench else 0


def _gather(lammps: Any, count: int) -> Array:
    """All positions ``(count, 3)`` in Å in the order of their identifiers."""
    if int(lammps.get_natoms()) != count:
        raise RunError(f"the crystal must keep its {count} atoms, {int(lammps.get_natoms())} are left")
    return np.array(lammps.gather_atoms("x", 1, 3), np.float64).reshape(count, 3)


def _check_distances(positions: Array) -> None:
    from scipy.spatial import cKDTree

    if len(positions) < 2:
        raise ValueError("a crystal must have at least 2 atoms to relax, got 1")
    distance, partner = (column[:, 1] for column in cKDTree(positions).query(positions, k=2))
    first = int(distance.argmin())
    if distance[first] < LEAST_DISTANCE_A:
        raise ValueError(
            f"atoms must lie at least {LEAST_DISTANCE_A} Å apart, got {distance[first]:.3g} Å "
            f"between indices {first} and {int(partner[first])}"
        )


def _check_whole(positions: Array, atoms: Atoms, energy_eV: float) -> None:
    extent = np.ptp(positions, axis=0).max()
    # A comparison that also catches NaN.
    if not (np.isfinite(energy_eV) and extent < LARGEST_GROWTH * atoms.extent.max() + LEAST_DISTANCE_A):
        raise RunError(
            f"the crystal must stay in one piece, it grew from {atoms.extent.max():.4g} to {extent:.4g} Å; "
            "is the potential meant for this structure and lattice constant, and the temperature below melting?"
        )
