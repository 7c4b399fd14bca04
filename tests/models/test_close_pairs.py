"""Lines that wind as no single Burgers vector does are two; all others stay as they are."""

import numpy as np
import pytest

from cdi.lattices.lattice import Lattice
from models.burgers import burgers_candidates
from models.close_pairs import FAR, pairs_apart
from models.known_crystal import KnownCrystal
from models.lines import TracedLine

GOLD = Lattice.of_material("Au")
COURSE = np.array([[0.0, 0, 0], [10, 1, 0], [20, 3, 1]])
THREE = ((2, 0, 0), (1, 1, 1), (1, -1, 1))


def apart(windings, reflections, lattice=GOLD):
    line = TracedLine(COURSE, np.asarray(windings, float), 0.8)
    found = pairs_apart([line], KnownCrystal(lattice, tuple(reflections)))
    assert all(one.confidence == 0.8 and sorted(one.points_A.tolist()) == sorted(COURSE.tolist()) for one in found)
    return found


def forward(line):
    """Windings in the sense of the course, whichever the line has."""
    return line.windings if (line.points_A == COURSE).all() else -line.windings


@pytest.mark.parametrize(
    ("reflection", "winding", "number"),
    [((1, 1, 1), 1, 1), ((1, 1, 1), 2, 2), ((1, 1, 1), -2, 2), ((1, 1, 1), 1.7, 1), ((1, 1, 1), 2 / 3, 1),
     ((3, 1, 1), 2, 1), ((3, 1, 1), 3, 2), ((2, 2, 0), 2, 1), ((1, 1, 1), 0, 1)],
)  # fmt: skip
def test_a_whole_turn_more_than_any_vector_winds_is_another_line(reflection, winding, number):
    found = apart([winding], [reflection])
    assert len(found) == number
    assert sum(forward(line) for line in found) == pytest.approx(winding)


@pytest.mark.parametrize("material", ["Au", "Fe", "Si"])
def test_every_pair_that_no_vector_looks_like_comes_apart_into_vectors(material):
    lattice = Lattice.of_material(material)
    reflections = {"Fe": ((1, 1, 0), (2, 0, 0), (1, -1, 2)), "Si": ((2, 2, 0), (1, 1, 1), (1, -1, 1))}.get(material)
    miller = np.array(reflections or THREE, float)
    every, perfect = (burgers_candidates(lattice, kinds)[0] for kinds in (("perfect", "partial"), ("perfect",)))
    generator, seen = np.random.default_rng(1), 0
    for first, second in generator.integers(len(perfect), size=(60, 2)):
        total = miller @ (perfect[first] + perfect[second])
        total += 0.01 * np.sign(total)  # windings as they are measured, here beyond those of one vector
        found = apart(total, reflections or THREE, lattice)
        alone = np.linalg.norm(every @ miller.T - total, axis=1).min() < FAR
        joined = perfect[first] @ lattice.cell @ lattice.cell.T @ perfect[second] < -1e-9
        assert len(found) == (1 if alone or joined else 2)
        if not alone and not joined:
            seen += 1
            np.testing.assert_allclose(sum(forward(line) for line in found), total, atol=0.2)
            for line in found:
                assert np.linalg.norm(every @ miller.T - forward(line), axis=1).min() < 0.15
    assert seen > 10


def test_a_junction_is_one_line():
    """½[111] + ½[1-1-1] = [100] in bcc, which has less energy than both."""
    iron, reflections = Lattice.of_material("Fe"), ((2, 0, 0), (1, 1, 0), (1, -1, 0))
    assert len(apart([2, 1, 1], reflections, iron)) == 1
    assert len(apart([2, 2, 0], reflections, iron)) == 2  # ½[111] + ½[11-1] = [110], which has more


def test_two_of_one_vector_are_told_from_two_that_differ():
    reflections = np.array(THREE, float)
    same, other = np.array([0.5, -0.5, 0]), np.array([0.5, 0, -0.5])
    twice = apart(2 * reflections @ same, THREE)
    np.testing.assert_allclose([forward(line) for line in twice], 2 * [reflections @ same], atol=1e-9)
    both = apart(reflections @ (same + other), THREE)
    assert {tuple(np.round(forward(line))) for line in both} == {tuple(reflections @ same), tuple(reflections @ other)}


def test_of_pairs_that_wind_alike_those_are_told_that_repel_each_other_least():
    """(1, 0) + (1, 2), of vectors at 60° to each other, rather than twice (1, 1), of one vector."""
    found = apart([2, 2], ((1, 1, 1), (3, -1, 1)))
    assert {tuple(forward(line)) for line in found} == {(1, 0), (1, 2)}


@pytest.mark.parametrize("windings", [[4.0, 0, 0], [1.5, 1.5, -2.5], [0, 0, 0]])
def test_what_neither_one_nor_two_vectors_wind_stays(windings):
    (line,) = apart(windings, THREE)
    np.testing.assert_array_equal(line.windings, windings)


def test_other_lines_stay_in_their_order():
    lines = [TracedLine(COURSE + shift, np.array([w]), 0.5) for shift, w in ((0, 1.0), (5, 2.0), (9, 0.3))]
    found = pairs_apart(lines, KnownCrystal(GOLD, ((1, 1, 1),)))
    assert found[0] is lines[0]
    assert found[3] is lines[2]
    assert [line.windings.item() for line in found] == [1.0, 1.0, 1.0, 0.3]
