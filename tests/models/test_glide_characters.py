"""Edge, screw and mixed by the course of traced lines within the slip systems of a known crystal."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cdi.defects.classes import CLASSES
from cdi.lattices.lattice import Lattice
from models.glide_characters import with_characters
from models.known_crystal import KnownCrystal
from models.prediction import PredictedLine

EVEN = np.array([0.1, 0.2, 0.2, 0.2, 0.2, 0.1])
UNTOLD = [CLASSES.index(name) for name in ("none", "partial-or-fault", "loop-or-network")]
NAMED = ("edge", "screw", "mixed")
THREE, ONE = ((1, 1, 1), (2, 0, 0), (2, -2, 0)), ((1, 1, 1),)
TURN = Rotation.random(rng=np.random.default_rng(3)).as_matrix()


def gliding(crystal, degrees, *, system=None, length=100.0, confidence=0.9, turn=TURN):
    """A straight line at ``degrees`` to b in a slip plane, as ``crystal`` would show it when turned by ``turn``."""
    lattice = crystal.lattice
    seen = [one for one in lattice.slip_systems() if np.dot(one.burgers, crystal.reflections[0])]
    one = seen[0] if system is None else system
    b, n = (v / np.linalg.norm(v) for v in (lattice.direction(one.burgers), lattice.plane_normal(one.normal)))
    course = np.cos(np.radians(degrees)) * b + np.sin(np.radians(degrees)) * np.cross(n, b)
    points = np.linspace(-length / 2, length / 2, 5)[:, None] * (turn @ course)
    return PredictedLine(points, None, confidence, tuple(np.asarray(crystal.reflections) @ one.burgers))


def measured(crystal, turn=TURN):
    return np.array([turn @ crystal.lattice.reflection_vector(one) for one in crystal.reflections])


def told(crystal, *lines, classes=EVEN, turn=TURN):
    found = with_characters(classes, lines, crystal, measured(crystal, turn))
    assert sum(found) == pytest.approx(1)
    assert np.allclose(found[UNTOLD], classes[UNTOLD])
    return dict(zip(CLASSES, found, strict=True))


def named(shares):
    return max(NAMED, key=shares.get)


@pytest.mark.parametrize("reflections", [THREE, ONE], ids=["three", "one"])
@pytest.mark.parametrize(("degrees", "name"), [(0, "screw"), (90, "edge"), (-45, "mixed")])
def test_the_course_tells_the_character(degrees, name, reflections):
    crystal = KnownCrystal(Lattice.of_material("Cu"), reflections)
    shares = told(crystal, gliding(crystal, degrees))
    assert named(shares) == name
    assert shares[name] > 0.25


@pytest.mark.parametrize(
    ("material", "first"), [("Fe", (1, 1, 0)), ("Ti", (1, 0, 1)), ("Si", (2, 2, 0)), ("MgO", (2, 0, 0))]
)
def test_in_every_structure_that_slips(material, first):
    """Whatever system: pure lines of b that show are never taken for the other kind from three reflections."""
    lattice = Lattice.of_material(material)
    others = [one for one in ((2, 0, 0), (0, 2, 0), (0, 0, 2), (0, 2, 2)) if lattice.allows(one) and one != first][:2]
    crystal = KnownCrystal(lattice, (first, *others))
    for system in lattice.slip_systems():
        for degrees, right, wrong in ((0, "screw", "edge"), (90, "edge", "screw")):
            shares = told(crystal, gliding(crystal, degrees, system=system))
            assert shares[right] > 1.2 * shares[wrong], (system, degrees)


def test_seen_in_111_of_fcc_a_screw_is_inclined_by_35_degrees_and_an_edge_by_62():
    crystal = KnownCrystal(Lattice.of_material("Cu"), ONE)
    G = measured(crystal)[0]
    along = G / np.linalg.norm(G)
    across = np.linalg.svd(along[None])[2][1]
    shares = {}
    for degrees in range(10, 91):
        turned = np.radians(degrees)
        points = np.linspace(-50, 50, 5)[:, None] * (np.cos(turned) * along + np.sin(turned) * across)
        shares[degrees] = told(crystal, PredictedLine(points, None, 0.9, (1.0,)))
    assert max(shares, key=lambda at: shares[at]["screw"] / shares[at]["edge"]) == pytest.approx(35, abs=3)
    assert max(shares, key=lambda at: shares[at]["edge"] / shares[at]["screw"]) == pytest.approx(62, abs=8)


def test_a_turn_about_the_only_reflection_is_not_known_and_counts_for_nothing():
    crystal = KnownCrystal(Lattice.of_material("Cu"), ONE)
    line, G = gliding(crystal, 0), measured(crystal)[0]
    about = Rotation.from_rotvec(1.1 * G / np.linalg.norm(G)).as_matrix()
    turned = replace(line, points_A=line.points_A @ about.T)
    assert told(crystal, turned) == pytest.approx(told(crystal, line))
    oriented = KnownCrystal(crystal.lattice, ONE, TURN)
    assert told(oriented, line)["screw"] > told(crystal, line)["screw"]
    assert told(oriented, turned)["screw"] < told(oriented, line)["screw"]


@pytest.mark.parametrize("reflections", [THREE, ONE], ids=["three", "one"])
def test_neither_the_twin_nor_the_sense_of_a_line_changes_what_it_tells(reflections):
    crystal = KnownCrystal(Lattice.of_material("Cu"), reflections)
    line = gliding(crystal, 90)
    other = replace(line, windings=tuple(-w for w in line.windings))
    for same in (other, replace(line, points_A=line.points_A[::-1]), replace(other, points_A=-line.points_A)):
        assert told(crystal, same) == pytest.approx(told(crystal, line))


def test_windings_tell_lines_of_one_course_apart():
    """Along [01-1] run screws of that b, and 60° lines of others in planes that hold it."""
    lattice = Lattice.of_material("Cu")
    crystal = KnownCrystal(lattice, THREE)
    system = next(one for one in lattice.slip_systems() if np.dot(one.burgers, (1, 1, 1)))
    screw = gliding(crystal, 0, system=system)
    other = next(
        one for one in lattice.slip_systems()
        if abs(np.dot(np.asarray(one.burgers), system.burgers)) < 0.4
        and abs(np.dot(system.burgers, np.asarray(one.normal))) < 1e-9
    )  # fmt: skip
    mixed = replace(screw, windings=tuple(np.asarray(THREE) @ other.burgers))
    assert named(told(crystal, screw)) == "screw"
    assert named(told(crystal, mixed)) == "mixed"


def test_a_network_that_is_sure_stays_so():
    crystal = KnownCrystal(Lattice.of_material("Cu"), THREE)
    sure = np.array([0.01, 0.005, 0.97, 0.005, 0.005, 0.005])
    assert told(crystal, gliding(crystal, 90), classes=sure)["screw"] > 0.85


def test_the_longer_or_surer_line_counts_more():
    crystal = KnownCrystal(Lattice.of_material("Cu"), THREE)
    for less in ({"length": 10.0}, {"confidence": 0.05}):
        shares = told(crystal, gliding(crystal, 0), gliding(crystal, 90, **less))
        assert shares["screw"] > 1.3 * shares["edge"]


def test_of_as_many_lines_of_each_character_as_many_are_told():
    crystal = KnownCrystal(Lattice.of_material("Cu"), ONE)
    random = np.random.default_rng(0)
    seen = [one for one in crystal.lattice.slip_systems() if np.dot(one.burgers, ONE[0])]
    shares = []
    for degrees in np.concatenate(
        [random.uniform(low, low + width, 60) for low, width in ((75, 30), (-15, 30), (15, 60))]
    ):
        system = seen[random.integers(len(seen))]
        shares.append([told(crystal, gliding(crystal, degrees, system=system))[name] for name in NAMED])
    assert np.allclose(np.mean(shares, axis=0), 0.2, atol=0.03), np.mean(shares, axis=0)


def test_what_nothing_tells_leaves_the_network_its_word():
    crystal = KnownCrystal(Lattice.of_material("Cu"), THREE)
    line, G = gliding(crystal, 0), measured(crystal)
    ring = replace(line, points_A=np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 0, 0]]))
    unlisted = KnownCrystal(replace(crystal.lattice, structure="of a file"), THREE)
    for lines, known, vectors in (
        ((), crystal, G),
        ((ring,), crystal, G),
        ((line,), crystal, 0 * G),
        ((line,), unlisted, G),
    ):
        assert (with_characters(EVEN, lines, known, vectors) == EVEN).all()
    assert told(crystal, ring, line) == pytest.approx(told(crystal, line))
