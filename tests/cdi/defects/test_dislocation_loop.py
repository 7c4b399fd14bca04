"""Loops: every side winds by b, the medium is in equilibrium, far away a loop is a force dipole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.defects.dislocation_loop import DislocationLoop
from cdi.defects.loop_shapes import circular_loop
from cdi.shapes.ball import Ball

Array = NDArray[np.float64]
SKEW = np.array([[19.0, -1.0, 2.0], [8.0, 16.0, -3.0], [-12.0, 11.0, 5.0], [-17.0, -8.0, -4.0], [2.0, -15.0, 3.0]])
BURGERS = np.array([1.6, -1.1, 2.1])


def skew_loop(rotation: Array, *, scale: float = 1.0, nu: float = 0.31) -> DislocationLoop:
    return DislocationLoop(
        torch.as_tensor(SKEW @ rotation.T), torch.as_tensor(scale * rotation @ BURGERS), nu
    )  # fmt: skip


def circuit(direction: Array, radius: float, count: int = 720) -> Array:
    x = np.cross(direction, [0.36, 0.48, 0.8])
    x /= np.linalg.norm(x)
    angle = np.linspace(0, 2 * np.pi, count + 1)
    return radius * (np.cos(angle)[:, None] * x + np.sin(angle)[:, None] * np.cross(direction, x))


def smooth_sum(loop: DislocationLoop, path: Array) -> tuple[Array, float]:
    """Σ du without the jumps by b, and their number."""
    burgers = loop.burgers.numpy()
    increments = np.diff(loop.displacement(torch.as_tensor(path)).numpy(), axis=0)
    jumps = np.rint(increments @ burgers / (burgers @ burgers))
    return (increments - jumps[:, None] * burgers).sum(0), float(np.abs(jumps).sum())


@pytest.mark.parametrize("radius", [2.0, 5.0])
def test_the_burgers_circuit_closes_to_b_around_every_side(rotation: Array, radius: float) -> None:
    """∮ du = b on a right-handed circuit about ξ (RH/FS), through the fan once."""
    loop = skew_loop(rotation)
    corners = loop.corners.numpy()
    for start, end in zip(corners, np.roll(corners, -1, 0), strict=True):
        along = (end - start) / np.linalg.norm(end - start)
        total, jumps = smooth_sum(loop, 0.45 * start + 0.55 * end + circuit(along, radius))
        assert jumps == 1
        np.testing.assert_allclose(total, loop.burgers.numpy(), atol=1e-9)


def test_a_circuit_that_threads_no_loop_closes(rotation: Array) -> None:
    loop = skew_loop(rotation)
    total, _ = smooth_sum(loop, np.array([3.0, -2.0, 1.0]) + circuit(np.array([0.6, 0.0, 0.8]), 60.0))
    np.testing.assert_allclose(total, 0, atol=1e-9)


def test_crossing_the_loop_along_its_normal_changes_u_by_minus_b(rotation: Array) -> None:
    loop = circular_loop([1.0, 2.0, -3.0], 20.0, rotation[2], rotation @ BURGERS, poisson_ratio=0.3, sides=9)
    sides = np.array([1.0, 2.0, -3.0]) + 4.1 * rotation[0] + np.array([[1e-4], [-1e-4]]) * rotation[2]
    above, below = loop.displacement(torch.as_tensor(sides)).numpy()
    np.testing.assert_allclose(above - below, -rotation @ BURGERS, atol=1e-3)


@pytest.mark.parametrize("nu", [0.1, 0.28, 0.44])
def test_the_medium_is_in_equilibrium_away_from_the_loop(rotation: Array, nu: float) -> None:
    """(1 − 2ν) ∇²u + ∇(∇·u) = 0 (Navier); a small b has a small core, which does not disturb it."""
    loop = skew_loop(rotation, scale=1e-4, nu=nu)
    points = torch.as_tensor(np.random.default_rng(0).normal(size=(30, 3)) * 25)
    hessian = torch.vmap(torch.func.hessian(lambda p: loop.displacement(p[None])[0]))(points)
    laplacian = hessian.diagonal(dim1=-2, dim2=-1).sum(-1)
    grad_div = torch.einsum("niij->nj", hessian)
    assert ((1 - 2 * nu) * laplacian + grad_div).abs().max() < 1e-6 * hessian.abs().max()


def test_no_net_force_acts_on_the_loop(rotation: Array) -> None:
    """∮ σ·n dA = 0 over a sphere around it (isotropic Hooke, μ = 1), by Gauss-Legendre points."""
    nu = 0.31
    loop = skew_loop(rotation, scale=1e-4, nu=nu)
    cosine, weight = np.polynomial.legendre.leggauss(40)
    angle = np.arange(80) * 2 * np.pi / 80
    sine = np.sqrt(1 - cosine**2)[:, None]
    directions = [sine * np.cos(angle), sine * np.sin(angle), cosine[:, None] + 0 * angle]
    normal = torch.as_tensor(np.stack(directions, -1).reshape(-1, 3) @ rotation.T)
    gradient = torch.vmap(torch.func.jacrev(lambda p: loop.displacement(p[None])[0]))(60 * normal)
    strain = (gradient + gradient.mT) / 2
    trace = strain.diagonal(dim1=-2, dim2=-1).sum(-1)
    stress = 2 * strain + 2 * nu / (1 - 2 * nu) * trace[:, None, None] * torch.eye(3, dtype=torch.float64)
    traction = (stress @ normal[..., None])[..., 0]
    weights = torch.as_tensor(np.repeat(weight, 80))[:, None]
    assert (weights * traction).sum(0).abs().max() < 1e-8 * (weights * traction.abs()).sum()


def dipole_field(points: Tensor, burgers: Tensor, area: Tensor, nu: float) -> Tensor:
    """u_i = −P_jk ∂_k G_ij with P_jk = −C_jkpq b_p A_q and Kelvin's G (Hirth & Lothe 1982, eqs. 2-93, 4-6), μ = 1."""

    def green(r: Tensor) -> Tensor:
        distance = torch.linalg.vector_norm(r)
        unit, eye = r / distance, torch.eye(3, dtype=torch.float64)
        return ((3 - 4 * nu) * eye + torch.outer(unit, unit)) / (16 * torch.pi * (1 - nu) * distance)

    eigen = -torch.outer(burgers, area)
    eye = torch.eye(3, dtype=torch.float64)
    dipole = eigen + eigen.T + 2 * nu / (1 - 2 * nu) * eigen.trace() * eye
    return -torch.einsum("jk,nijk->ni", dipole, torch.vmap(torch.func.jacrev(green))(points))


@pytest.mark.parametrize("distance", [500.0, 4000.0])
def test_far_away_a_loop_is_a_force_dipole(rotation: Array, distance: float) -> None:
    """The field of an infinitesimal loop, b and area vector alone, that falls by 1/r²."""
    loop = skew_loop(rotation)
    centre = loop.corners.mean(0)
    directions = np.random.default_rng(3).normal(size=(40, 3))
    offset = torch.as_tensor(distance * directions / np.linalg.norm(directions, axis=1, keepdims=True))
    expected = dipole_field(offset, loop.burgers, loop.area, loop.poisson_ratio)
    assert (loop.displacement(centre + offset) - expected).norm() < 10 / distance * expected.norm()
    assert expected.norm() * distance**2 == pytest.approx(
        float(dipole_field(offset / distance, loop.burgers, loop.area, loop.poisson_ratio).norm())
    )


def test_a_divided_side_changes_nothing(rotation: Array) -> None:
    loop = skew_loop(rotation)
    corners = loop.corners
    divided = torch.cat([corners[:1], 0.7 * corners[:1] + 0.3 * corners[1:2], corners[1:]])
    points = torch.as_tensor(np.random.default_rng(4).normal(size=(300, 3)) * 20)
    torch.testing.assert_close(replace(loop, corners=divided).displacement(points), loop.displacement(points))


def test_another_cap_changes_u_by_multiples_of_b(rotation: Array) -> None:
    loop = skew_loop(rotation)
    points = torch.as_tensor(np.random.default_rng(5).normal(size=(500, 3)) * 15)
    moved = replace(loop, cap=torch.tensor([1.0, -2.0, 9.0]))
    difference = (moved.displacement(points) - loop.displacement(points)).numpy()
    burgers = loop.burgers.numpy()
    steps = np.rint(difference @ burgers / (burgers @ burgers))
    assert np.abs(steps).sum() > 0
    np.testing.assert_allclose(difference, steps[:, None] * burgers, atol=1e-5)


def test_the_opposite_sense_with_the_opposite_burgers_vector_is_the_same_loop(rotation: Array) -> None:
    loop = skew_loop(rotation)
    points = torch.as_tensor(np.random.default_rng(6).normal(size=(100, 3)) * 20)
    other = replace(loop, corners=loop.corners.flip(0), burgers=-loop.burgers, upper=loop.area)
    torch.testing.assert_close(other.displacement(points), loop.displacement(points))


def test_fields_stay_finite_on_the_line_and_at_its_corners(rotation: Array) -> None:
    loop = skew_loop(rotation)
    corners = loop.corners
    u = loop.displacement(torch.cat([corners, (corners + corners.roll(-1, 0)) / 2]))
    assert u.abs().max() < 3 * loop.burgers.norm()


def test_many_points_come_in_their_own_shape(rotation: Array) -> None:
    """In chunks as alone; none give none."""
    loop = skew_loop(rotation)
    points = torch.as_tensor(np.random.default_rng(7).normal(size=(5, 6000, 3)) * 30)
    u = loop.displacement(points)
    assert u.shape == (5, 6000, 3)
    torch.testing.assert_close(u[3, 4321:4323], loop.displacement(points[3, 4321:4323]))
    assert loop.displacement(points[:0]).shape == (0, 6000, 3)


def test_derivatives_pass_gradcheck(rotation: Array) -> None:
    """With respect to corners, Burgers vector and points, also for sites in the loop's plane."""
    points = torch.as_tensor(np.random.default_rng(8).normal(size=(4, 3)) * 20)
    corners = torch.as_tensor(SKEW @ rotation.T, dtype=torch.float64).requires_grad_()
    burgers = torch.as_tensor(rotation @ BURGERS).requires_grad_()

    def field(corners: Tensor, burgers: Tensor, points: Tensor) -> Tensor:
        return DislocationLoop(corners, burgers, 0.31).displacement(points)

    assert torch.autograd.gradcheck(field, (corners, burgers, points.requires_grad_()))


def test_a_loop_wholly_inside_is_one_closed_line(rotation: Array) -> None:
    (line,) = skew_loop(rotation).lines(Ball.of_diameter(60.0))
    assert line.is_closed
    np.testing.assert_allclose(line.points[:-1], SKEW @ rotation.T)
    np.testing.assert_allclose(line.burgers, rotation @ BURGERS)


def test_a_loop_that_leaves_the_crystal_keeps_the_parts_inside(rotation: Array) -> None:
    """Cut at the surface alone: where its first corner lies makes no difference."""
    inside = circular_loop([20.0, 0, 0], 15.0, rotation[2], BURGERS, poisson_ratio=0.3, sides=11)
    lengths = []
    for turn in range(11):
        loop = replace(inside, corners=inside.corners.roll(turn, 0))
        (line,) = loop.lines(Ball.of_diameter(44.0))
        assert not line.is_closed
        np.testing.assert_allclose(np.linalg.norm(line.points[[0, -1]], axis=1), 22.0)
        lengths.append(line.length)
    np.testing.assert_allclose(lengths, lengths[0])


def test_a_loop_outside_of_the_crystal_is_refused(rotation: Array) -> None:
    with pytest.raises(ValueError, match="a dislocation must cross the crystal"):
        skew_loop(rotation).lines(Ball.of_diameter(10.0))


def test_a_partial_loop_counts_as_a_fault(rotation: Array) -> None:
    loop = skew_loop(rotation)
    assert loop.defect_class == "loop-or-network"
    assert replace(loop, faulted=True).defect_class == "partial-or-fault"


SQUARE = ((0, 0, 0), (9, 0, 0), (9, 9, 0), (0, 9, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corners": SQUARE[:2]}, "corners must be finite with shape"),
        ({"corners": (*SQUARE[:3], (0, np.inf, 0))}, "corners must be finite with shape"),
        ({"corners": (*SQUARE, SQUARE[0])}, "corners must differ from the next, got corner 4 twice"),
        ({"burgers": (0, 0, 0)}, "burgers must not be zero"),
        ({"burgers": (1, 0)}, "burgers must be 3 finite numbers"),
        ({"cap": (1, np.nan, 0)}, "cap must be 3 finite numbers"),
        ({"upper": (1, 0)}, "upper must be 3 finite numbers"),
        ({"poisson_ratio": 0.5}, "poisson_ratio must lie in"),
    ],
)
def test_malformed_loops_are_refused(change: dict[str, object], message: str) -> None:
    good = {"corners": SQUARE, "burgers": (2.5, 0, 0), "poisson_ratio": 0.3}
    with pytest.raises(ValueError, match=message):
        DislocationLoop(**{**good, **change})  # type: ignore[arg-type]
