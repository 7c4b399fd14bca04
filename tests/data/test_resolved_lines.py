"""From DXA's segments to lines: Burgers vectors are conserved at every step, and what is there decides the class."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cdi.defects.line import DislocationLine
from cdi.lattices.lattice import Lattice
from data.molecular_dynamics.dxa import ExtractedLine
from data.molecular_dynamics.resolved_lines import (
    LineFrame,
    Resolution,
    class_of_lines,
    resolved_lines,
    reversed_line,
)

LATTICE = Lattice.of_material("Cu")
TURNED = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix()
FRAME = LineFrame(LATTICE, TURNED)
PERFECT, LEADING, TRAILING = (0.5, 0.5, 0.0), (1 / 3, 1 / 6, 1 / 6), (1 / 6, 1 / 3, -1 / 6)
RADIUS, SHELL = 60.0, 18.0


def depth(points: np.ndarray) -> np.ndarray:
    """Below the surface of a ball of ``RADIUS``."""
    return RADIUS - np.linalg.norm(points, axis=-1)


def found(points: list[list[float]], burgers: tuple[float, ...], *, is_reversed: bool = False) -> ExtractedLine:
    """As DXA gives it: four digits, crystal axes of its own choice, a strained vector in the laboratory."""
    sign = -1 if is_reversed else 1
    corners = np.array(points[::sign], np.float64)
    first, second, third = (round(sign * b, 4) for b in burgers)
    strained = 1.03 * sign * TURNED @ LATTICE.direction(burgers)
    return ExtractedLine(DislocationLine(corners, strained), (third, -first, second))


def split_line(*, is_reversed: bool = False) -> list[ExtractedLine]:
    """A perfect line along z through the ball, split within; the pieces in the shell are perfect."""
    lower, upper = [2.0, 1.0, -44.0], [-1.0, 3.0, 45.0]
    return [
        found([[2, 1, -57], [3, 1, -50], lower], PERFECT),
        found([lower, [9, 1, -20], [9, 2, 20], upper], LEADING, is_reversed=is_reversed),
        found([lower, [-7, 1, -20], [-7, 2, 20], upper], TRAILING),
        found([upper, [-1, 3, 56]], PERFECT, is_reversed=is_reversed),
    ]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_perfect_ends_in_the_shell_become_the_ends_of_both_partials(is_reversed: bool) -> None:
    """Two lines from surface to surface, whose Burgers vectors are exact and sum to the perfect one."""
    lines = resolved_lines(split_line(is_reversed=is_reversed), FRAME, Resolution(depth, SHELL))
    assert len(lines) == 2
    total = np.zeros(3)
    for line in lines:
        upward = line if line.points[-1, 2] > line.points[0, 2] else reversed_line(line)
        np.testing.assert_allclose(upward.points[[0, -1]], [[2, 1, -57], [-1, 3, 56]])
        assert np.all(np.diff(upward.points[:, 2]) > 0)
        total += FRAME.fractions(upward)
        assert min(np.abs(FRAME.fractions(upward) - b).max() for b in (LEADING, TRAILING)) < 1e-12
    np.testing.assert_allclose(total, PERFECT, atol=1e-12)
    assert class_of_lines(lines, FRAME) == "partial-or-fault"


@pytest.mark.parametrize("is_reversed", [False, True])
def test_partials_closer_than_is_resolved_are_the_perfect_line_between_them(is_reversed: bool) -> None:
    """16 Å at most, over 11 Å on half their length: one line at 14 Å, two at 9 Å."""
    segments = split_line(is_reversed=is_reversed)
    (line,) = resolved_lines(segments, FRAME, Resolution(depth, SHELL, pair_A=14.0))
    upward = line if line.points[-1, 2] > line.points[0, 2] else reversed_line(line)
    np.testing.assert_allclose(FRAME.fractions(upward), PERFECT, atol=1e-12)
    np.testing.assert_allclose(upward.points[[0, -1]], [[2, 1, -57], [-1, 3, 56]])
    assert np.abs(upward.points[:, 0] - 1).max() < 3
    assert class_of_lines([line], FRAME) in ("edge", "screw", "mixed")
    assert len(resolved_lines(segments, FRAME, Resolution(depth, SHELL, pair_A=9.0))) == 2


def test_segments_that_go_on_in_one_another_are_one_line() -> None:
    pieces = [
        found([[0, 0, -50], [1, 0, 0]], PERFECT),
        found([[1, 0, 0.4], [0, 2, 30]], PERFECT, is_reversed=True),
        found([[0, 2, 30.3], [0, 0, 50]], PERFECT),
    ]
    (line,) = resolved_lines(pieces, FRAME, Resolution(depth, 5.0))
    assert line.length == pytest.approx(100, abs=1)
    upward = line if line.points[-1, 2] > 0 else reversed_line(line)
    np.testing.assert_allclose(FRAME.fractions(upward), PERFECT, atol=1e-12)
    # Another Burgers vector beyond the meeting point is another line.
    other = [*pieces[:2], found([[0, 2, 30.3], [0, 0, 50]], (0.5, 0.0, 0.5))]
    assert len(resolved_lines(other, FRAME, Resolution(depth, 5.0))) == 2


def test_what_lies_in_the_shell_or_is_a_kink_is_no_line() -> None:
    segments = [
        found([[30, 0, 45], [-30, 10, 47]], PERFECT),
        found([[0, 0, 0], [0, 6, 5]], PERFECT),
        found([[0, 0, 0], [5, 0, 0], [5, 5, 0], [0, 0, 0]], LEADING),
    ]
    assert resolved_lines(segments, FRAME, Resolution(depth, SHELL)) == ()
    assert len(resolved_lines(segments, FRAME, Resolution(depth, 3.0))) == 1
    assert resolved_lines([], FRAME, Resolution(depth, SHELL, pair_A=9.0)) == ()


def line(points: list[list[float]], burgers: tuple[float, ...]) -> DislocationLine:
    return DislocationLine(np.array(points, np.float64), TURNED @ LATTICE.direction(burgers))


def test_the_class_is_what_the_lines_are() -> None:
    """Characters of lines from surface to surface; rings and nodes; partials before all."""
    along = TURNED @ LATTICE.direction(PERFECT)
    across = np.cross(TURNED @ LATTICE.plane_normal((1, -1, 1)), along)
    screw = DislocationLine(np.array([-20 * along, 20 * along]), along)
    edge = DislocationLine(np.array([-across, across]) * 30 / np.linalg.norm(across) + 9.0, along)
    assert class_of_lines([], FRAME) == "none"
    assert class_of_lines([screw], FRAME) == class_of_lines([screw, reversed_line(screw)], FRAME) == "screw"
    assert class_of_lines([edge], FRAME) == "edge"
    assert class_of_lines([edge, screw], FRAME) == "mixed"
    ring = line([[0, 0, 0], [20, 0, 0], [0, 20, 0], [0, 0, 0]], PERFECT)
    assert class_of_lines([ring, screw], FRAME) == "loop-or-network"
    arms = [line([[0, 0, 0], end], b) for end, b in (
        ([40, 0, 0], (0.5, 0.5, 0)), ([0, 40, 0], (-0.5, 0, 0.5)), ([0, 0, 40], (0, -0.5, -0.5)))]  # fmt: skip
    assert class_of_lines(arms, FRAME) == "loop-or-network"
    assert class_of_lines([*arms, line([[9, 9, 9], [9, 9, 40]], LEADING)], FRAME) == "partial-or-fault"
