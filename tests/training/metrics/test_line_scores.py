"""Lines are matched one to one; what counts is where they are, what they wind, and their Burgers vector."""

from dataclasses import replace

import numpy as np
import pytest
from crystals_to_score import BURGERS, OTHER, SPANNING, VOXEL, known
from numpy.typing import NDArray

from training.metrics import KnownLine, Line, f1, line_distances, match_lines
from training.metrics.line_scores import LineScore, line_score
from training.metrics.polylines import along, nearest, same_sense, separation

Array = NDArray[np.float64]
LINE = np.array([[-4.0, 1.0, 2.0], [4.0, 1.0, 2.0]])
CUBE = 8.0 * np.eye(3)


def true_line(shift: Array | tuple[float, ...] = (0, 0, 0), burgers: Array = BURGERS) -> KnownLine:
    """``LINE`` moved by ``shift``, in voxels of ``CUBE``."""
    return known((LINE + np.asarray(shift)) @ CUBE, burgers, SPANNING)


def said(line: Line, *, confidence: float = 0.9) -> Line:
    return Line(line.points, line.windings, line.burgers, confidence)


def test_parallel_lines_are_their_separation_apart() -> None:
    """Two parallel lines of equal extent lie at their distance, whatever their sense."""
    shifted = LINE[::-1] + np.array([0, 3, 4])
    assert line_distances([LINE], [shifted])[0, 0] == pytest.approx(5)
    assert separation(LINE, shifted) == pytest.approx((5, 5))


def test_a_short_piece_of_a_line_is_not_the_line() -> None:
    """The distance counts both ways: what is missing counts as well as what is wrong."""
    mean, farthest = separation(LINE * [0.25, 1, 1], LINE)
    # A quarter of the line: nothing one way, ∫ of what sticks out the other way, (3/4) · 3/2; halved.
    assert mean == pytest.approx(0.5 * 0.75 * 1.5, rel=0.01)
    assert farthest == pytest.approx(3)


def test_the_hausdorff_distance_is_that_of_the_farthest_bump() -> None:
    """A bump of 3 in one place moves the mean little and the Hausdorff distance by 3."""
    bump = np.array([[-4.0, 1, 2], [-0.5, 1, 2], [0, 4, 2], [0.5, 1, 2], [4, 1, 2]])
    mean, farthest = separation(bump, LINE)
    assert farthest == pytest.approx(3, abs=0.25)
    assert mean < 1


def test_distances_do_not_depend_on_the_corners_of_a_line() -> None:
    """Cutting segments adds no distance."""
    cut = along(LINE)[[0, 1, 2, 5, 11, -1]]
    assert separation(cut, np.add(LINE, [0, 2, 0])) == pytest.approx((2, 2))


def test_the_nearest_segment_is_the_nearest() -> None:
    """Along a corner, beside each leg, and beyond the end."""
    corner = np.array([[0.0, 0, 0], [4, 0, 0], [4, 5, 0]])
    distance, segment = nearest(np.array([[1.0, 2, 0], [3, 4, 0], [4, 8, 4], [-3, 0, 4]]), corner)
    np.testing.assert_allclose(distance, [2, 1, 5, 5])
    np.testing.assert_array_equal(segment, [0, 1, 1, 0])


def test_senses_are_compared_along_the_line() -> None:
    """A hairpin runs against itself end to end, but a noisy copy of it runs along it."""
    turn = np.linspace(0, np.pi, 20)
    hairpin = np.stack([8 * np.sin(turn), 2 * np.cos(turn), 0.2 * turn], -1)
    noisy = hairpin + np.random.default_rng(0).normal(0, 0.2, hairpin.shape)
    assert same_sense(hairpin, noisy)
    assert not same_sense(hairpin, noisy[::-1])


def test_lines_are_matched_one_to_one() -> None:
    """Two predictions of one line are one hit and one false line."""
    score = match_lines([LINE, LINE + 0.1], [LINE], twinned=False)
    assert score.hits(1.0) == 1
    assert f1([score], 1.0) == pytest.approx(2 / 3)


def test_the_total_distance_is_the_least() -> None:
    """The first prediction is nearest to the second line and yet belongs to the first, for the second needs it."""
    true = [LINE, np.add(LINE, [0, 3, 0])]
    score = match_lines([np.add(LINE, [0, 1.6, 0]), np.add(LINE, [0, 4, 0])], true, twinned=False)
    np.testing.assert_allclose(np.sort(score.distances), [1, 1.6])


def test_a_twinned_crystal_has_its_lines_inverted() -> None:
    """The twin that the object chose is the one that its lines are compared with."""
    assert match_lines([-LINE], [LINE], twinned=True).hits(0.1) == 1
    assert match_lines([-LINE], [LINE], twinned=False).hits(0.1) == 0


def test_missed_and_false_lines_cost_f1() -> None:
    """One hit, one miss, one false line: F1 is a half."""
    far = LINE + 50
    scores = [match_lines([LINE], [LINE], twinned=False), match_lines([far], [LINE], twinned=False)]
    assert f1(scores, 2.0) == pytest.approx(0.5)
    assert np.isnan(f1([match_lines([], [], twinned=False)], 2.0))


def test_distances_are_told_in_voxels_and_in_nm() -> None:
    """On a sheared grid a voxel is no fixed length: a shift by (1, 0, 2) voxels is |a₁ + 2 a₃| in Å."""
    along_z = np.array([[0.0, 0, -4], [0, 0, 4]])
    true = known(along_z @ VOXEL, BURGERS, SPANNING)
    moved = Line(along_z @ VOXEL + VOXEL[0], true.windings)
    score = line_score([moved], [true], VOXEL)
    direction = VOXEL[2] / np.linalg.norm(VOXEL[2])
    across = VOXEL[0] - (VOXEL[0] @ direction) * direction
    assert score.distances == pytest.approx([1])
    assert score.hausdorff == pytest.approx([1])
    # Parallel and slightly offset along themselves: the ends add a little to the distance across.
    assert score.distances_nm == pytest.approx([np.linalg.norm(across) / 10], rel=0.01)
    assert score.hausdorff_nm == pytest.approx([np.linalg.norm(VOXEL[0]) / 10], rel=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_burgers_vector_is_right_in_the_sense_of_its_line(reverse: bool) -> None:
    """(b, ξ) and (−b, −ξ) are one line; (−b, ξ) is another, and its windings look alike in modulus."""
    true = true_line()
    assert true.burgers is not None
    sign = -1 if reverse else 1
    points = true.points[::sign]
    right = Line(points, sign * true.windings, sign * true.burgers)
    wrong = Line(points, -sign * true.windings, -sign * true.burgers)
    assert line_score([right], [true], CUBE).burgers.tolist() == [1]
    assert line_score([wrong], [true], CUBE).burgers.tolist() == [0]
    assert line_score([wrong], [true], CUBE).windings.tolist() == [1]


def test_windings_are_right_by_their_modulus_in_each_reflection() -> None:
    """Two of three reflections right: two thirds."""
    true = true_line(burgers=OTHER)
    np.testing.assert_array_equal(true.windings, [1, 0, 0])
    assert line_score([Line(true.points, [-1.1, 0.1, 1])], [true], CUBE).windings == pytest.approx([2 / 3])  # type: ignore[arg-type]
    # Thirds of partials are told apart.
    assert line_score([Line(true.points, [2 / 3, 0, 0])], [true], CUBE).windings == pytest.approx([2 / 3])  # type: ignore[arg-type]


def test_a_burgers_vector_that_is_not_told_is_wrong_and_one_that_is_hidden_is_not_asked_for() -> None:
    true = true_line()
    silent = Line(true.points, true.windings)
    assert line_score([silent], [true], CUBE).burgers.tolist() == [0]
    hidden = line_score([said(true)], [replace(true, determined=False)], CUBE)
    assert np.isnan(hidden.burgers).all()
    assert hidden.determined == 0


def test_a_pair_too_far_apart_is_no_pair_for_windings() -> None:
    """Five voxels off: a distance is told, a Burgers vector is not asked for."""
    true = true_line()
    score = line_score([replace(said(true), points=np.add(true.points, [0, 40.0, 0]))], [true], CUBE)
    assert score.distances == pytest.approx([5])
    assert np.isnan(score.burgers).all()
    assert np.isnan(score.windings).all()
    assert not score.found.any()


def test_a_hidden_line_is_not_asked_for() -> None:
    """A line that winds nowhere: missing it is no miss, and finding it is neither reward nor blame."""
    visible = true_line()
    hidden = KnownLine(np.add(LINE, [0, 9, 0]) @ CUBE, np.zeros(3), OTHER)
    missed = line_score([said(visible)], [visible, hidden], CUBE)
    found = line_score([said(visible), Line(hidden.points + 4, np.zeros(3))], [visible, hidden], CUBE)
    for score in (missed, found):
        assert (score.predicted, score.true, score.hits(1.0)) == (1, 1, 1)
    # It excuses one line, not two, and none that lies elsewhere.
    twice = line_score([Line(hidden.points, np.zeros(3)), Line(hidden.points + 4, np.zeros(3))], [hidden], CUBE)
    far = line_score([Line(hidden.points + 24, np.zeros(3))], [hidden], CUBE)
    assert (twice.predicted, far.predicted) == (1, 1)


def test_a_line_beside_a_visible_one_belongs_to_it() -> None:
    """A hidden line close by takes no prediction away from the visible one."""
    visible = true_line()
    hidden = KnownLine(np.add(LINE, [0, 1.5, 0]) @ CUBE, np.zeros(3), OTHER)
    score = line_score([Line(np.add(LINE, [0, 1, 0]) @ CUBE, visible.windings, BURGERS, 0.5)], [hidden, visible], CUBE)
    assert (score.predicted, score.true, score.hits(1.0)) == (1, 1, 1)
    assert score.burgers.tolist() == [1]


def test_confidences_go_with_what_became_of_their_lines() -> None:
    """In the order of the predictions, the unmatched ones with them."""
    true = [true_line(), true_line((0, 20, 0))]
    lines = [said(true_line((0, 60, 0)), confidence=0.2), said(true[1], confidence=0.8), said(true[0], confidence=0.7)]
    score = line_score(lines, true, CUBE)
    np.testing.assert_array_equal(score.confidences, [0.2, 0.8, 0.7])
    np.testing.assert_array_equal(score.found, [False, True, True])
    assert score.determined == 2


def test_no_lines_on_one_side_or_on_both() -> None:
    """Nothing found, nothing there: all arrays are empty."""
    for predicted, true in (((), ()), ((), (true_line(),)), ((said(true_line()),), ())):
        score = line_score(predicted, true, CUBE)
        assert (score.predicted, score.true, score.hits(4.0)) == (len(predicted), len(true), 0)
        assert score.distances.shape == score.burgers.shape == score.distances_nm.shape == (0,)
        assert isinstance(score, LineScore)
