"""Straight dislocations in both media: the circuit closes to b, no cut is visible, derivatives hold."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from derivatives_of_fields import gradient, hessian
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from cdi.defects.media import medium_of
from cdi.defects.medium import CORE_RADIUS, IsotropicMedium
from cdi.defects.straight_dislocation import StraightDislocation, dislocation_on
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball

Array = NDArray[np.float64]
LATTICES = {name: Lattice.of_material(name) for name in ("Au", "Fe", "Zn", "Si", "NaCl")}
REFLECTIONS = {
    "fcc": [(1, 1, 1), (2, 0, 0), (2, 2, 0), (1, -1, 3)],
    "bcc": [(1, 1, 0), (2, 0, 0), (2, 1, 1)],
    "hcp": [(1, 0, 0), (0, 0, 2), (1, 0, 1), (1, -2, 0)],
    "diamond": [(1, 1, 1), (2, 2, 0), (1, -1, 3)],
    "rock-salt": [(2, 0, 0), (2, 2, 0), (1, 1, 1)],
}
MEDIA = ("isotropic", "anisotropic")
CHARACTERS = (0.0, 30.0, 60.0, 90.0, -60.0)
POINT = np.array([3.1, -1.7, 2.3])


def every_line(orientation: Array, medium: str, step: int = 1) -> list[tuple[Lattice, StraightDislocation]]:
    """A line on every ``step``-th slip system of each lattice, the characters in turn."""
    return [
        (
            lattice,
            dislocation_on(
                lattice,
                system,
                character_deg=CHARACTERS[index % len(CHARACTERS)],
                point=POINT,
                orientation=orientation,
                medium=medium_of(lattice, orientation, medium),
            ),
        )
        for lattice in LATTICES.values()
        for index, system in enumerate(lattice.slip_systems())
        if index % step == 0
    ]


def circuit(direction: Array, radius: float, count: int = 360) -> Array:
    """A right-handed circle about ``direction``, its frame unrelated to the slip plane's."""
    x = np.cross(direction, [0.36, 0.48, 0.8])
    x /= np.linalg.norm(x)
    angle = np.linspace(0, 2 * np.pi, count + 1)
    return np.asarray(radius * (np.cos(angle)[:, None] * x + np.sin(angle)[:, None] * np.cross(direction, x)))


def unwound(line: StraightDislocation, points: Array) -> tuple[Array, Array]:
    """Increments of u along ``points`` without the jumps by b at the cut, and the number of jumps at each."""
    burgers = line.burgers.numpy()
    increments = np.diff(line.displacement(torch.as_tensor(points)).numpy(), axis=0)
    jumps = np.rint(increments @ burgers / (burgers @ burgers))
    return increments - jumps[:, None] * burgers, jumps


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("radius", [2.0, 40.0])
def test_the_burgers_circuit_closes_to_b(rotation: Array, radius: float, medium: str) -> None:
    """∮ du = b on a right-handed circuit about ξ (RH/FS), on every slip system, edges, screws and mixed in turn.

    The one increment across the cut is a lattice vector too much; all others are small.
    """
    for _, line in every_line(rotation, medium):
        direction, burgers = line.direction.numpy(), line.burgers.numpy()
        smooth, jumps = unwound(line, POINT + circuit(direction, radius) + 7.0 * direction)
        assert np.abs(jumps).sum() == 1
        assert np.linalg.norm(smooth, axis=1).max() < 0.03 * np.linalg.norm(burgers)
        np.testing.assert_allclose(smooth.sum(0), burgers, atol=1e-9)


@pytest.mark.parametrize("medium", MEDIA)
def test_a_circuit_that_misses_the_line_closes(rotation: Array, medium: str) -> None:
    for _, line in every_line(rotation, medium, step=2):
        points = POINT - 30.0 * line.frame[0].numpy() + circuit(line.direction.numpy(), 12.0)
        np.testing.assert_allclose(unwound(line, points)[0].sum(0), 0, atol=1e-9)


@pytest.mark.parametrize("character", CHARACTERS)
def test_the_character_is_the_angle_between_line_and_burgers_vector(character: float, rotation: Array) -> None:
    for lattice in LATTICES.values():
        for system in lattice.slip_systems()[::3]:
            line = dislocation_on(lattice, system, character_deg=character, point=POINT, orientation=rotation)
            (chord,) = line.lines(Ball.of_diameter(50.0))
            assert chord.character_deg == pytest.approx(abs(character), abs=1e-5)


def test_the_truth_is_the_chord_within_the_shape(rotation: Array) -> None:
    """Both ends of the line lie on the ball, in the sense ξ; a line beside it is no defect of it."""
    (_, line), *_ = every_line(rotation, "isotropic")
    (chord,) = line.lines(Ball.of_diameter(50.0))
    np.testing.assert_allclose(np.linalg.norm(chord.points, axis=1), 25.0)
    assert (chord.points[1] - chord.points[0]) @ line.direction.numpy() == pytest.approx(chord.length)
    np.testing.assert_allclose(chord.burgers, line.burgers)
    beside = StraightDislocation(line.burgers, line.direction, line.normal, 26 * line.normal, line.medium)
    with pytest.raises(ValueError, match="a dislocation must cross the crystal"):
        beside.lines(Ball.of_diameter(50.0))


def planar_points(seed: int = 0) -> Tensor:
    """Points (n, 2) between 5 and 50 Å from the line, off the cut."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(-3.0, 3.0, 50), rng.uniform(5, 50, 50)
    return torch.as_tensor(np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1))


FAR = 1e5
"""Distances at which the softened core is below 1e-10 of any derivative, times those of ``planar_points``."""


def field(points: Tensor, *, edge: float = 2.5, screw: float = 0.0, nu: float = 0.35) -> Tensor:
    x, y = points.unbind(-1)
    burgers = torch.tensor([edge, 0.0, screw], dtype=torch.float64)
    return IsotropicMedium(nu).straight_line_field(x, y, burgers, torch.eye(3, dtype=torch.float64))


def strained(points: Tensor, **arguments: float) -> Tensor:
    """∂u_i/∂x_j ``(n, 3, 2)`` of ``field``."""
    return gradient(lambda p: field(p, **arguments), points).detach()


@pytest.mark.parametrize("nu", [0.1, 0.28, 0.41])
def test_the_dilatation_of_an_edge_is_the_analytic_one(nu: float) -> None:
    """∇·u = −b (1 − 2ν) / (2π (1 − ν)) · y / r² (Hirth & Lothe 1982, from eqs. 3-43)."""
    points = FAR * planar_points()
    jacobian = strained(points, nu=nu)
    x, y = points.unbind(-1)
    expected = -2.5 * (1 - 2 * nu) / (2 * np.pi * (1 - nu)) * y / (x**2 + y**2)
    torch.testing.assert_close(FAR * (jacobian[:, 0, 0] + jacobian[:, 1, 1]), FAR * expected)


def test_the_core_changes_nothing_far_away() -> None:
    """Softened by r² + core²: at 20 core radii the strain differs by less than 1 % from the scale-free one."""
    points = planar_points()
    points = points / points.norm(dim=-1, keepdim=True) * 20 * CORE_RADIUS * 2.5
    sharp, soft = FAR * strained(FAR * points), strained(points)
    assert (sharp - soft).norm() < 0.01 * sharp.norm()


@pytest.mark.parametrize("nu", [0.1, 0.41])
def test_the_medium_is_in_equilibrium(nu: float) -> None:
    """(1 − 2ν) ∇²u + ∇(∇·u) = 0 (Navier) away from the line, edge and screw."""
    arguments = {"edge": 2.5, "screw": 1.7, "nu": nu}
    second = hessian(lambda p: field(p, **arguments), FAR * planar_points(1))
    laplacian = second[:, :, 0, 0] + second[:, :, 1, 1]
    grad_div = torch.stack([second[:, 0, 0, j] + second[:, 1, 1, j] for j in range(2)], -1)
    residual = (1 - 2 * nu) * laplacian
    residual[:, :2] += grad_div
    assert residual.abs().max() < 1e-9 * second.abs().max()


@pytest.mark.parametrize("nu", [0.1, 0.41])
def test_no_net_force_acts_on_the_line(nu: float) -> None:
    """∮ σ·n ds = 0 around an edge: no line force hides in the field (isotropic Hooke, μ = 1)."""
    angle = torch.arange(720, dtype=torch.float64) * (2 * torch.pi / 720) + 0.001
    normal = torch.stack([angle.cos(), angle.sin()], -1)
    strain = strained(20 * FAR * normal, nu=nu)[:, :2]
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


@pytest.mark.parametrize("medium", MEDIA)
def test_the_cut_is_invisible_to_every_reflection(rotation: Array, medium: str) -> None:
    """exp(iG·u) is continuous where u jumps by b: on the slip plane behind the line."""
    for lattice, line in every_line(rotation, medium):
        behind = POINT - 25.0 * line.frame[0].numpy()
        sides = torch.as_tensor(behind + np.array([[1e-5], [-1e-5]]) * line.normal.numpy())
        u = line.displacement(sides).numpy()
        np.testing.assert_allclose(u[0] - u[1], line.burgers, atol=1e-4)
        for hkl in REFLECTIONS[lattice.structure]:
            phasor = np.exp(1j * u @ rotation @ lattice.reflection_vector(hkl))
            assert abs(phasor[0] - phasor[1]) < 1e-3


@pytest.mark.parametrize("medium", MEDIA)
def test_sites_on_the_cut_lie_on_one_side_of_it(rotation: Array, medium: str) -> None:
    """Rounding of y to ±1e-13 decides nothing: neighbours of one row stay neighbours, on the upper side."""
    for _, line in every_line(rotation, medium, step=2):
        behind = POINT - 25.0 * line.frame[0].numpy()
        u = line.displacement(torch.as_tensor(behind + np.array([[1e-13], [-1e-13], [1e-5]]) * line.normal.numpy()))
        torch.testing.assert_close(u[0], u[1])
        torch.testing.assert_close(u[0], u[2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("medium", MEDIA)
def test_a_rotated_lattice_displaces_by_the_rotated_vector(rotation: Array, medium: str) -> None:
    """u(Rr; R) = R u(r; 1): a line, its lattice and its medium turn together."""
    points = np.random.default_rng(3).normal(size=(50, 3)) * 20
    turn = Rotation.from_rotvec([-0.9, 0.3, 2.1]).as_matrix()
    for lattice in LATTICES.values():
        system = lattice.slip_systems()[3]
        u = []
        for total in (rotation, turn @ rotation):
            turned = total @ rotation.T
            line = dislocation_on(
                lattice,
                system,
                character_deg=37.0,
                point=turned @ POINT,
                orientation=total,
                medium=medium_of(lattice, total, medium),
            )
            u.append(line.displacement(torch.as_tensor(points @ turned.T)).numpy() @ turned)
        np.testing.assert_allclose(u[1], u[0], atol=1e-9)


@pytest.mark.parametrize("medium", MEDIA)
def test_the_opposite_sense_with_the_opposite_burgers_vector_is_the_same_line(rotation: Array, medium: str) -> None:
    """(b, ξ) → (−b, −ξ) leaves exp(iG·u) unchanged up to a global phase."""
    points = torch.as_tensor(np.random.default_rng(5).normal(size=(200, 3)) * 20)
    for lattice, line in every_line(rotation, medium, step=3):
        other = StraightDislocation(-line.burgers, -line.direction, line.normal, line.point, line.medium)
        for hkl in REFLECTIONS[lattice.structure]:
            G = rotation @ lattice.reflection_vector(hkl)
            phasor = np.exp(1j * (line.displacement(points) - other.displacement(points)).numpy() @ G)
            np.testing.assert_allclose(phasor, phasor[0], atol=1e-7)


@pytest.mark.parametrize("medium", MEDIA)
def test_single_precision_points_get_single_precision_displacements(rotation: Array, medium: str) -> None:
    """In the type of the points, and within 1e-5 Å of the double ones at 20 Å, any leading dimensions."""
    points = torch.as_tensor(np.random.default_rng(6).normal(size=(5, 6, 7, 3)) * 20)
    for _, line in every_line(rotation, medium, step=4):
        single = line.displacement(points.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), line.displacement(points), atol=1e-5, rtol=0)


def in_frame(medium: str, orientation: Array) -> Callable[..., Tensor]:
    """u at ``points`` of a line in copper as a function of its point, its angle in the plane, and b's angle in it."""
    chosen = medium_of(Lattice.of_material("Cu"), orientation, medium)
    frame = torch.as_tensor(orientation @ Rotation.from_rotvec([0.2, 0.5, -0.4]).as_matrix())

    def displacement(points: Tensor, point: Tensor, line_angle: Tensor, burgers: Tensor) -> Tensor:
        direction = torch.cos(line_angle) * frame[0] + torch.sin(line_angle) * frame[2]
        line = StraightDislocation(burgers @ frame[[0, 2]], direction, frame[1], point, chosen)
        return line.displacement(points)

    return displacement


@pytest.mark.parametrize("medium", MEDIA)
def test_derivatives_hold_in_points_and_line(rotation: Array, medium: str) -> None:
    """gradcheck in the sites, the line's point, its direction and its Burgers vector, also inside the core."""
    rng = np.random.default_rng(8)
    points = np.concatenate([rng.normal(size=(6, 3)) * 15, POINT + rng.normal(size=(2, 3)) * 0.3])
    values = (points, POINT, 0.7, [1.9, -1.4])
    inputs = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values]
    assert torch.autograd.gradcheck(in_frame(medium, rotation), inputs)


@pytest.mark.parametrize("medium", MEDIA)
def test_derivatives_of_a_site_on_the_plane_before_the_line_are_its_neighbours(rotation: Array, medium: str) -> None:
    """The rule for sites on the plane changes no derivative: ∂u/∂r is continuous across it."""
    (_, line), *_ = every_line(rotation, medium)
    ahead = torch.as_tensor(POINT + 9.0 * line.frame[0].numpy())
    heights = torch.tensor([[0.0], [1e-5]], dtype=torch.float64)
    on, off = gradient(line.displacement, ahead + heights * line.normal).detach()
    torch.testing.assert_close(on, off, atol=1e-5, rtol=0)
    assert on.norm() > 1e-3


GOOD = {
    "burgers": (2.9, 0, 0),
    "direction": (0, 0, 1),
    "normal": (0, 1, 0),
    "point": (0, 0, 0),
    "medium": IsotropicMedium(0.3),
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
    ],
)
def test_malformed_dislocations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StraightDislocation(**{**GOOD, **change})  # type: ignore[arg-type]


def test_a_medium_without_volume_stiffness_is_refused() -> None:
    with pytest.raises(ValueError, match="poisson_ratio must lie in"):
        IsotropicMedium(0.5)
