"""Surfaces of known solids: area, place, orientation, phase; what has none is refused."""

import numpy as np
import pytest

from cdi.drawn_crystal import DrawnCrystal, DrawnLine
from cdi.surface import Surface, hull_surface, isosurface

SHAPE = (30, 34, 38)
SHEARED = np.array([[2.0, 0.0, 0.0], [0.5, 1.5, 0.0], [0.0, -0.3, 1.8]])


def places(voxel: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij"), -1)
    return index @ voxel


def volume_within(surface: Surface) -> float:
    """Of a closed surface whose faces all turn the same way, by the divergence theorem."""
    a, b, c = (surface.vertices[surface.faces[:, n]] for n in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_a_ball_on_sheared_voxels_has_its_radius_its_volume_and_its_phase() -> None:
    """The phase of a dislocation-free ramp is that of the point, also where it wraps."""
    pytest.importorskip("skimage")
    r = places(SHEARED)
    k = np.array([0.9, -0.4, 0.7])
    magnitude = np.clip((14 - np.linalg.norm(r, axis=-1)) / 6 + 0.5, 0, 1)
    found = isosurface(magnitude, 0.5, SHEARED, np.angle(np.exp(1j * r @ k)))
    np.testing.assert_allclose(np.linalg.norm(found.vertices, axis=1), 14.0, atol=0.25)
    assert abs(volume_within(found)) == pytest.approx(4 / 3 * np.pi * 14**3, rel=0.02)
    assert found.phase is not None
    gap = np.angle(np.exp(1j * (found.phase - found.vertices @ k)))
    assert np.abs(gap).max() < 0.7
    assert np.abs(gap).mean() < 0.1
    assert found.face_phase is not None
    assert len(found.face_phase) == len(found.faces)


def test_a_crystal_at_the_edge_of_its_volume_is_closed() -> None:
    """A volume that is full to the edge has the box as its surface."""
    pytest.importorskip("skimage")
    found = isosurface(np.ones((5, 6, 7)), 0.5, np.eye(3))
    np.testing.assert_allclose(np.ptp(found.vertices, axis=0), [5, 6, 7])
    assert abs(volume_within(found)) == pytest.approx(5 * 6 * 7, rel=0.05)


def test_the_hull_of_a_cube_is_its_corners_with_normals_outward() -> None:
    corners = np.array([[x, y, z] for x in (0, 2) for y in (0, 3) for z in (0, 4)], float)
    found = hull_surface(np.r_[corners, [[1, 1, 1], [0.5, 2, 3]]])
    assert len(found.vertices) == 8
    assert volume_within(found) == pytest.approx(24.0)
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1)


@pytest.mark.parametrize(
    ("points", "message"),
    [(np.zeros((3, 3)), "four or more"), (np.c_[np.random.default_rng(0).random((9, 2)), np.zeros(9)], "in a plane")],
)
def test_what_does_not_span_space_has_no_hull(points: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hull_surface(points)


@pytest.mark.parametrize(
    ("magnitude", "level", "message"),
    [
        (np.ones((4, 4)), 0.5, "magnitude must be three-dimensional"),
        (np.zeros((4, 4, 4)), 0.5, "level must lie between 0 and the largest magnitude 0"),
        (np.ones((4, 4, 4)), 1.5, "level must lie between 0 and the largest magnitude 1"),
    ],
)
def test_what_has_no_surface_is_refused(magnitude: np.ndarray, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        isosurface(magnitude, level, np.eye(3))


def test_an_arrow_points_along_b_and_is_as_long_as_the_picture_asks() -> None:
    line = DrawnLine(np.array([[0.0, 0, -5], [0, 0, 0], [0, 0, 5]]), np.array([2.0, 0, 0]))
    drawn = DrawnCrystal("a", {}, (line,))
    arrow = drawn.arrow(line)
    assert arrow is not None
    np.testing.assert_allclose(arrow[0], 0)
    np.testing.assert_allclose(arrow[1] / np.linalg.norm(arrow[1]), [1, 0, 0])
    assert drawn.arrow(DrawnLine(line.points)) is None
    with pytest.raises(ValueError, match="must have a surface or a line to draw"):
        _ = DrawnCrystal("a", {}).bounds
