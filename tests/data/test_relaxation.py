"""Relaxation by LAMMPS: equilibrium lattices, what a minimum keeps and what it changes, and every refusal."""

import os
import signal
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cdi.atoms import Atoms
from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.errors import RunError
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball
from cdi.shapes.polyhedron import Polyhedron
from data.molecular_dynamics.equilibrium import equilibrium_lattice
from data.molecular_dynamics.lammps_engine import open_lammps, run_commands
from data.molecular_dynamics.potential import common_potential
from data.molecular_dynamics.relaxation import (
    Annealing,
    RelaxConfig,
    depth_below_surface,
    relax,
    without_rigid_motion,
)

needs_lammps = pytest.mark.skipif(
    find_spec("lammps") is None or find_spec("mpi4py") is None, reason="needs LAMMPS and mpi4py"
)
needs_ovito = pytest.mark.skipif(find_spec("ovito") is None, reason="needs OVITO")

TURNED = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix()


def copper(diameter: float = 26.0, constant: float = 3.61493) -> Atoms:
    """A ball of copper, turned, off the origin, its atoms in no order."""
    lattice = Lattice.of_structure("fcc", ("Cu",), constant)
    sites = Crystal(lattice, Ball.of_diameter(diameter), TURNED).atoms().positions
    return Atoms.of_element("Cu", np.random.default_rng(3).permutation(sites) + np.array([4.0, -7.0, 11.0]))


@needs_lammps
@pytest.mark.parametrize(
    ("material", "potential", "a", "c", "tolerance"),
    [
        # Mishin et al., Phys. Rev. B 63, 224106 (2001), table III.
        ("Cu", "Cu_mishin1", 3.615, None, 2e-4),
        # Mendelev et al., Philos. Mag. 83, 3977 (2003), table 1: 2.8553 Å.
        ("Fe", "Fe_mm", 2.8553, None, 2e-4),
        # The header of this file says 4.041 Å, at which a crystal would be pressed by 1 %.
        ("Al", "Al_zhou", 4.0817, None, 2e-4),
        ("Mg", "Mg_mm", 3.1842, 5.1844, 2e-3),
    ],
)
def test_an_infinite_crystal_takes_the_lattice_of_its_potential(
    material: str, potential: str, a: float, c: float | None, tolerance: float
) -> None:
    lattice = equilibrium_lattice(Lattice.of_material(material), potential)
    edges = np.linalg.norm(lattice.cell, axis=1)
    assert edges == pytest.approx([a, a, c or a], abs=tolerance)
    assert lattice.structure == Lattice.of_material(material).structure
    cosine = lattice.cell[0] @ lattice.cell[1] / (edges[0] * edges[1])
    assert cosine == pytest.approx(-0.5 if c else 0.0, abs=1e-9)


@needs_lammps
def test_a_perfect_crystal_keeps_its_sites_but_for_its_surface() -> None:
    """In the given order and place: only atoms within a few layers of the surface move, inward, and energy falls."""
    atoms = copper(40.0)
    relaxed = relax(atoms, RelaxConfig("Cu_mishin1"))
    assert relaxed.largest_force_eV_A <= 1e-3
    assert relaxed.energy_after_eV < relaxed.energy_before_eV
    moved = relaxed.atoms.positions - atoms.positions
    outward = atoms.positions - atoms.centre
    depth = 20.0 - np.linalg.norm(outward, axis=1)
    assert np.linalg.norm(moved[depth > 10], axis=1).max() < 0.1
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(relaxed.displacement_max_A)
    assert relaxed.displacement_max_A < 0.5
    skin = depth < 2
    assert (moved[skin] * outward[skin]).sum(1).mean() < 0
    # Nothing but the potential's lattice lets the middle stay where it is.
    squeezed = copper(40.0, constant=3.56)
    swollen = relax(squeezed, RelaxConfig("Cu_mishin1"))
    assert swollen.displacement_rms_A > 2 * relaxed.displacement_rms_A


@needs_lammps
@needs_ovito
def test_an_edge_dissociates_into_two_shockley_partials_that_sum_to_its_burgers_vector() -> None:
    """In a slab 25 Å along the line: two 1/6⟨112⟩ lines in the slip plane, apart; energy falls."""
    from data.molecular_dynamics.dxa import burgers_fractions, extract_lines

    lattice = Lattice.of_structure("fcc", ("Cu",), 3.61493)
    system = lattice.slip_systems()[5]
    perfect = dislocation_on(
        lattice, system, character_deg=90, point=np.array([0.3, 0.2, 0.4]), orientation=TURNED
    )  # fmt: skip
    frame = perfect.frame.numpy()  # across, normal, along the line
    faces = np.concatenate([frame, -frame])
    slab = Polyhedron.centred(faces, np.tile([50.0, 24.0, 12.5], 2))
    atoms = Crystal(lattice, slab, TURNED, (perfect,)).atoms()
    given = extract_lines(atoms.positions, "fcc")
    assert [sorted(np.abs(line.burgers_lattice)) for line in given] == [pytest.approx([0, 0.5, 0.5])]

    relaxed = relax(atoms, RelaxConfig("Cu_mishin1", force_tolerance_eV_A=5e-3))
    assert relaxed.energy_after_eV < relaxed.energy_before_eV
    found = extract_lines(relaxed.atoms.positions, "fcc")
    assert len(found) == 2
    total = np.zeros(3)
    for line in found:
        assert sorted(np.abs(line.burgers_lattice)) == pytest.approx([1 / 6, 1 / 6, 1 / 3], abs=1e-3)
        sense = np.sign((line.line.points[-1] - line.line.points[0]) @ perfect.direction.numpy())
        total += sense * burgers_fractions(line, lattice, TURNED)
    assert total == pytest.approx(system.burgers, abs=1e-3)
    across, normal, _ = frame @ (found[0].line.points.mean(0) - found[1].line.points.mean(0))
    assert 10 < abs(across) < 60
    assert abs(normal) < 4


@needs_lammps
def test_annealing_repeats_with_its_seed_and_brings_a_perfect_crystal_home() -> None:
    """300 K let every atom leave its minimum; cooled it is back, and the crystal has neither drifted nor turned."""
    atoms = copper()
    still = relax(atoms, RelaxConfig("Cu_mishin1"))

    def annealed(seed: int) -> np.ndarray:
        config = RelaxConfig("Cu_mishin1", annealing=Annealing(300.0, time_ps=0.6, cooling_ps=0.4, seed=seed))
        return relax(atoms, config).atoms.positions

    first = annealed(7)
    np.testing.assert_array_equal(first, annealed(7))
    other = annealed(8)
    assert np.abs(first - other).max() > 1e-7
    for positions in (first, other):
        assert np.abs(positions - still.atoms.positions).max() < 0.05


@needs_lammps
@pytest.mark.parametrize("shell", [0.0, 7.0])
def test_a_snapshot_holds_half_of_its_thermal_energy_in_its_bonds(shell: float) -> None:
    """Equipartition: 3/2 kT above the minimum for each free atom; anchored atoms have not moved at all."""
    atoms = copper(34.0)
    motion = Annealing(300.0, time_ps=0.8, seed=5, quench=False)
    still = relax(atoms, RelaxConfig("Cu_mishin1", anchored_shell_A=shell))
    hot = relax(atoms, RelaxConfig("Cu_mishin1", annealing=motion, anchored_shell_A=shell))
    free = depth_below_surface(atoms.positions, atoms.positions) > shell if shell else np.ones(len(atoms), bool)
    gained = (hot.energy_after_eV - still.energy_after_eV) * len(atoms) / free.sum()
    assert gained == pytest.approx(1.5 * 8.617333e-5 * 300, rel=0.25)
    assert hot.iterations == 0
    assert hot.largest_force_eV_A > 0.1
    np.testing.assert_array_equal(hot.atoms.positions[~free], atoms.positions[~free])
    assert free.all() == (shell == 0)


@needs_lammps
@needs_ovito
def test_an_edge_leaves_a_free_particle_and_stays_in_an_anchored_one_as_partials() -> None:
    """Image forces expel it; where the outer 7 Å keep the elastic field they cannot, and b is conserved."""
    from data.molecular_dynamics.dxa import burgers_fractions, extract_lines

    lattice = Lattice.of_structure("fcc", ("Cu",), 3.61493)
    system = lattice.slip_systems()[5]
    edge = dislocation_on(lattice, system, character_deg=90, point=np.array([0.3, 0.2, 0.4]), orientation=TURNED)
    atoms = Crystal(lattice, Ball.of_diameter(46.0), TURNED, (edge,)).atoms()
    free = relax(atoms, RelaxConfig("Cu_mishin1", force_tolerance_eV_A=0.02))
    assert extract_lines(free.atoms.positions, "fcc") == ()
    held = relax(atoms, RelaxConfig("Cu_mishin1", force_tolerance_eV_A=0.02, anchored_shell_A=7.0))
    assert held.largest_force_eV_A <= 0.02
    assert held.energy_after_eV < held.energy_before_eV
    moved = np.linalg.norm(held.atoms.positions - atoms.positions, axis=1)
    shell = depth_below_surface(atoms.positions, atoms.positions) <= 7.0
    assert not moved[shell].any()
    assert moved[~shell].max() > 0.5
    # The longest lines are the partials, one on each side; in the shell they are one.
    found = sorted(extract_lines(held.atoms.positions, "fcc"), key=lambda entry: -entry.line.length)[:2]
    total = np.zeros(3)
    for entry in found:
        assert sorted(np.abs(entry.burgers_lattice)) == pytest.approx([1 / 6, 1 / 6, 1 / 3], abs=1e-3)
        sense = np.sign((entry.line.points[-1] - entry.line.points[0]) @ edge.direction.numpy())
        total += sense * burgers_fractions(entry, lattice, TURNED)
    assert total == pytest.approx(system.burgers, abs=1e-3)


def test_depth_is_measured_from_the_facets() -> None:
    corners = np.array([[x, y, z] for x in (0.0, 4.0) for y in (0.0, 6.0) for z in (0.0, 9.0)])
    inside = np.array([[[1.0, 3.0, 4.0], [2.0, 3.0, 8.5]], [[4.0, 2.0, 3.0], [2.0, 7.0, 3.0]]])
    np.testing.assert_allclose(depth_below_surface(inside, corners), [[1.0, 0.5], [0.0, -1.0]], atol=1e-12)


def test_rigid_motion_is_removed_and_nothing_else() -> None:
    reference = copper(20.0).positions
    strained = reference.copy()
    outermost = np.linalg.norm(reference - reference.mean(0), axis=1).argmax()
    strained[outermost] += [0.0, 0.3, 0.2]
    turned = strained @ Rotation.from_rotvec([0.2, 1.4, -2.0]).as_matrix().T + [30.0, 1.0, -6.0]
    np.testing.assert_allclose(without_rigid_motion(turned, reference), strained, atol=1e-9)


@needs_lammps
def test_an_alloy_relaxes_with_its_species_in_place() -> None:
    atoms = copper(22.0, constant=3.57)
    species = np.random.default_rng(0).integers(0, 2, len(atoms))
    mixed = Atoms(atoms.positions, species, ("Cu", "Ni"))
    relaxed = relax(mixed, RelaxConfig("CuNi", minimiser="fire", force_tolerance_eV_A=0.05))
    np.testing.assert_array_equal(relaxed.atoms.species, species)
    # Cohesive energies of the potential: 3.54 eV (Cu) and 4.45 eV (Ni).
    assert -4.45 < relaxed.energy_after_eV < -3.0
    only_nickel = relax(Atoms(atoms.positions, species * 0 + 1, ("Cu", "Ni")), RelaxConfig("CuNi"))
    assert only_nickel.energy_after_eV < relaxed.energy_after_eV


@needs_lammps
def test_bad_crystals_are_refused_before_lammps_sees_them() -> None:
    atoms = copper()
    twice = Atoms.of_element("Cu", np.concatenate([atoms.positions, atoms.positions[4:5] + 0.1]))
    with pytest.raises(ValueError, match=rf"atoms must lie at least 1.0 Å apart, got 0.173 Å .* 4 and {len(atoms)}"):
        relax(twice, RelaxConfig("Cu_mishin1"))
    with pytest.raises(ValueError, match="at least 2 atoms"):
        relax(Atoms.of_element("Cu", np.zeros((1, 3))), RelaxConfig("Cu_mishin1"))
    with pytest.raises(
        ValueError, match=rf"anchored_shell_A must leave some atoms free, got 30.0 for all {len(atoms)}"
    ):
        relax(atoms, RelaxConfig("Cu_mishin1", anchored_shell_A=30.0))
    with pytest.raises(ValueError, match=r"potential must hold Ni, got Cu_mishin1"):
        relax(Atoms.of_element("Ni", atoms.positions), RelaxConfig("Cu_mishin1"))
    with pytest.raises(ValueError, match=r"potential must hold Cu, Ni, got Cu_u3, a funcfl file of one"):
        common_potential("Cu_u3", ("Cu", "Ni"))
    sheared = Lattice("sheared", np.eye(3) * 4, np.zeros((1, 3)), ("Cu",), Lattice.of_material("Cu").stiffness)
    with pytest.raises(ValueError, match=r"structure must be one of fcc, .*, got 'sheared'"):
        equilibrium_lattice(sheared, "Cu_mishin1")


@needs_lammps
def test_a_crystal_that_comes_apart_is_one_line() -> None:
    hot = RelaxConfig("Cu_mishin1", annealing=Annealing(3e5, time_ps=0.3, cooling_ps=0.1))
    with pytest.raises(RunError, match=r"must stay in one piece|LAMMPS stopped: .*[Ll]ost") as caught:
        relax(copper(), hot)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minimiser": "newton"}, "minimiser must be one of cg, fire, got 'newton'"),
        ({"force_tolerance_eV_A": 0.0}, "force_tolerance_eV_A must be positive, got 0.0"),
        ({"max_iterations": 0}, "max_iterations must be at least 1, got 0"),
        ({"anchored_shell_A": -1.0}, "anchored_shell_A must not be negative, got -1.0"),
    ],
)
def test_a_bad_configuration_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RelaxConfig("Cu_mishin1", **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["temperature_K", "time_ps", "cooling_ps", "seed"])
def test_annealing_wants_positive_numbers(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        Annealing(**({"temperature_K": 300.0} | {name: 0}))  # type: ignore[arg-type]


@needs_lammps
@pytest.mark.timeout(60)
@pytest.mark.parametrize("beside_ovito", [False, pytest.param(True, marks=needs_ovito)])
def test_an_interrupt_stops_lammps_within_a_run(beside_ovito: bool) -> None:
    """Ctrl-C during a run of hours returns as KeyboardInterrupt, and what would follow is not run either."""
    if beside_ovito:
        from data.molecular_dynamics.dxa import extract_lines

        extract_lines(copper(18.0).positions, "fcc")
    lammps = open_lammps()
    setup = "units lj\nlattice fcc 0.8442\nregion box block 0 4 0 4 0 4\ncreate_box 1 box\ncreate_atoms 1 box\n"
    run_commands(lammps, setup + "mass 1 1\npair_style lj/cut 2.5\npair_coeff 1 1 1 1\nvelocity all create 1 7")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        run_commands(lammps, "fix 1 all nve\nrun 2000000000\nrun 2000000000")
    assert 0 < lammps.extract_global("ntimestep") < 2_000_000_000
    lammps.close()


@needs_lammps
@pytest.mark.timeout(60)
def test_an_interrupted_relaxation_is_kept_where_that_is_asked_for() -> None:
    """Atoms are nearer to rest than they were given, not at rest, and how far it was had been told."""
    atoms = copper(30.0)
    shaken = atoms.positions + np.random.default_rng(0).normal(0, 0.05, atoms.positions.shape)
    rough = Atoms.of_element("Cu", shaken)
    said: list[tuple[str, float]] = []

    def look(what: str, share: float, word: str) -> None:
        said.append((what, share))
        if len(said) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    config = RelaxConfig("Cu_mishin1", force_tolerance_eV_A=1e-14, max_iterations=10**6)
    found = relax(rough, config, look=look, keep_interrupted=True)
    assert found.interrupted
    assert found.energy_after_eV < found.energy_before_eV
    assert found.largest_force_eV_A > 1e-14
    assert {what for what, _ in said} == {"minimising"}
    assert all(0 <= share <= 1 for _, share in said)


@needs_lammps
@pytest.mark.mpi
@pytest.mark.timeout(280)
def test_two_ranks_find_the_same_minimum(tmp_path: Path) -> None:
    """Same energy, same atoms in the same order on both ranks as on one."""
    mpiexec = Path(sys.executable).with_name("mpiexec")
    if not mpiexec.is_file():
        pytest.skip("no mpiexec beside the interpreter")
    atoms = copper()
    np.save(tmp_path / "given.npy", atoms.positions)
    code = (
        "import sys; import numpy as np; from cdi.atoms import Atoms\n"
        "from data.molecular_dynamics.lammps_engine import world\n"
        "from data.molecular_dynamics.relaxation import RelaxConfig, relax\n"
        "ranks, folder = world(), sys.argv[1]\n"
        "r = relax(Atoms.of_element('Cu', np.load(folder + '/given.npy')), RelaxConfig('Cu_mishin1'), ranks)\n"
        "np.save(f'{folder}/rank-{ranks.rank}-of-{ranks.size}.npy', r.atoms.positions)\n"
        "np.save(f'{folder}/energy.npy', r.energy_after_eV) if ranks.rank == 0 else None\n"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PMI_", "OMPI_", "MPI_"))}
    polite = {"MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1", "OMP_NUM_THREADS": "1"}
    command = [str(mpiexec), "-n", "2", sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=kept | polite, check=False)
    assert done.returncode == 0, done.stderr
    alone = relax(atoms, RelaxConfig("Cu_mishin1"))
    first, second = (np.load(tmp_path / f"rank-{rank}-of-2.npy") for rank in (0, 1))
    np.testing.assert_array_equal(first, second)
    assert np.load(tmp_path / "energy.npy") == pytest.approx(alone.energy_after_eV, abs=1e-6)
    assert np.abs(first - alone.atoms.positions).max() < 0.02


def test_all_ranks_hear_of_a_failure_on_the_first() -> None:
    from data.molecular_dynamics.lammps_engine import from_root

    class Ranks:
        """One of two ranks, with the other's message at hand."""

        def __init__(self, rank: int, sent: list[object]) -> None:
            self.rank, self.sent = rank, sent

        def bcast(self, message: object) -> object:
            if self.rank == 0:
                self.sent.append(message)
            return self.sent[-1]

    sent: list[object] = []
    assert from_root(Ranks(0, sent), lambda: "job") == from_root(Ranks(1, sent), lambda: "ignored") == "job"

    def fail() -> str:
        raise ValueError("no such potential")

    with pytest.raises(ValueError, match="no such potential"):
        from_root(Ranks(0, sent), fail)
    with pytest.raises(SystemExit):
        from_root(Ranks(1, sent), fail)
