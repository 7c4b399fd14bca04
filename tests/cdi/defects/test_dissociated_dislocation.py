"""Dissociated dislocations: an intrinsic fault between two partials, a perfect dislocation from afar."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from cdi.crystal import Crystal
from cdi.defects.classes import PARTIAL_OR_FAULT
from cdi.defects.dissociated_dislocation import DissociatedDislocation, dissociated_on, equilibrium_width
from cdi.defects.media import medium_of
from cdi.defects.medium import IsotropicMedium
from cdi.defects.straight_dislocation import StraightDislocation
from cdi.lattices.elasticity import isotropic_stiffness
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SlipSystem
from cdi.shapes.ball import Ball

Array = NDArray[np.float64]
LATTICES = {name: Lattice.of_material(name) for name in ("Cu", "Si")}
CHARACTERS = (0.0, 30.0, 60.0, 90.0, -60.0)
POINT = np.array([0.6, -1.1, 0.9])


def dissociated(
    name: str, system: int, character: float, orientation: Array, **options: object
) -> DissociatedDislocation:
    lattice = LATTICES[name]
    return dissociated_on(
        lattice,
        lattice.slip_systems()[system],
        character_deg=character,
        point=POINT,
        orientation=orientation,
        **({"width": 40.0} | options),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", LATTICES)
def test_the_partials_sum_to_the_perfect_burgers_vector(name: str, rotation: Array) -> None:
    """b₁ + b₂ = b, each 1/6⟨112⟩ long and 30° from b, on every slip system and character."""
    lattice = LATTICES[name]
    for index, system in enumerate(lattice.slip_systems()):
        line = dissociated(name, index, CHARACTERS[index % 5], rotation)
        perfect = rotation @ lattice.direction(system.burgers)
        np.testing.assert_allclose(line.burgers.sum(0), perfect, atol=1e-12)
        lengths = line.burgers.norm(dim=1).numpy()
        np.testing.assert_allclose(lengths, lattice.constant / np.sqrt(6))
        cosines = line.burgers.numpy() @ perfect / (lengths * np.linalg.norm(perfect))
        np.testing.assert_allclose(cosines, np.cos(np.pi / 6))


def ribbon(line: DissociatedDislocation, positions: Array, half_width: float = 7.0) -> tuple[NDArray[np.bool_], Array]:
    """Which atoms lie in the middle of the ribbon, well within the crystal, and every atom's height over it."""
    x, y, z = ((positions - line.point.numpy()) @ line.partials[0].frame.numpy().T).T
    return (abs(x) < half_width) & (abs(z) < 12) & (abs(y) < 9), y


def reversed_order(line: DissociatedDislocation) -> DissociatedDislocation:
    return DissociatedDislocation(
        line.burgers.flip(0), line.direction, line.normal, line.point, line.width, line.medium
    )


@pytest.mark.parametrize("medium", ["isotropic", "anisotropic"])
@pytest.mark.parametrize(("system", "character"), [(0, 0.0), (5, 60.0), (10, 90.0), (15, 30.0), (22, -60.0)])
def test_the_ribbon_is_an_intrinsic_fault(system: int, character: float, medium: str, rotation: Array) -> None:
    """Two layers, next to the plane, have hcp surroundings (3 pairs of opposite neighbours), all others fcc (6).

    Every atom keeps 12 neighbours; in the opposite order atoms stand on top of each other.
    """
    lattice = LATTICES["Cu"]
    line = dissociated("Cu", system, character, rotation, medium=medium_of(lattice, rotation, medium))
    bond = lattice.constant / np.sqrt(2)
    spacing = lattice.constant / np.sqrt(3)
    positions = Crystal(lattice, Ball.of_diameter(60.0), rotation, (line,)).atoms().positions
    middle, height = ribbon(line, positions)
    tree = cKDTree(positions)
    for atom in np.flatnonzero(middle):
        near = [other for other in tree.query_ball_point(positions[atom], 1.2 * bond) if other != atom]
        assert len(near) == 12
        vectors = positions[near] - positions[atom]
        assert 0.9 * bond < np.linalg.norm(vectors, axis=1).min()
        opposite = np.linalg.norm(vectors[:, None] + vectors[None], axis=-1) < 0.35 * bond
        assert opposite.sum() // 2 == (3 if abs(height[atom]) < spacing else 6)
    wrong = Crystal(lattice, Ball.of_diameter(60.0), rotation, (reversed_order(line),)).atoms().positions
    chosen = ribbon(line, wrong)[0]
    assert cKDTree(wrong).query(wrong[chosen], k=2)[0][:, 1].min() < 0.86 * bond


@pytest.mark.parametrize("height", [-3.1, -1.6, 0.0, 0.4, 1.2, 2.2])
def test_the_fault_of_diamond_lies_in_the_glide_set(height: float, rotation: Array) -> None:
    """Wherever the point, each atom of the ribbon keeps its four bonds; the plane moves by half a spacing at most."""
    lattice = LATTICES["Si"]
    system = lattice.slip_systems()[9]
    normal = rotation @ lattice.plane_normal(system.normal)
    point = POINT + height * normal / np.linalg.norm(normal)
    line = dissociated_on(lattice, system, character_deg=60.0, point=point, orientation=rotation, width=40.0)
    moved = line.point.numpy() - point
    assert np.linalg.norm(moved) <= lattice.constant / np.sqrt(3) / 2 + 1e-9
    np.testing.assert_allclose(np.cross(moved, normal), 0, atol=1e-9)
    positions = Crystal(lattice, Ball.of_diameter(60.0), rotation, (line,)).atoms().positions
    middle, _ = ribbon(line, positions)
    bond = lattice.constant * np.sqrt(3) / 4
    distances = cKDTree(positions).query(positions[middle], k=6)[0]
    assert 0.9 * bond < distances[:, 1].min()
    assert distances[:, 4].max() < 1.1 * bond
    assert distances[:, 5].min() > 1.4 * bond


@pytest.mark.parametrize("medium", ["isotropic", "anisotropic"])
def test_the_jump_is_a_partial_across_the_ribbon_and_b_beyond(medium: str, rotation: Array) -> None:
    line = dissociated("Cu", 7, 60.0, rotation, medium=medium_of(LATTICES["Cu"], rotation, medium))
    x, n = line.partials[0].frame[0].numpy(), line.normal.numpy()
    for at, jump in ((35.0, 0 * line.burgers[0]), (0.0, line.burgers[0]), (-35.0, line.burgers.sum(0))):
        sides = line.point.numpy() + at * x + np.array([[1e-5], [-1e-5]]) * n
        u = line.displacement(torch.as_tensor(sides))
        np.testing.assert_allclose(u[0] - u[1], jump, atol=1e-4)


def test_reflections_see_the_fault_by_thirds_of_a_turn(rotation: Array) -> None:
    """G·b₁ is a multiple of 2π/3: 0 for the plane's own reflection, ±2π/3 for others of its family."""
    lattice = LATTICES["Cu"]
    line = dissociated("Cu", 3, 30.0, rotation)
    own = tuple(int(index) for index in lattice.slip_systems()[3].normal)
    for hkl in ((1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)):
        thirds = 3 * float(line.burgers[0].numpy() @ rotation @ lattice.reflection_vector(hkl)) / (2 * np.pi)
        assert thirds == pytest.approx(round(thirds), abs=1e-9)
        assert (round(thirds) % 3 == 0) == (abs(np.dot(hkl, own)) == 3)


@pytest.mark.parametrize("medium", ["isotropic", "anisotropic"])
def test_from_afar_it_is_the_perfect_dislocation(medium: str, rotation: Array) -> None:
    """The difference falls as 1/r: ten times as far, a tenth."""
    line = dissociated("Cu", 4, 75.0, rotation, medium=medium_of(LATTICES["Cu"], rotation, medium))
    perfect = StraightDislocation(line.burgers.sum(0), line.direction, line.normal, line.point, line.medium)
    angle = np.linspace(-3.0, 3.0, 41)
    around = np.cos(angle)[:, None] * perfect.frame[0].numpy() + np.sin(angle)[:, None] * perfect.frame[1].numpy()
    near, far = (
        (line.displacement(points) - perfect.displacement(points)).norm(dim=-1)
        for points in (torch.as_tensor(line.point.numpy() + radius * around) for radius in (1e3, 1e4))
    )
    assert near.max() > 1e-3
    np.testing.assert_allclose(near / far, 10, rtol=0.1)


@pytest.mark.parametrize("beta", [0.0, 30.0, 60.0, 90.0])
def test_the_equilibrium_width_in_an_isotropic_lattice_is_the_published_one(beta: float, rotation: Array) -> None:
    """d = μ b_p²/(8πγ) (2 − ν)/(1 − ν) (1 − 2ν cos 2β/(2 − ν)) (Hirth & Lothe 1982, eq. 10-15)."""
    nu, mu, gamma = 0.33, 47.0, 45.0
    lattice = Lattice("fcc", LATTICES["Cu"].cell, LATTICES["Cu"].sites, ("Cu",) * 4, isotropic_stiffness(mu, nu))
    line = dissociated_on(
        lattice,
        lattice.slip_systems()[11],
        character_deg=beta,
        point=POINT,
        orientation=rotation,
        fault_energy_mJ_per_m2=gamma,
    )
    partial2 = lattice.constant**2 / 6
    shape = (2 - nu) / (1 - nu) * (1 - 2 * nu * np.cos(2 * np.radians(beta)) / (2 - nu))
    metres = mu * 1e9 * partial2 * 1e-20 / (8 * np.pi * gamma * 1e-3) * shape
    assert float(line.width) == pytest.approx(metres * 1e10, rel=1e-6)


def test_the_width_of_edges_in_copper_is_the_measured_one(rotation: Array) -> None:
    """38 ± 6 Å at γ = 41 mJ/m², and less as a screw (Stobbs & Sworn, Phil. Mag. 24, 1365 (1971))."""
    edge, screw = (
        float(dissociated("Cu", 2, angle, rotation, width=None, fault_energy_mJ_per_m2=41.0).width)
        for angle in (90.0, 0.0)
    )
    assert edge == pytest.approx(38, abs=6)
    assert screw < edge / 2


def test_its_lines_are_the_two_partials(rotation: Array) -> None:
    """Parallel, ``width`` apart in the slip plane, each with its own Burgers vector; one alone near a surface."""
    line = dissociated("Cu", 6, 60.0, rotation)
    first, second = line.lines(Ball.of_diameter(120.0))
    np.testing.assert_allclose([first.burgers, second.burgers], line.burgers)
    apart = first.points.mean(0) - second.points.mean(0)
    assert apart @ line.partials[0].frame.numpy()[0] == pytest.approx(40.0)
    assert apart @ line.normal.numpy() == pytest.approx(0, abs=1e-9)
    aside = DissociatedDislocation(
        line.burgers, line.direction, line.normal, 30 * line.partials[0].frame[0], line.width, line.medium
    )
    (inner,) = aside.lines(Ball.of_diameter(60.0))
    np.testing.assert_allclose(inner.burgers, line.burgers[1])
    with pytest.raises(ValueError, match="both partials miss it"):
        aside.lines(Ball.of_diameter(12.0))


def test_it_counts_as_a_partial(rotation: Array) -> None:
    assert dissociated("Cu", 0, 0.0, rotation).defect_class == PARTIAL_OR_FAULT


@pytest.mark.parametrize("medium", ["isotropic", "anisotropic"])
def test_derivatives_hold_in_width_and_point(medium: str, rotation: Array) -> None:
    line = dissociated("Cu", 1, 50.0, rotation, medium=medium_of(LATTICES["Cu"], rotation, medium))
    points = torch.as_tensor(np.random.default_rng(1).normal(size=(6, 3)) * 20)

    def displacement(width: Tensor, point: Tensor) -> Tensor:
        moved = DissociatedDislocation(line.burgers, line.direction, line.normal, point, width, line.medium)
        return moved.displacement(points)

    inputs = [value.clone().requires_grad_() for value in (line.width, line.point)]
    assert torch.autograd.gradcheck(displacement, inputs)


GOOD = {
    "burgers": ((1.3, 0, 0.7), (1.3, 0, -0.7)),
    "direction": (0, 0, 1),
    "normal": (0, 1, 0),
    "point": (0, 0, 0),
    "width": 30.0,
    "medium": IsotropicMedium(0.3),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"burgers": (1, 0, 0)}, "burgers must be 2 vectors of 3 numbers"),
        ({"burgers": ((1, 0, 0), (0, 1, 0))}, "must lie in the slip plane"),
        ({"width": -3.0}, "width must be a positive number of Å"),
        ({"width": np.inf}, "width must be a positive number of Å"),
    ],
)
def test_malformed_pairs_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DissociatedDislocation(**{**GOOD, **change})  # type: ignore[arg-type]


def on(lattice: Lattice, system: SlipSystem, **options: float) -> DissociatedDislocation:
    return dissociated_on(lattice, system, character_deg=0.0, point=POINT, orientation=np.eye(3), **options)


def test_a_lattice_without_partials_is_refused() -> None:
    iron = Lattice.of_material("Fe")
    with pytest.raises(ValueError, match="structure must be one of fcc, diamond to dissociate, got 'bcc'"):
        on(iron, iron.slip_systems()[0], width=20.0)


def test_a_plane_without_partials_is_refused() -> None:
    with pytest.raises(ValueError, match=r"normal must be a plane of the form \(1, 1, 1\)"):
        on(LATTICES["Cu"], SlipSystem((0.5, -0.5, 0.0), (0.0, 0.0, 1.0)), width=20.0)


def test_a_burgers_vector_that_no_two_partials_make_is_refused() -> None:
    with pytest.raises(ValueError, match="burgers must be the sum of two partials in its slip plane"):
        on(LATTICES["Cu"], SlipSystem((1.0, -1.0, 0.0), (1.0, 1.0, 1.0)), width=20.0)


def test_a_lattice_that_only_calls_itself_fcc_is_refused() -> None:
    cubic = Lattice("fcc", 3.0 * np.eye(3), np.zeros((1, 3)), ("Po",), np.eye(6))
    with pytest.raises(ValueError, match="system must have a gap between planes that holds an intrinsic fault"):
        on(cubic, SlipSystem((0.5, -0.5, 0.0), (1.0, 1.0, 1.0)), width=20.0)


@pytest.mark.parametrize("options", [{}, {"width": 20.0, "fault_energy_mJ_per_m2": 45.0}])
def test_width_and_fault_energy_exclude_each_other(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="width or fault_energy_mJ_per_m2 must be given, and not both"):
        on(LATTICES["Cu"], LATTICES["Cu"].slip_systems()[0], **options)


def test_a_fault_without_energy_is_refused() -> None:
    with pytest.raises(ValueError, match="fault_energy_mJ_per_m2 must be positive, got 0"):
        on(LATTICES["Cu"], LATTICES["Cu"].slip_systems()[0], fault_energy_mJ_per_m2=0.0)


def test_partials_that_attract_each_other_have_no_equilibrium() -> None:
    burgers = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]], dtype=torch.float64)
    with pytest.raises(ValueError, match="partials must repel each other"):
        equilibrium_width(burgers, 50 * torch.eye(3, dtype=torch.float64), 45.0)
