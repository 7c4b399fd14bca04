"""Surface strain: as given at the surface, fading inwards, smooth and free of lines."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.defects.surface_strain import SurfaceStrain
from cdi.shapes.ball import Ball
from cdi.shapes.ellipsoid import Ellipsoid
from cdi.shapes.polyhedron import Polyhedron
from cdi.shapes.shape import Shape

Array = NDArray[np.float64]
BRICK = np.array([[1, 0.1, 0], [-1, 0, 0.2], [0, 1, 0], [0.1, -1, 0], [0, 0.2, 1], [0, 0, -1.0]])


def shapes(rotation: Array) -> list[Shape]:
    return [
        Ball.of_diameter(90.0),
        Polyhedron.centred(BRICK @ rotation.T, np.array([40.0, 44, 48, 42, 50, 46])),
        Ellipsoid(torch.tensor([40.0, 46.0, 52.0]), torch.as_tensor(rotation)),
    ]


def normal_strain(found: SurfaceStrain, point: Array, normal: Array) -> float:
    """n·ε·n by automatic differentiation."""
    gradient = torch.func.jacrev(lambda p: found.displacement(p[None])[0])(torch.as_tensor(point))
    return float(normal @ gradient.numpy() @ normal)


@pytest.mark.parametrize("strain", [-0.02, 0.013])
def test_the_strain_along_the_normal_fades_from_the_surface(rotation: Array, strain: float) -> None:
    """strain · exp(−d/depth), up to exp(−2R/depth) in the ball and the far facets of a polyhedron."""
    ball, brick, _ = shapes(rotation)
    for shape, normal, reach in (
        (ball, rotation[0], 45.0),
        (brick, brick.normals[2].numpy(), float(brick.distances[2])),  # type: ignore[attr-defined]
    ):
        found = SurfaceStrain(shape, torch.tensor(strain), torch.tensor(5.0))
        for below in (0.01, 5.0, 12.0):
            expected = strain * np.exp(-below / 5)
            assert normal_strain(found, (reach - below) * normal, normal) == pytest.approx(expected, rel=5e-3)


def test_an_ellipsoid_with_equal_axes_is_the_ball_near_its_surface(rotation: Array) -> None:
    ball = SurfaceStrain(Ball.of_diameter(90.0), torch.tensor(-0.01), torch.tensor(6.0))
    same = SurfaceStrain(
        Ellipsoid(torch.tensor([45.0] * 3), torch.as_tensor(rotation)), torch.tensor(-0.01), torch.tensor(6.0)
    )
    directions = np.random.default_rng(0).normal(size=(50, 3))
    points = torch.as_tensor(40 * directions / np.linalg.norm(directions, axis=1, keepdims=True))
    torch.testing.assert_close(same.displacement(points), ball.displacement(points), rtol=1e-3, atol=1e-9)


def test_a_negative_strain_presses_the_surface_inwards_and_leaves_the_middle_alone(rotation: Array) -> None:
    directions = np.random.default_rng(1).normal(size=(50, 3))
    surface = torch.as_tensor(38 * directions / np.linalg.norm(directions, axis=1, keepdims=True))
    for shape in shapes(rotation):
        found = SurfaceStrain(shape, torch.tensor(-0.02), torch.tensor(4.0))
        assert ((found.displacement(surface) * surface).sum(-1) < 0).all()
        # The last shape's signed distance has no direction at the very centre.
        assert found.displacement(surface / 1000).norm(dim=-1).max() < 1e-4


def test_outside_u_stays_as_at_the_surface(rotation: Array) -> None:
    """Voxels around the crystal must not blow up."""
    for shape in shapes(rotation):
        found = SurfaceStrain(shape, torch.tensor(0.02), torch.tensor(0.5))
        u = found.displacement(torch.as_tensor(200 * rotation))
        assert u.norm(dim=-1).max() <= 0.02 * 0.5 * 2


def test_it_has_no_lines_and_every_circuit_closes(rotation: Array) -> None:
    angle = np.linspace(0, 2 * np.pi, 400)[:, None]
    path = torch.as_tensor(30 * (np.cos(angle) * rotation[0] + np.sin(angle) * rotation[1]))
    for shape in shapes(rotation):
        found = SurfaceStrain(shape, torch.tensor(0.02), torch.tensor(10.0))
        assert found.lines(shape) == ()
        assert found.defect_class == "none"
        u = found.displacement(path).numpy()
        np.testing.assert_allclose(u[-1], u[0], atol=1e-12)
        assert np.abs(u).max() > 1e-3


def test_derivatives_pass_gradcheck(rotation: Array) -> None:
    """With respect to strain, depth and points, in every kind of shape."""
    points = torch.as_tensor(np.random.default_rng(2).normal(size=(4, 3)) * 20).requires_grad_()
    strain, depth = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.02, 7.0))
    for shape in shapes(rotation):
        assert torch.autograd.gradcheck(
            lambda s, d, p, shape=shape: SurfaceStrain(shape, s, d).displacement(p), (strain, depth, points)
        )


def test_the_shape_is_a_parameter_of_the_field() -> None:
    points = torch.as_tensor(np.random.default_rng(3).normal(size=(4, 3)) * 15)
    axes = torch.tensor([40.0, 46.0, 52.0], dtype=torch.float64, requires_grad=True)
    radius = torch.tensor(45.0, dtype=torch.float64, requires_grad=True)
    turn, depth = torch.eye(3, dtype=torch.float64), torch.tensor(9.0)
    assert torch.autograd.gradcheck(lambda r: SurfaceStrain(Ball(r), 0.02, depth).displacement(points), radius)  # type: ignore[arg-type]
    assert torch.autograd.gradcheck(
        lambda a: SurfaceStrain(Ellipsoid(a, turn), torch.tensor(0.02), depth).displacement(points), axes
    )


@pytest.mark.parametrize(
    ("strain", "depth", "message"),
    [
        (np.nan, 5.0, "strain must be a finite number"),
        (0.01, (1.0, 2.0), "depth must be a finite number"),
        (0.01, 0.0, "depth must be positive"),
    ],
)
def test_malformed_surface_strain_is_refused(strain: float, depth: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SurfaceStrain(Ball.of_diameter(50.0), strain, depth)  # type: ignore[arg-type]
