"""A pressed surface: Sneddon's contact, in equilibrium below it, and no dislocation."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.defects.flat_punch import FlatPunch
from cdi.shapes.ball import Ball

Array = NDArray[np.float64]
DEPTH, RADIUS, POISSON, HEIGHT = 2.5, 14.0, 0.31, 60.0


def punch(rotation: Array) -> FlatPunch:
    """Onto the end of the third axis of ``rotation``."""
    top = torch.as_tensor(rotation[2])
    return FlatPunch(HEIGHT * top, -top, torch.tensor(DEPTH), torch.tensor(RADIUS), POISSON)


def below(rotation: Array, across: Array, down: Array) -> Tensor:
    """Points ``across`` Å from the axis and ``down`` Å below the surface."""
    away = HEIGHT - np.asarray(down, np.float64)[:, None]
    return torch.as_tensor(np.asarray(across)[:, None] * rotation[0] + away * rotation[2])


def derivatives(found: FlatPunch, point: Tensor) -> tuple[Tensor, Tensor]:
    """∂u_i/∂x_j and ∂²u_i/∂x_j∂x_k at ``point`` (3,)."""
    first = torch.func.jacfwd(lambda p: found.displacement(p[None])[0])
    return first(point), torch.func.jacfwd(first)(point)


def test_the_material_is_in_equilibrium(rotation: Array) -> None:
    """Navier: ∇(∇·u)/(1 − 2ν) + ∇²u = 0, each term being far from it."""
    found = punch(rotation)
    for point in below(rotation, np.array([3.0, 18, 40]), np.array([5.0, 9, 70])):
        _, second = derivatives(found, point)
        compression, laplacian = torch.einsum("iik->k", second), torch.einsum("ijj->i", second)
        assert (compression / (1 - 2 * POISSON) + laplacian).norm() < 1e-9 * laplacian.norm()


def test_the_contact_sinks_as_one_and_the_surface_beside_it_follows(rotation: Array) -> None:
    """u_z = δ within a and δ 2/π asin(a/ρ) beyond it (Johnson, eq. 3.38), up to a constant."""
    found, across = punch(rotation), np.array([1.0, 7, 13.9, 14.1, 25, 50])
    sides = [found.displacement(below(rotation, side * across, np.zeros(6))) for side in (1, -1)]
    # In the mean of both sides what is taken off as a uniform strain is the same along the surface.
    sunk = (sides[0] + sides[1]) @ torch.as_tensor(-rotation[2]) / 2
    expected = DEPTH * 2 / np.pi * np.arcsin(np.minimum(1, RADIUS / across))
    torch.testing.assert_close(sunk - sunk[0], torch.as_tensor(expected - DEPTH), atol=2e-3, rtol=0)


@pytest.mark.parametrize("across", [20.0, 35.0])
def test_the_free_surface_bears_no_load(rotation: Array, across: float) -> None:
    """σ_zz ∝ ν ∇·u/(1 − 2ν) + ∂u_z/∂z and σ_zρ are 0 just below it, but for the uniform strain's share."""
    found, normal = punch(rotation), torch.as_tensor(rotation[2])
    loaded, free = (below(rotation, np.array([r]), np.array([1e-4]))[0] for r in (7.0, across))

    def traction(point: Tensor) -> Tensor:
        step = 30.0
        ends = step * torch.cat([torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
        ahead, behind = found.displacement(ends).chunk(2)
        assert (ahead - behind).norm() < 1e-9  # no strain about the origin is left
        field = torch.func.jacfwd(lambda p: found._field(p[None])[0])(point)
        strain = (field + field.mT) / 2
        return (POISSON / (1 - 2 * POISSON) * strain.trace() * torch.eye(3) + strain) @ normal

    assert traction(free).norm() < 1e-3 * traction(loaded).norm()


def test_far_away_it_is_the_point_load_of_boussinesq(rotation: Array) -> None:
    """u_z = δ a (2/π) [1/R + z²/(2(1 − ν) R³)], the load of a rigid punch being 4μaδ/(1 − ν)."""
    z = 4000.0
    u = punch(rotation)._field(below(rotation, np.array([0.0]), np.array([z])))[0]
    expected = DEPTH * RADIUS * 2 / np.pi / z * (1 + 1 / (2 * (1 - POISSON)))
    np.testing.assert_allclose(u @ torch.as_tensor(-rotation[2]), expected, rtol=1e-3)


def test_it_has_no_lines_and_every_circuit_closes(rotation: Array) -> None:
    angle = np.linspace(0, 2 * np.pi, 400)[:, None]
    path = torch.as_tensor(30 * (np.cos(angle) * rotation[0] + np.sin(angle) * rotation[2]))
    found = punch(rotation)
    u = found.displacement(path).numpy()
    np.testing.assert_allclose(u[-1], u[0], atol=1e-12)
    assert np.abs(np.diff(u, axis=0)).max() < 0.05
    assert found.lines(Ball.of_diameter(120.0)) == ()
    assert found.defect_class == "none"


def test_single_precision_and_points_beyond_the_surface_are_finite(rotation: Array) -> None:
    """Voxels around the crystal, the axis and the rim of the contact among them."""
    points = below(rotation, np.array([0.0, 14, 200, 0, 14]), np.array([-50.0, -1e-3, -80, 0, 0]))
    found = punch(rotation)
    u = found.displacement(points.float())
    assert u.dtype == torch.float32
    torch.testing.assert_close(u.double(), found.displacement(points), atol=2e-3, rtol=1e-3)


def test_derivatives_pass_gradcheck(rotation: Array) -> None:
    """With respect to place, direction, depth, radius and points."""
    points = torch.as_tensor(np.random.default_rng(2).normal(size=(4, 3)) * 15).requires_grad_()
    given = punch(rotation)
    parameters = [getattr(given, name).clone().requires_grad_() for name in ("point", "inward", "depth", "radius")]
    assert torch.autograd.gradcheck(lambda *p: FlatPunch(*p[:4], POISSON).displacement(p[4]), (*parameters, points))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": np.nan}, "depth must be finite"),
        ({"point": (0.0, 0.0)}, "point must be finite with shape"),
        ({"point": (0.0, 0.0, 0.0)}, "point must not be zero"),
        ({"inward": (0.0, 0.0, 0.0)}, "inward must not be zero"),
        ({"radius": 0.0}, "radius must be positive"),
        ({"poisson_ratio": 0.5}, "poisson_ratio must lie"),
    ],
)
def test_malformed_punches_are_refused(change: dict[str, object], message: str) -> None:
    given = {"point": (0.0, 0, 50), "inward": (0.0, 0, -1), "depth": 1.0, "radius": 5.0, "poisson_ratio": 0.3}
    with pytest.raises(ValueError, match=message):
        FlatPunch(**(given | change))  # type: ignore[arg-type]
