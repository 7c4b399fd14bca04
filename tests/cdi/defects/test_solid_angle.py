"""The solid angle: against a surface integral, by symmetry, and on the surface itself."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.defects.solid_angle import area_vector, perimeter_centre, solid_angle

Array = NDArray[np.float64]
SKEW = np.array([[9.0, -1.0, 2.0], [4.0, 8.0, -1.0], [-6.0, 5.0, 3.0], [-8.0, -4.0, -2.0], [1.0, -7.0, 1.5]])


def tensor(values: Array) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def integral(points: Array, polygon: Array, cap: Array, count: int = 120) -> Array:
    """∫ (r − r')·dA/|r − r'|³ by midpoints of ``count``² small triangles of each triangle of the fan."""
    total = np.zeros(len(points))
    i, j = np.meshgrid(np.arange(count), np.arange(count), indexing="ij")
    whole = np.stack([i + 1 / 3, j + 1 / 3], -1)[i + j < count] / count
    turned = np.stack([i + 2 / 3, j + 2 / 3], -1)[i + j < count - 1] / count
    weights = np.concatenate([whole, turned])
    for a, b in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        surface = cap + weights @ np.stack([a - cap, b - cap])
        element = np.cross(a - cap, b - cap) / 2 / count**2
        away = points[:, None] - surface
        total += (away @ element / np.linalg.norm(away, axis=-1) ** 3).sum(1)
    return total


@pytest.mark.parametrize("cap", [None, np.array([2.0, 1.0, 5.0])])
def test_it_is_the_surface_integral_of_the_fan(rotation: Array, cap: Array | None) -> None:
    polygon = SKEW @ rotation.T
    points = np.random.default_rng(0).uniform(-15, 15, (40, 3)) + np.array([0, 0, 6.0])
    apex = perimeter_centre(tensor(polygon)).numpy() if cap is None else cap
    expected = integral(points, polygon, apex)
    got = solid_angle(tensor(points), tensor(polygon), cap=None if cap is None else tensor(cap)).numpy()
    far = np.abs(expected) < 4
    assert far.sum() > 30
    np.testing.assert_allclose(got[far], expected[far], atol=2e-3)


def test_a_square_seen_from_the_middle_of_a_cube_is_a_sixth_of_the_sphere(rotation: Array) -> None:
    """4π/6, positive from the side on which the corners run counter-clockwise."""
    square = np.array([[1, 1, -1], [-1, 1, -1], [-1, -1, -1], [1, -1, -1.0]]) @ rotation.T
    centre = torch.zeros(1, 3, dtype=torch.float64)
    assert solid_angle(centre, tensor(square)).item() == pytest.approx(4 * np.pi / 6, abs=1e-5)
    assert solid_angle(centre, tensor(square[::-1].copy())).item() == pytest.approx(-4 * np.pi / 6, abs=1e-5)


def test_the_faces_of_a_closed_body_add_up_to_the_sphere_inside_and_to_nothing_outside() -> None:
    """Gauss: four triangles of a tetrahedron with normals inwards."""
    corners = np.array([[0, 0, 0], [10, 1, 0], [2, 9, -1], [3, 2, 8.0]])
    faces = [corners[list(face)] for face in ((0, 1, 2), (0, 3, 1), (0, 2, 3), (1, 3, 2))]
    points = tensor(np.stack([corners.mean(0), corners.mean(0) + 20]))
    total = sum(solid_angle(points, tensor(face)) for face in faces)
    np.testing.assert_allclose(total.numpy(), [4 * np.pi, 0], atol=1e-5)


def test_points_on_the_surface_belong_to_its_upper_side(rotation: Array) -> None:
    """Also on the fan's rays, at its cap, and displaced by rounding; ``upper`` turns the rule over."""
    flat = np.array([[9.0, 0, 0], [5, 7, 0], [-6, 6, 0], [-8, -3, 0], [0, -9, 0]])
    polygon = tensor(flat @ rotation.T)
    cap = perimeter_centre(polygon).numpy()
    inside = np.concatenate(
        [[cap], *(cap + t * (flat @ rotation.T - cap) for t in (0.2, 0.5, 0.9)), 0.4 * flat @ rotation.T]
    )
    inside = inside + np.random.default_rng(1).normal(size=inside.shape) * 1e-13
    # Seen from 10⁻⁶ Å above, a polygon some Å wide covers half of the sphere to 10⁻⁵.
    np.testing.assert_allclose(solid_angle(tensor(inside), polygon).numpy(), 2 * np.pi, atol=1e-5)
    below = solid_angle(tensor(inside), polygon, upper=-area_vector(polygon)).numpy()
    np.testing.assert_allclose(below, -2 * np.pi, atol=1e-5)
    beside = tensor((2 * flat) @ rotation.T)
    np.testing.assert_allclose(solid_angle(beside, polygon).numpy(), 0, atol=1e-5)


def test_another_cap_moves_the_jump_alone() -> None:
    """Ω differs by multiples of 4π."""
    points = tensor(np.random.default_rng(2).uniform(-15, 15, (500, 3)))
    difference = solid_angle(points, tensor(SKEW)) - solid_angle(points, tensor(SKEW), cap=tensor(SKEW[0] / 2 + 4))
    turns = (difference / (4 * np.pi)).numpy()
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-5)
    assert np.abs(np.rint(turns)).sum() > 0


def test_the_centre_of_the_perimeter_does_not_move_when_a_side_is_divided() -> None:
    divided = np.insert(SKEW, 1, 0.7 * SKEW[0] + 0.3 * SKEW[1], axis=0)
    torch.testing.assert_close(perimeter_centre(tensor(divided)), perimeter_centre(tensor(SKEW)))


def test_a_polygon_of_two_corners_is_refused() -> None:
    with pytest.raises(ValueError, match="polygon must have shape"):
        solid_angle(torch.zeros(1, 3), torch.zeros(2, 3))
