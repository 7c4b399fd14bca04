"""Burgers vectors from windings: the true one first where the reflections tell, equal shares where they do not."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cdi.identifiability import equivalent_burgers
from cdi.lattices.lattice import Lattice
from models.burgers import burgers_candidates, burgers_posterior, line_character

GOLD, TUNGSTEN, MAGNESIUM = (Lattice.of_material(name) for name in ("Au", "W", "Mg"))
THREE = [(1, 1, 1), (-1, 1, 1), (2, 0, -2)]


@pytest.mark.parametrize(
    ("lattice", "reflections"),
    [(GOLD, [(1, 1, 1), (-1, 1, 1), (1, -1, 1)]), (TUNGSTEN, [(1, 1, 0), (0, 1, 1), (2, 1, 1)]),
     (MAGNESIUM, [(1, 0, 0), (0, 1, 1), (1, 1, 2)])],
)  # fmt: skip
def test_three_reflections_tell_every_burgers_vector(lattice: Lattice, reflections: list[tuple[int, int, int]]) -> None:
    """From windings with a small error, the vector itself, with its sense, and almost certainly."""
    generator = np.random.default_rng(5)
    candidates, prior = burgers_candidates(lattice)
    assert prior.sum() == pytest.approx(1)
    for burgers in candidates:
        measured = burgers @ np.asarray(reflections).T + generator.normal(0, 0.03, 3)
        told = burgers_posterior(measured, 0.05, lattice, reflections)
        np.testing.assert_allclose(told.candidates[0], burgers, atol=1e-8)
        assert told.determined
        assert told.probabilities[0] > 0.95
        assert told.probabilities.sum() == pytest.approx(1)
        assert (np.diff(told.probabilities) <= 1e-12).all()


def test_what_winds_alike_shares_alike() -> None:
    """One reflection: the perfect vectors that cdi.identifiability calls equivalent come first, each as likely."""
    told = burgers_posterior([1.02], 0.05, GOLD, [(1, 1, 1)], kinds=["perfect"])
    alike = equivalent_burgers(told.candidates[0], GOLD, [(1, 1, 1)])
    assert len(alike) == 3
    assert not told.determined
    np.testing.assert_allclose(told.probabilities[:3], 1 / 3, atol=1e-6)
    assert {tuple(b) for b in told.candidates[:3].round(6)} == {tuple(b) for b in alike.round(6)}


def test_the_prior_decides_where_the_windings_do_not_but_never_among_equals() -> None:
    """Errors far beyond the windings leave the odds of perfect to partial, 24 equal shares of 12 and 24 vectors."""
    told = burgers_posterior([0.3, -0.2, 0.1], 1e4, GOLD, THREE)
    perfect = np.array([GOLD.is_lattice_vector(b) for b in told.candidates])
    assert (perfect.sum(), (~perfect).sum()) == (12, 24)
    assert told.probabilities[perfect].sum() == pytest.approx(0.7, abs=1e-3)
    # g = 20-2 winds by one turn about 1/2[10-1] and by one about 1/6[11-2] + …: a partial alike a perfect vector.
    one = burgers_posterior([1.0], 0.05, GOLD, [(2, 0, -2)])
    top = one.probabilities[: int((one.probabilities > one.probabilities[0] - 1e-9).sum())]
    kinds = [GOLD.is_lattice_vector(b) for b in one.candidates[: len(top)]]
    assert any(kinds)
    assert not all(kinds)


def test_the_other_sense_of_the_line_has_the_other_burgers_vector() -> None:
    forward = burgers_posterior([1.0, 0.0, 1.0], 0.1, GOLD, THREE)
    back = burgers_posterior([-1.0, 0.0, -1.0], 0.1, GOLD, THREE)
    np.testing.assert_allclose(back.candidates[0], -forward.candidates[0])
    np.testing.assert_allclose(back.probabilities, forward.probabilities)


def test_a_reflection_with_a_large_error_counts_little() -> None:
    """Windings of 1/2[1-10] but for one reflection that is off by a turn, and known to be bad."""
    reflections = [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (2, 0, 0)]
    burgers = np.array([0.5, -0.5, 0.0])
    measured = burgers @ np.asarray(reflections).T + np.array([0, 0, 0, 1.0])
    told = burgers_posterior(measured, [0.1, 0.1, 0.1, 3.0], GOLD, reflections)
    np.testing.assert_allclose(told.candidates[0], burgers)


def test_no_winding_at_all_is_never_determined() -> None:
    """A vector that no reflection sees may fit best; nothing is then told."""
    told = burgers_posterior([0.0, 0.0], 0.1, GOLD, [(1, 1, 1), (2, 2, 2)])
    assert not told.determined
    assert np.isfinite(told.probabilities).all()


def test_partials_are_those_of_structures_that_split() -> None:
    assert len(burgers_candidates(GOLD, ["partial"])[0]) == 24
    assert len(burgers_candidates(TUNGSTEN)[0]) == 8
    with pytest.raises(ValueError, match=r"structure must be one of .* to have partial Burgers vectors, got 'bcc'"):
        burgers_candidates(TUNGSTEN, ["partial"])


@pytest.mark.parametrize(("angle", "name"), [(5.0, "screw"), (80.0, "edge"), (60.0, "mixed"), (175.0, "screw")])
def test_character_is_the_angle_to_the_line_whatever_its_sense(angle: float, name: str) -> None:
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7])
    burgers = turn.apply([2.0, 0, 0])
    along = turn.apply([np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0])
    points = np.array([3.0, -2, 1]) + np.array([0, 7.0, 40])[:, None] * along
    assert line_character(burgers, points) == line_character(-burgers, points[::-1]) == name


def test_malformed_windings_are_refused() -> None:
    with pytest.raises(ValueError, match="windings must be one finite number for each of 3 reflections"):
        burgers_posterior([1.0, 0.0], 0.1, GOLD, THREE)


def test_an_error_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma must be positive, one number or one a reflection, got 0"):
        burgers_posterior([1.0, 0.0, 1.0], 0.0, GOLD, THREE)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kinds must be among perfect, partial, got 'frank'"):
        burgers_posterior([1.0, 0.0, 1.0], 0.1, GOLD, THREE, kinds=["frank"])
