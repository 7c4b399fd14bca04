"""What is known of a crystal beforehand: which reflections are allowed, and how it lies."""

import numpy as np
import pytest
from objects_by_hand import TURN

from cdi.lattices.lattice import Lattice
from models.known_crystal import KnownCrystal

GOLD = Lattice.of_material("Au")
TITANIUM = Lattice.of_material("Ti")


def measured(known: KnownCrystal, noise: float = 0.0) -> np.ndarray:
    ideal = np.array([known.lattice.reflection_vector(reflection) for reflection in known.reflections])
    return ideal @ TURN.T + noise * np.random.default_rng(0).normal(size=ideal.shape)


@pytest.mark.parametrize(
    ("lattice", "reflections"),
    [(GOLD, ((1, 1, 1), (2, 0, 0))), (GOLD, ((1, 1, 1), (1, -1, 1), (2, 0, 0))), (TITANIUM, ((1, 0, 0), (0, 0, 2)))],
)
def test_two_reflections_tell_how_the_crystal_lies(lattice: Lattice, reflections: tuple) -> None:  # type: ignore[type-arg]
    """A proper rotation, cubic or not; a strained peak turns it a little."""
    known = KnownCrystal(lattice, reflections)
    found = known.oriented(measured(known))
    np.testing.assert_allclose(found, TURN, atol=1e-9)
    rough = known.oriented(measured(known, 0.01))
    assert rough is not None
    np.testing.assert_allclose(rough @ rough.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rough) == pytest.approx(1)
    np.testing.assert_allclose(rough, TURN, atol=0.02)


@pytest.mark.parametrize("reflections", [((1, 1, 1),), ((1, 1, 1), (2, 2, 2)), ((2, 0, 0), (-2, 0, 0))])
def test_collinear_reflections_leave_it_open(reflections: tuple) -> None:  # type: ignore[type-arg]
    """A turn about G shows in none of them; told by hand, it is known."""
    known = KnownCrystal(GOLD, reflections)
    assert known.oriented(measured(known)) is None
    np.testing.assert_array_equal(KnownCrystal(GOLD, reflections, TURN).oriented(np.zeros((len(reflections), 3))), TURN)


def test_no_reflection_is_refused() -> None:
    with pytest.raises(ValueError, match="reflections must hold at least one, got none"):
        KnownCrystal(GOLD, ())


def test_a_forbidden_reflection_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reflections must be allowed in fcc Au, got \(1, 0, 0\)"):
        KnownCrystal(GOLD, ((1, 1, 1), (1, 0, 0)))


def test_exposures_without_a_geometry_do_not_tell_how_the_crystal_lies() -> None:
    known = KnownCrystal(GOLD, ((1, 1, 1), (1, -1, 1), (2, 0, 0)))
    assert known.oriented(np.zeros((3, 3))) is None
    np.testing.assert_array_equal(KnownCrystal(GOLD, ((1, 1, 1),), TURN).oriented(np.zeros((1, 3))), TURN)
