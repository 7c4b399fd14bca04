"""Lines of searched objects: their vortices, and what a network sees apart from them, with windings of both."""

import numpy as np
import pytest
from objects_by_hand import HALF, VOXEL, Array, indices, tube, vortex

from models.lines import TracedLine
from models.object_lines import object_lines, vortices_of

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


def lines_of(lines: list[TracedLine], volumes: Array, voxel: Array = VOXEL) -> tuple[TracedLine, ...]:
    """With a density of the network's that is high along the line through ``POINT``."""
    return object_lines(lines, tube(HALF, POINT, ALONG), vortices_of(volumes, voxel), voxel)


def distance(told: TracedLine, point: Array = POINT) -> float:
    """Of the farthest point from the straight line through ``point``, in voxels."""
    return float(np.linalg.norm(np.cross(told.points_A @ np.linalg.inv(VOXEL) - point, ALONG), axis=1).max())


@pytest.mark.parametrize("handed", [1, -1])
def test_a_vortex_is_a_line_with_its_winding_in_each_reflection(handed: int) -> None:
    """On left-handed voxels what winds right-handed in indices winds left-handed in space."""
    voxel = VOXEL * [1.0, 1.0, handed]
    (told,) = lines_of([], objects(1, -1, 0), voxel)
    np.testing.assert_allclose(told.windings, [1, -1, 0])
    along = (told.points_A[-1] - told.points_A[0]) @ np.linalg.inv(voxel) @ ALONG
    assert np.sign(along) == handed
    assert told.confidence > 0.6


def test_where_no_vortex_shows_the_line_beside_it_says_the_winding() -> None:
    """In the vortex's sense, against which it is drawn; of a line elsewhere nothing is taken."""
    before = line([0.3, -0.2, 0.4])
    against = TracedLine(before.points_A[::-1], -before.windings, before.confidence)
    for beside in (before, against):
        (told,) = lines_of([beside], objects(1, -1, 0))
        np.testing.assert_allclose(told.windings, [1, -1, 0.4])
    elsewhere = line([0.3, -0.2, 0.4], POINT + np.array([3.5, 0, 0]))
    vortices = [told for told in lines_of([elsewhere], objects(1, -1, 0)) if distance(told) < 1]
    np.testing.assert_allclose(vortices[0].windings, [1, -1, 0])


def test_the_first_winding_is_positive_and_the_points_follow() -> None:
    (told,) = lines_of([], objects(-1, 1))
    np.testing.assert_allclose(told.windings, [1, -1])
    assert (told.points_A[-1] - told.points_A[0]) @ np.linalg.inv(VOXEL) @ ALONG < 0


def test_a_line_beside_a_vortex_is_that_vortex() -> None:
    """Drawn three quarters of a voxel aside by the network, it is told where the phase winds."""
    (told,) = lines_of([line([0.5], POINT + APART)], objects(1))
    assert distance(told) < 0.35
    assert told.windings == [1]


def test_a_vortex_is_as_sure_as_the_network_sees_a_line_there() -> None:
    (seen,) = lines_of([], objects(1))
    (unseen,) = object_lines([], np.zeros(HALF), vortices_of(objects(1), VOXEL), VOXEL)
    assert unseen.confidence == 0 < seen.confidence <= 1


def test_a_line_apart_from_all_vortices_stays_as_the_network_has_it() -> None:
    far, long = line([0.3], POINT + np.array([3.5, 0, 0])), line([0.3], length=14.0)
    for before in (far, long):
        told = lines_of([before], objects(1))
        assert len(told) == 2
        stays = max(told, key=distance) if before is far else told[0]
        np.testing.assert_array_equal(stays.windings, before.windings)
        np.testing.assert_array_equal(stays.points_A, before.points_A)


def test_the_longest_comes_first() -> None:
    told = lines_of([line([0.3], length=14.0)], objects(1))
    assert [one.length for one in told] == sorted((one.length for one in told), reverse=True)


def test_two_vortices_beside_each_other_are_one_line_of_both() -> None:
    inside = np.linalg.norm(indices(HALF), axis=-1) < 5
    phase = vortex(HALF, POINT - APART, ALONG) + vortex(HALF, POINT + APART, ALONG)
    (told,) = lines_of([line([0.6])], (inside * np.exp(1j * phase))[None])
    np.testing.assert_allclose(told.windings, [2])


def test_a_line_about_which_nothing_winds_is_left_out() -> None:
    """Neither a vortex nor the network says that it does: a third of a turn, as about a partial, is enough."""
    point = POINT + np.array([3.5, 0, 0])
    lines = [line([0.1, -0.2], point), line([0.05, 0.33], point)]
    told = [one for one in lines_of(lines, objects(1, 0)) if distance(one) > 2]
    assert len(told) == 1
    np.testing.assert_array_equal(told[0].windings, lines[1].windings)


def test_no_line_and_no_object_are_no_error() -> None:
    assert lines_of([], np.zeros((1, *HALF), complex)) == ()
    before = line([0.4])
    (told,) = lines_of([before], np.zeros((1, *HALF), complex))
    np.testing.assert_array_equal(told.windings, before.windings)
