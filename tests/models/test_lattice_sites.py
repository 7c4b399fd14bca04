"""Sites from phases: where three reflections put them is where the crystal has them."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.smooth_strain import SmoothStrain
from cdi.defects.straight_dislocation import dislocation_on
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SlipSystem
from cdi.pattern import Reflection
from cdi.shapes.polyhedron import truncated_octahedron
from models.lattice_sites import displacement, lattice_sites, reflections_fix_sites

Array = NDArray[np.float64]
GOLD = Lattice.of_material("Au")
TURN = np.asarray(Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix())
VOXEL = 7.0 * np.array([[1.0, 0.1, 0], [-0.05, 1.1, 0.1], [0.1, 0, 0.95]])
SHAPE = (20, 18, 22)
THREE: list[Reflection] = [(1, 1, 1), (-1, 1, 1), (1, -1, 1)]
SIX: list[Reflection] = [*THREE, (2, 0, 0), (2, 2, 0), (-3, 1, 1)]
POINT = np.array([4.0, -3.0, 5.0])


def dislocated(character: float, lattice: Lattice = GOLD, system: SlipSystem | None = None) -> Crystal:
    chosen = SlipSystem((0.5, -0.5, 0), (1, 1, 1)) if system is None else system
    line = dislocation_on(lattice, chosen, character_deg=character, point=POINT, orientation=TURN)
    strain = SmoothStrain(torch.tensor([[0.05, 0.02, -0.04]]), torch.tensor([[0.02, -0.05, 0.03]]), torch.tensor([0.7]))
    return Crystal(lattice, truncated_octahedron(90, TURN, ratio=1.2), TURN, (line, strain))


def places() -> Array:
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij"), -1)
    return np.asarray(index @ VOXEL)


def seen(crystal: Crystal, reflections: list[Reflection]) -> tuple[NDArray[np.complex128], Array, Array]:
    """Exact phasors, G and support of a crystal."""
    points = torch.as_tensor(places())
    G = np.array([crystal.reflection_vector(reflection) for reflection in reflections])
    phase = np.einsum("ri,xyzi->rxyz", G, crystal.displacement(points).numpy())
    width = abs(np.linalg.det(VOXEL)) ** (1 / 3)
    support = (0.5 - crystal.shape.signed_distance(points) / width).clamp(0, 1).numpy()
    return np.exp(1j * phase), G, support


def away_from_line(crystal: Crystal, sites: Array) -> Array:
    (line,) = crystal.lines()
    along = line.tangents[0]
    relative = sites - line.points[0]
    return np.asarray(np.linalg.norm(relative - (relative @ along)[:, None] * along, axis=1))


def gaps(crystal: Crystal, sites: Array, translation: Array) -> Array:
    """Å from ``sites``, moved back by ``translation``, to the nearest atom: outside the core, below the surface."""
    width = np.linalg.norm(VOXEL, axis=1).max()
    moved = sites - translation
    deep = crystal.shape.signed_distance(torch.as_tensor(moved)).numpy() < -width
    asked = moved[deep & (away_from_line(crystal, moved) > 2 * width)]
    return np.asarray(cKDTree(crystal.displaced_sites()[0].numpy()).query(asked)[0])


def translation_of(crystal: Crystal, u: Array) -> Array:
    """By which ``u`` differs from the crystal's own displacement at one voxel, up to a lattice vector."""
    true = crystal.displacement(torch.as_tensor(places())).numpy()
    return np.asarray(u[:, 7, 11, 12] - true[7, 11, 12])


@pytest.mark.parametrize("character", [0.0, 90.0, 35.0])
@pytest.mark.parametrize("reflections", [THREE, SIX], ids=["three", "six"])
def test_sites_of_a_dislocation_are_the_crystal_s_although_u_has_a_cut(
    character: float, reflections: list[Reflection]
) -> None:
    """Within 10 pm, 1 pm rms, outside of a core of 2 voxels, from phases with constants of their own."""
    crystal = dislocated(character)
    phasors, G, support = seen(crystal, reflections)
    constants = np.exp(1j * np.random.default_rng(2).uniform(-3, 3, len(G)))[:, None, None, None]
    u = displacement(constants * phasors, G, support)
    found = gaps(crystal, lattice_sites(u, support, VOXEL, GOLD, TURN), translation_of(crystal, u))
    assert len(found) > 5000
    assert np.sqrt((found**2).mean()) < 0.01
    assert found.max() < 0.1


def test_no_site_that_is_half_within_the_support_is_left_out() -> None:
    """Where nothing moves: every site about which the support, linear between voxels, is half or more. No other."""
    crystal = Crystal(GOLD, truncated_octahedron(60, TURN, ratio=1.2), TURN)
    _, _, support = seen(crystal, THREE)
    lattice, _ = GOLD.sites_in_box(np.full(3, -80.0), np.full(3, 80.0))
    sites = lattice @ TURN.T
    index = sites @ np.linalg.inv(VOXEL) + np.asarray(SHAPE) // 2
    expected = sites[map_coordinates(support, index.T, order=1, mode="grid-constant") >= 0.5]
    found = lattice_sites(np.zeros((3, *SHAPE)), support, VOXEL, GOLD, TURN)
    assert len(found) == len(expected) > 5000
    assert cKDTree(found).query(expected)[0].max() < 1e-9


def test_sites_of_a_hexagonal_crystal_agree_too() -> None:
    """Two atoms a lattice vector, cell edges that are not orthogonal."""
    magnesium = Lattice.of_material("Mg")
    crystal = dislocated(90.0, magnesium, SlipSystem((1, 0, 0), (0, 0, 1)))
    reflections: list[Reflection] = [(1, 0, 0), (0, 1, 1), (0, 1, 0)]
    assert reflections_fix_sites(magnesium, reflections)
    phasors, G, support = seen(crystal, reflections)
    u = displacement(phasors, G, support)
    found = gaps(crystal, lattice_sites(u, support, VOXEL, magnesium, TURN), translation_of(crystal, u))
    assert len(found) > 5000
    assert np.sqrt((found**2).mean()) < 0.02


def test_displacement_gives_the_phases_back_and_is_the_smooth_one_it_came_from() -> None:
    """exp(iG·u) is what was measured, to rounding; without a dislocation u is that of the crystal plus one shift."""
    crystal = Crystal(GOLD, dislocated(0.0).shape, TURN, dislocated(0.0).defects[1:])
    for reflections in (THREE, SIX):
        phasors, G, support = seen(crystal, reflections)
        u = displacement(3.0 * phasors, G, support)
        inside = support > 0
        np.testing.assert_allclose(np.exp(1j * np.einsum("ri,in->rn", G, u[:, inside])), phasors[:, inside], atol=1e-9)
        true = np.moveaxis(crystal.displacement(torch.as_tensor(places())).numpy(), -1, 0)
        shifts = (u - true)[:, inside]
        np.testing.assert_allclose(shifts, np.broadcast_to(shifts[:, :1], shifts.shape), atol=1e-9)
        assert not u[:, ~inside].any()


def test_more_reflections_lower_the_error_of_noisy_phases() -> None:
    """Six instead of three, each with the same noise: less of it in u."""
    crystal = Crystal(GOLD, dislocated(0.0).shape, TURN)
    errors = []
    for reflections in (THREE, SIX):
        _, G, support = seen(crystal, reflections)
        noise = 0.2 * np.random.default_rng(4).normal(size=(6, *SHAPE))[: len(G)]
        u = displacement(np.exp(1j * noise), G, support)[:, support > 0]
        errors.append(np.sqrt(((u - np.median(u, 1)[:, None]) ** 2).sum(0).mean()))
    # Covariance of least squares: (GᵀG)⁻¹ σ².
    expected = [0.2 * np.sqrt(np.trace(np.linalg.inv(G.T @ G))) for G in (seen(crystal, r)[1] for r in (THREE, SIX))]
    np.testing.assert_allclose(errors, expected, rtol=0.05)


@pytest.mark.parametrize(
    ("reflections", "fixed"),
    [(THREE, True), ([(2, 0, 0), (0, 2, 0), (0, 0, 2)], False), ([(1, 1, 1), (2, 2, 0), (4, 0, 0)], False),
     ([(2, 0, 0), (0, 2, 0), (1, 1, 1)], True), (THREE[:2], False)],
)  # fmt: skip
def test_reflections_fix_sites_where_no_other_shift_has_the_same_phases(
    reflections: list[Reflection], fixed: bool
) -> None:
    """Of all shifts by sixths and eighths of the cell those that no phase sees are lattice vectors, or not all are."""
    steps = np.arange(24) / 24
    shifts = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    turns = shifts @ np.asarray(reflections).T
    unseen = shifts[np.abs(turns - np.round(turns)).max(1) < 1e-9]
    assert all(GOLD.is_lattice_vector(shift) for shift in unseen) == fixed
    assert reflections_fix_sites(GOLD, reflections) == fixed


def test_a_large_crystal_gives_the_sites_about_a_point() -> None:
    """No more than ``most``, all nearer than those left out; a region is a ball; both agree with the whole."""
    crystal = dislocated(0.0)
    phasors, G, support = seen(crystal, THREE)
    u = displacement(phasors, G, support)
    every = lattice_sites(u, support, VOXEL, GOLD, TURN)
    few = lattice_sites(u, support, VOXEL, GOLD, TURN, most=500, region=(POINT, 1e3))
    assert 400 < len(few) <= 500
    assert cKDTree(every).query(few)[0].max() < 1e-9
    ball = lattice_sites(u, support, VOXEL, GOLD, TURN, region=(POINT, 20.0))
    assert len(ball) == pytest.approx(4 / 3 * np.pi * 20**3 * 4 / GOLD.cell_volume, rel=0.05)
    assert np.linalg.norm(ball - POINT, axis=1).max() < 20 + 5


def test_coplanar_reflections_are_refused() -> None:
    crystal = dislocated(0.0)
    phasors, G, support = seen(crystal, [(1, 1, 1), (2, 0, 0), (3, 1, 1)])
    with pytest.raises(ValueError, match="G must hold three reflections that are not coplanar"):
        displacement(phasors, G, support)
    with pytest.raises(ValueError, match="not coplanar"):
        displacement(phasors[:2], G[:2], support)


def test_an_empty_support_is_refused() -> None:
    with pytest.raises(ValueError, match="support must hold at least one voxel, got none"):
        displacement(np.ones((3, 4, 5, 6), complex), np.eye(3), np.zeros((4, 5, 6)))
    with pytest.raises(ValueError, match="support must hold at least one voxel, got none"):
        lattice_sites(np.zeros((3, 4, 5, 6)), np.zeros((4, 5, 6)), VOXEL, GOLD, TURN)


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match=r"phasors must be \(R, x, y, z\) for G \(R, 3\)"):
        displacement(np.ones((3, 4, 5, 6), complex), np.eye(3), np.ones((4, 5, 7)))
    with pytest.raises(ValueError, match=r"u must have shape \(3, x, y, z\)"):
        lattice_sites(np.zeros((3, 4, 5, 6)), np.ones((4, 5, 7)), VOXEL, GOLD, TURN)


def test_a_number_of_sites_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="most and the region's radius must be positive, got 0"):
        lattice_sites(np.zeros((3, 4, 5, 6)), np.ones((4, 5, 6)), VOXEL, GOLD, TURN, most=0)
