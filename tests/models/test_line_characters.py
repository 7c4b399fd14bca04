"""Edge, screw and mixed by the angle between traced lines and their Burgers vectors."""

import numpy as np
import pytest

from cdi.defects.classes import CLASSES
from models.line_characters import with_characters
from models.prediction import BurgersCandidate, PredictedLine

CELL = 4.0 * np.eye(3)
ALONG_B = np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
ACROSS_B = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
EVEN = np.array([0.1, 0.2, 0.2, 0.2, 0.2, 0.1])
UNTOLD = [CLASSES.index(name) for name in ("none", "partial-or-fault", "loop-or-network")]


def line(direction, *fractions, turn=None, length=100.0, confidence=0.9):
    points = np.linspace(-length / 2, length / 2, 5)[:, None] * np.asarray(direction)
    vectors = fractions or ((0.5, -0.5, 0.0),)
    candidates = tuple(BurgersCandidate(f, 1 / len(vectors)) for f in vectors)
    return PredictedLine(points if turn is None else points @ turn.T, None, confidence, (), candidates)


def at(degrees):
    return np.cos(np.radians(degrees)) * ALONG_B + np.sin(np.radians(degrees)) * ACROSS_B


def told(*lines, classes=EVEN, orientation=None):
    found = with_characters(classes, lines, np.eye(3) if orientation is None else orientation, CELL)
    assert sum(found) == pytest.approx(1)
    assert np.allclose(found[UNTOLD], classes[UNTOLD])
    return dict(zip(CLASSES, found, strict=True))


@pytest.mark.parametrize(("degrees", "name"), [(0, "screw"), (5, "screw"), (45, "mixed"), (60, "mixed"), (90, "edge")])
def test_the_angle_tells_the_character_in_any_sense_and_orientation(degrees, name):
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    one = told(line(at(degrees)))
    assert max(("edge", "screw", "mixed"), key=one.get) == name
    assert one[name] > 0.25
    for same in (told(line(-at(degrees))), told(line(at(degrees), (-0.5, 0.5, 0.0))),
                 told(line(at(degrees), turn=turn), orientation=turn)):  # fmt: skip
        assert same == pytest.approx(one)


def test_a_network_that_is_sure_stays_so():
    sure = np.array([0.01, 0.01, 0.95, 0.01, 0.01, 0.01])
    assert told(line(ACROSS_B), classes=sure)["screw"] > 0.9


def test_vectors_that_nothing_tells_apart_count_alike():
    both = told(line(ALONG_B, (0.5, -0.5, 0.0), (0.5, 0.5, 0.0)))
    assert both["mixed"] > both["edge"] == pytest.approx(both["screw"])


def test_pure_lines_that_differ_are_mixed_and_the_longer_or_surer_counts_more():
    assert max(("edge", "screw", "mixed"), key=told(line(ALONG_B), line(ACROSS_B)).get) == "mixed"
    assert told(line(ALONG_B), line(ACROSS_B, length=10.0))["screw"] > 0.25
    assert told(line(ALONG_B), line(ACROSS_B, confidence=0.05))["screw"] > 0.25


def test_lines_without_burgers_vectors_leave_the_network_its_word():
    unknown = PredictedLine(np.array([[0.0, 0, 0], [10, 0, 0]]), None, 0.9)
    for lines in ((), (unknown,)):
        assert (with_characters(EVEN, lines, np.eye(3), CELL) == EVEN).all()
    assert told(unknown, line(ALONG_B)) == pytest.approx(told(line(ALONG_B)))
