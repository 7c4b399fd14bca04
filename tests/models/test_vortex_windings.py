"""Whole-number windings of traced lines from the vortices of objects, in the lines' own sense."""

import numpy as np
import pytest
from objects_by_hand import HALF, VOXEL, Array, indices, vortex

from models.lines import TracedLine
from models.vortex_windings import with_vortex_windings

POINT, ALONG = np.array([0.3, -0.4, 0.2]), np.array([0.15, -0.1, 1.0])
ALONG /= np.linalg.norm(ALONG)
APART = np.array([0.7, 0, 0])


def line(windings: list[float], point: Array = POINT, length: float = 3.0, voxel: Array = VOXEL) -> TracedLine:
    points = point + np.linspace(-length, length, 9)[:, None] * ALONG
    return TracedLine(points @ voxel, np.array(windings), 0.8)


def objects(*windings: int) -> Array:
    """Objects whose phase winds so often about the line, right-handed in space about its sense."""
    inside = np.linalg.norm(indices(HALF), axis=-1) < 5
    return np.stack([inside * np.exp(1j * vortex(HALF, POINT, ALONG, m)) for m in windings])


@pytest.mark.parametrize("handed", [1, -1])
def test_a_vortex_along_a_line_says_its_winding_in_each_reflection(handed: int) -> None:
    """On left-handed voxels what winds right-handed in indices winds left-handed in space."""
    voxel = VOXEL * [1.0, 1.0, handed]
    (told,) = with_vortex_windings([line([0.3, -0.2, 0.4], voxel=voxel)], objects(1, -1, 0), voxel)
    # No vortex in the third: what was said before stands.
    sign = np.sign(told.windings[0]) * handed
    np.testing.assert_allclose(told.windings[:2], [1, -1])
    np.testing.assert_allclose(told.windings[2], 0.4 * sign)
    assert told.confidence == 0.8


def test_the_first_winding_is_positive_and_the_points_follow() -> None:
    before = line([0.2, 0.1])
    (told,) = with_vortex_windings([before], objects(-1, 1), VOXEL)
    np.testing.assert_allclose(told.windings, [1, -1])
    along = (told.points_A[-1] - told.points_A[0]) @ (before.points_A[-1] - before.points_A[0])
    assert along < 0


def test_a_line_follows_the_vortex_beside_it() -> None:
    """Drawn three quarters of a voxel aside, it comes to lie where the phase winds, in the sense that it had."""
    before = line([0.5], POINT + np.array([0.75, 0, 0]))
    (told,) = with_vortex_windings([before], objects(1), VOXEL)
    away = np.cross(told.points_A @ np.linalg.inv(VOXEL) - POINT, ALONG)
    assert np.linalg.norm(away, axis=1).max() < 0.35
    assert (told.points_A[-1] - told.points_A[0]) @ (before.points_A[-1] - before.points_A[0]) > 0
    assert told.windings == [1]


def test_a_vortex_elsewhere_and_one_along_a_small_part_say_nothing() -> None:
    far, long = line([0.3], POINT + np.array([3.5, 0, 0])), line([0.3], length=14.0)
    for before in (far, long):
        (told,) = with_vortex_windings([before], objects(1), VOXEL)
        np.testing.assert_array_equal(told.windings, before.windings)


def test_two_vortices_beside_each_other_are_one_line_of_both() -> None:
    inside = np.linalg.norm(indices(HALF), axis=-1) < 5
    phase = vortex(HALF, POINT - APART, ALONG) + vortex(HALF, POINT + APART, ALONG)
    (told,) = with_vortex_windings([line([0.6])], (inside * np.exp(1j * phase))[None], VOXEL)
    np.testing.assert_allclose(told.windings, [2])


def test_a_line_about_which_nothing_winds_is_left_out() -> None:
    """Neither a vortex nor the network says that it does: a third of a turn, as about a partial, is enough."""
    point = POINT + np.array([3.5, 0, 0])
    lines = [line([0.1, -0.2], point), line([0.05, 0.33], point)]
    (told,) = with_vortex_windings(lines, objects(1, 0), VOXEL)
    np.testing.assert_array_equal(told.windings, lines[1].windings)


def test_no_line_and_no_object_are_no_error() -> None:
    assert with_vortex_windings([], objects(1), VOXEL) == ()
    before = line([0.4])
    (told,) = with_vortex_windings([before], np.zeros((1, *HALF), complex), VOXEL)
    np.testing.assert_array_equal(told.windings, before.windings)
