"""Vortex lines of several reflections, made one where they lie together."""

import numpy as np
import pytest

from cdi.retrieval.joined_lines import joined_lines, separation
from cdi.retrieval.vortex_lines import VortexLine

VOXEL = np.array([[9.0, 0, 0], [1.5, 10.0, 0], [-0.7, 1.2, 11.0]])


def straight(start: tuple[float, ...], stop: tuple[float, ...], winding: int = 1) -> VortexLine:
    share = np.linspace(0, 1, 9)[:, None]
    return VortexLine(np.array(start) * (1 - share) + np.array(stop) * share, winding, 0.0, 1.0)


def in_angstrom(line: VortexLine) -> VortexLine:
    return VortexLine(line.points @ VOXEL, line.winding, 0.0, 1.0)


def test_lines_that_lie_together_are_one_with_both_windings() -> None:
    """Counted in the sense of the longer; what lies apart stays a line of its own, with 0 where it is not seen."""
    longer, shorter = straight((-5, 0, 0), (5, 1, 0), 2), straight((4, 1.5, 0.5), (-4, 0.5, 0.5))
    apart = straight((-3, 5, 0), (3, 5, 0))
    first, second = joined_lines([[shorter], [longer, apart], []])
    np.testing.assert_array_equal(first.points, longer.points)
    assert first.windings == (-1, 2, 0)
    assert second.windings == (0, 1, 0)


def test_distances_are_in_voxels_whatever_the_unit() -> None:
    """1.5 voxels apart are more than 2 Å."""
    longer, beside = straight((-5, 0, 0), (5, 0, 0)), straight((-4, 1.5, 0), (4, 1.5, 0))
    (line,) = joined_lines([[in_angstrom(longer)], [in_angstrom(beside)]], VOXEL)
    assert line.windings == (1, 1)
    assert len(joined_lines([[in_angstrom(longer)], [in_angstrom(beside)]])) == 2


def test_a_line_joins_the_nearest_longer_one() -> None:
    far, near = straight((-5, 1.5, 0), (5, 1.5, 0)), straight((-4, 0.4, 0), (4, 0.4, 0))
    first, second = joined_lines([[far, near], [straight((-3, 0, 0), (3, 0, 0))]])
    assert first.windings == (1, 0)
    assert second.windings == (1, 1)


def test_two_lines_of_one_reflection_are_never_joined() -> None:
    assert len(joined_lines([[straight((-5, 0, 0), (5, 0, 0)), straight((-4, 1, 0), (4, 1, 0))]])) == 2


def test_separation_is_the_mean_distance_from_the_second_line() -> None:
    first, second = np.array([[0.0, 1, 0], [4, 3, 0]]), np.array([[-9.0, 0, 0], [9, 0, 0]])
    assert separation(first, second) == pytest.approx(2, abs=0.05)
