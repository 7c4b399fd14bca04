"""Straight dislocations: the circuit closes to b, the medium is in equilibrium, no cut is visible."""

import numpy as np
import pytest
import torch
from cdi.dislocation import CORE_RADIUS, Dislocation, straight_line_field
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from cdi.defects.straight_dislocation import dislocation_on
from cdi.lattices.lattice import Lattice

Array = NDArray[np.float64]
LATTICES = {"fcc": Lattice.of_material("Au"), "bcc": Lattice.of_material("Fe")}
CHARACTERS = (0.0, 30.0, 60.0, 90.0, -60.0)
POINT = np.array([3.1, -1.7, 2.3])


def every_line(orientation: Array) -> list[tuple[Lattice, Dislocation]]:
    return [
        (lattice, dislocation_on(lattice, system, character_deg=angle, point=POINT, orientation=orientation))
        for lattice in LATTICES.values()
        for system in lattice.slip_systems()
        for angle in CHARACTERS
    ]


def circuit(direction: Array, radius: float, count: int = 360) -> Array:
    """A right-handed circle about ``direction``, its frame unrelated to the slip plane's."""
    x = np.cross(direction, [0.36, 0.48, 0.8])
    x /= np.linalg.norm(x)
    angle = np.linspace(0, 2 * np.pi, count + 1)
    return radius * (np.cos(angle)[:, None] * x + np.sin(angle)[:, None] * np.cross(direction, x))


@pytest.mark.parametrize("radius", [2.0, 40.0])
def test_the_burgers_circuit_closes_to_b(rotation: Array, radius: float) -> None:
    """∮ du = b on a right-handed circuit about ξ (RH/FS), on every slip system, edge, screw and mixed.

    The one increment across the cut is a lattice vector too much; all others are small.
    """
    for _, line in every_line(rotation):
        points = POINT + circuit(line.direction, radius) + 7.0 * line.direction
        increments = np.diff(line.displacement(torch.as_tensor(points)).numpy(), axis=0)
        jumps = np.rint(increments @ line.burgers / (line.burgers @ line.burgers))
        smooth = increments - jumps[:, None] * line.burgers
        assert np.abs(jumps).sum() == 1
        assert np.linalg.norm(smooth, axis=1).max() < 0.03 * np.linalg.norm(line.burgers)
        np.testing.assert_allclose(smooth.sum(0), line.burgers, atol=1e-10)


def test_a_circuit_that_misses_the_line_closes(rotation: Array) -> None:
    for _, line in every_line(rotation)[::7]:
        aside = np.cross(line.direction, line.normal) * -30.0
        points = POINT + aside + circuit(line.direction, 12.0)
        increments = np.diff(line.displacement(torch.as_tensor(points)).numpy(), axis=0)
        jumps = np.rint(increments @ line.burgers / (line.burgers @ line.burgers))
        np.testing.assert_allclose((increments - jumps[:, None] * line.burgers).sum(0), 0, atol=1e-10)


@pytest.mark.parametrize("character", CHARACTERS)
def test_the_character_is_the_angle_between_line_and_burgers_vector(character: float, rotation: Array) -> None:
    for lattice in LATTICES.values():
        for system in lattice.slip_systems():
            line = dislocation_on(lattice, system, character_deg=character, point=POINT, orientation=rotation)
            assert line.character_deg == pytest.approx(abs(character), abs=1e-5)


def planar_points(seed: int = 0) -> Tensor:
    """Points (n, 2) between 5 and 50 Å from the line, off the cut."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(-3.0, 3.0, 50), rng.uniform(5, 50, 50)
    return torch.as_tensor(np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1))


def field(points: Tensor, *, edge: float = 2.5, screw: float = 0.0, nu: float = 0.35, core: float = 0.0) -> Tensor:
    x, y = points.unbind(-1)
    return torch.stack(straight_line_field(x, y, edge=edge, screw=screw, poisson_ratio=nu, core=core), -1)


def gradient(points: Tensor, **arguments: float) -> Tensor:
    """∂u_i/∂x_j ``(n, 3, 2)`` by automatic differentiation."""
    return torch.vmap(torch.func.jacrev(lambda p: field(p, **arguments)))(points)


@pytest.mark.parametrize("nu", [0.1, 0.28, 0.41])
def test_the_dilatation_of_an_edge_is_the_analytic_one(nu: float) -> None:
    """∇·u = −b (1 − 2ν) / (2π (1 − ν)) · y / r² (Hirth & Lothe 1982, from eqs. 3-43)."""
    points = planar_points()
    jacobian = gradient(points, nu=nu)
    x, y = points.unbind(-1)
    expected = -2.5 * (1 - 2 * nu) / (2 * np.pi * (1 - nu)) * y / (x**2 + y**2)
    torch.testing.assert_close(jacobian[:, 0, 0] + jacobian[:, 1, 1], expected)


def test_the_core_changes_nothing_far_away() -> None:
    """Softened by r² + core²: at 20 core radii the strain differs by less than 1 %."""
    core = CORE_RADIUS * 2.5
    points = planar_points()
    points = points / points.norm(dim=-1, keepdim=True) * 20 * core
    sharp, soft = gradient(points), gradient(points, core=core)
    assert (sharp - soft).norm() < 0.01 * sharp.norm()


@pytest.mark.parametrize("nu", [0.1, 0.41])
def test_the_medium_is_in_equilibrium(nu: float) -> None:
    """(1 − 2ν) ∇²u + ∇(∇·u) = 0 (Navier) away from the line, edge and screw."""
    arguments = {"edge": 2.5, "screw": 1.7, "nu": nu}
    hessian = torch.vmap(torch.func.hessian(lambda p: field(p, **arguments)))(planar_points(1))
    laplacian = hessian[:, :, 0, 0] + hessian[:, :, 1, 1]
    grad_div = torch.stack([hessian[:, 0, 0, j] + hessian[:, 1, 1, j] for j in range(2)], -1)
    residual = (1 - 2 * nu) * laplacian
    residual[:, :2] += grad_div
    assert residual.abs().max() < 1e-10 * hessian.abs().max()


@pytest.mark.parametrize("nu", [0.1, 0.41])
def test_no_net_force_acts_on_the_line(nu: float) -> None:
    """∮ σ·n ds = 0 around an edge: no line force hides in the field (isotropic Hooke, μ = 1)."""
    angle = torch.arange(720, dtype=torch.float64) * (2 * torch.pi / 720) + 0.001
    normal = torch.stack([angle.cos(), angle.sin()], -1)
    strain = gradient(20 * normal, nu=nu)[:, :2]
    strain = (strain + strain.mT) / 2
    trace = strain.diagonal(dim1=-2, dim2=-1).sum(-1)
    stress = 2 * strain + 2 * nu / (1 - 2 * nu) * trace[:, None, None] * torch.eye(2, dtype=torch.float64)
    traction = (stress @ normal[..., None])[..., 0]
    assert traction.mean(0).abs().max() < 1e-10 * traction.abs().max()


def test_a_screw_displaces_along_its_line_only() -> None:
    """u_ξ = b θ / 2π (Hirth & Lothe 1982, eq. 3-3)."""
    points = planar_points()
    u = field(points, edge=0.0, screw=2.5)
    assert not u[:, :2].any()
    torch.testing.assert_close(u[:, 2], 2.5 * torch.atan2(points[:, 1], points[:, 0]) / (2 * np.pi))


def test_the_cut_is_invisible_to_every_reflection(rotation: Array) -> None:
    """exp(iG·u) is continuous where u jumps by b: on the slip plane behind the line."""
    reflections = {"fcc": [(1, 1, 1), (2, 0, 0), (2, 2, 0), (1, -1, 3)], "bcc": [(1, 1, 0), (2, 0, 0), (2, 1, 1)]}
    for lattice, line in every_line(rotation):
        behind = POINT - 25.0 * np.cross(line.normal, line.direction)
        sides = torch.as_tensor(behind + np.array([[1e-5], [-1e-5]]) * line.normal)
        u = line.displacement(sides).numpy()
        np.testing.assert_allclose(u[0] - u[1], line.burgers, atol=1e-4)
        for hkl in reflections[lattice.structure]:
            phasor = np.exp(1j * u @ rotation @ lattice.reflection_vector(hkl))
            assert abs(phasor[0] - phasor[1]) < 1e-3


def test_sites_on_the_cut_lie_on_one_side_of_it() -> None:
    """Rounding of y to ±1e-15 decides nothing: neighbours of one row stay neighbours."""
    x = torch.full((2,), -30.0, dtype=torch.float64)
    y = torch.tensor([1e-13, -1e-13], dtype=torch.float64)
    u_x, _, u_z = straight_line_field(x, y, edge=2.5, screw=1.0, poisson_ratio=0.3, core=0.6)
    torch.testing.assert_close(u_x[0], u_x[1])
    torch.testing.assert_close(u_z[0], u_z[1])


def test_a_rotated_dislocation_displaces_by_the_rotated_vector(rotation: Array) -> None:
    """u(Rr; Rb, Rξ, Rn, Rp) = R u(r; b, ξ, n, p)."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(50, 3)) * 20
    turn = Rotation.random(rng=rng).as_matrix()
    for _, line in every_line(rotation)[::11]:
        turned = Dislocation(
            turn @ line.burgers, turn @ line.direction, turn @ line.normal, turn @ line.point, line.poisson_ratio
        )
        expected = line.displacement(torch.as_tensor(points)).numpy() @ turn.T
        np.testing.assert_allclose(turned.displacement(torch.as_tensor(points @ turn.T)).numpy(), expected, atol=1e-10)


def test_the_opposite_sense_with_the_opposite_burgers_vector_is_the_same_line(rotation: Array) -> None:
    """(b, ξ) → (−b, −ξ) leaves exp(iG·u) unchanged up to a global phase."""
    points = torch.as_tensor(np.random.default_rng(5).normal(size=(200, 3)) * 20)
    for lattice, line in every_line(rotation)[::11]:
        G = rotation @ lattice.reflection_vector((2, 2, 0) if lattice.structure == "fcc" else (2, 1, 1))
        other = Dislocation(-line.burgers, -line.direction, line.normal, line.point, line.poisson_ratio)
        difference = (line.displacement(points) - other.displacement(points)).numpy() @ G
        phasor = np.exp(1j * difference)
        np.testing.assert_allclose(phasor, phasor[0], atol=1e-8)


GOOD = {
    "burgers": (2.9, 0, 0),
    "direction": (0, 0, 1),
    "normal": (0, 1, 0),
    "point": (0, 0, 0),
    "poisson_ratio": 0.3,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"burgers": (1, 0)}, "burgers must be 3 finite numbers"),
        ({"point": (0, np.nan, 0)}, "point must be 3 finite numbers"),
        ({"direction": (0, 0, 2)}, "direction must be a unit vector"),
        ({"normal": (0, 1, 1)}, "normal must be a unit vector"),
        ({"burgers": (0, 0, 0)}, "burgers must not be zero"),
        ({"burgers": (2, 1, 0)}, "must lie in the slip plane"),
        ({"direction": (0, 0.6, 0.8)}, "must lie in the slip plane"),
        ({"poisson_ratio": 0.5}, "poisson_ratio must lie in"),
    ],
)
def test_malformed_dislocations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dislocation(**{**GOOD, **change})  # type: ignore[arg-type]
