"""Two sets of lines are one crystal's up to relabelling, translation and the joint twin, and no further."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cdi.defects.line import DislocationLine
from cdi.identifiability import twin
from cdi.line_sets import curve_distance, relative_sense, same_lines

Array = NDArray[np.float64]
BENT = DislocationLine(np.array([[-40.0, 3, 1], [2, 5, -4], [30, -9, 6]]), np.array([2.0, -2.0, 0.1]))
LOOP = DislocationLine(np.array([[12.0, 0, 3], [0, 15, 3], [-9, -8, 5], [12, 0, 3]]), np.array([0.5, 2.2, 1.7]))
LINES = (BENT, LOOP)


def relabelled(line: DislocationLine) -> DislocationLine:
    return DislocationLine(line.points[::-1], -line.burgers)


def refined(line: DislocationLine) -> DislocationLine:
    """The same curve with a corner more in every segment."""
    middle = 0.7 * line.points[1:] + 0.3 * line.points[:-1]
    points = np.concatenate([np.stack([line.points[:-1], middle], 1).reshape(-1, 3), line.points[-1:]])
    return DislocationLine(points, line.burgers)


def test_relabelling_order_corners_and_the_joint_twin_change_nothing() -> None:
    assert same_lines(LINES, LINES)
    assert same_lines(LINES, (relabelled(LOOP), BENT))
    assert same_lines(LINES, (BENT, DislocationLine(np.roll(LOOP.points[:-1], 1, 0)[[0, 1, 2, 0]], LOOP.burgers)))
    assert same_lines(LINES, [refined(line) for line in LINES])
    assert same_lines(LINES, twin(LINES))
    assert same_lines(LINES, [relabelled(line) for line in twin(LINES)])
    assert same_lines((), ())


def test_what_is_beyond_the_group_is_another_crystal() -> None:
    """The twin of one line alone, a flipped Burgers vector or sense, a shift, a line less."""
    assert not same_lines(LINES, (twin(LINES)[0], LOOP))
    assert not same_lines(LINES, twin(LINES), up_to_twin=False)
    for line, other in ((BENT, LOOP), (LOOP, BENT)):
        assert not same_lines(LINES, (DislocationLine(line.points, -line.burgers), other))
        assert not same_lines(LINES, (DislocationLine(line.points[::-1], line.burgers), other))
        assert not same_lines(LINES, (DislocationLine(line.points + 0.1, line.burgers), other))
        assert not same_lines(LINES, (line,))
    assert not same_lines(LINES, (BENT, BENT))


def test_a_translation_is_undone_after_the_twin() -> None:
    shift = np.array([3.0, -1.5, 8.0])
    for lines in (LINES, twin(LINES)):
        moved = [DislocationLine(line.points - shift, line.burgers) for line in lines]
        assert same_lines(LINES, moved, translation=shift, up_to_twin=False) == (lines is LINES)
        assert not same_lines(LINES, moved)
    moved_twin = [DislocationLine(line.points + shift, line.burgers) for line in LINES]
    assert same_lines(LINES, twin(moved_twin), translation=shift, up_to_twin=False) is False
    assert same_lines(LINES, twin(moved_twin), translation=-shift)


def test_only_what_the_reflections_see_is_compared() -> None:
    """b changed across G is the same; b changed along it is not; a line with G·b = 0 need not be there."""
    G = np.array([[1.5, 0.3, -0.2]])
    across = np.cross(G[0], [0.2, 1.0, 0.4])
    changed = DislocationLine(BENT.points, BENT.burgers + across)
    hidden = DislocationLine(BENT.points[:2] + 4, across)
    assert same_lines(LINES, (changed, LOOP, hidden), reflection_vectors=G)
    assert not same_lines(LINES, (changed, LOOP))
    along = DislocationLine(BENT.points, BENT.burgers + 0.1 * G[0])
    assert not same_lines(LINES, (along, LOOP), reflection_vectors=G)
    assert not same_lines(LINES, (changed, LOOP), reflection_vectors=np.concatenate([G, np.eye(3)]))


def test_distance_and_sense_of_two_curves() -> None:
    raised = DislocationLine(refined(BENT).points + np.array([0, 0, 2.0]), BENT.burgers)
    flat = DislocationLine(np.array([[0.0, 0, 0], [10, 0, 0]]), np.array([1.0, 0, 0]))
    assert curve_distance(flat, DislocationLine(np.array([[0.0, 3, 0], [10, 4, 0]]), flat.burgers)) == pytest.approx(4)
    assert curve_distance(flat, DislocationLine(np.array([[0.0, 0, 0], [3, 0, 0]]), flat.burgers)) == pytest.approx(7)
    assert curve_distance(BENT, refined(BENT)) == pytest.approx(0, abs=1e-12)
    assert relative_sense(BENT, raised) == 1
    assert relative_sense(BENT, relabelled(raised)) == -1
    assert relative_sense(LOOP, relabelled(LOOP)) == -1


def test_the_tolerance_must_be_positive() -> None:
    with pytest.raises(ValueError, match="tolerance_A must be positive, got 0"):
        same_lines(LINES, LINES, tolerance_A=0)
