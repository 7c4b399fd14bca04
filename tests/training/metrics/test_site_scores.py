"""Sites from phases are the sites of the crystal, modulo what the reflections see of its lattice."""

from itertools import combinations

import numpy as np
import pytest
from crystals_to_score import GOLD, MORE, SHAPE, SPANNING, TURN, crystal, support, vectors
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import KDTree

from training.metrics import CrystalObject
from training.metrics.site_scores import circular_median, integer_basis, seen_lattice, site_score, site_shifts

Array = NDArray[np.float64]
NOWHERE = np.zeros(SHAPE, bool)
CUBES = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
PRIMITIVE = GOLD.cell_volume / 4
ROW = st.tuples(*[st.integers(-4, 4)] * 3)


@settings(deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=6))
def test_a_basis_makes_all_its_vectors_and_no_more(rows: list[tuple[int, int, int]]) -> None:
    """Its volume is the greatest common divisor of the volumes of all three; every vector is a whole combination."""
    vectors_, basis = np.array(rows), integer_basis(rows)
    assert len(basis) == np.linalg.matrix_rank(vectors_)
    if len(basis) == 3:
        parts = vectors_ @ np.linalg.inv(basis)
        np.testing.assert_allclose(parts, np.round(parts), atol=1e-9)
        volumes = [round(float(np.linalg.det(vectors_[list(three)]))) for three in combinations(range(len(rows)), 3)]
        assert abs(round(float(np.linalg.det(basis)))) == np.gcd.reduce(volumes)


@pytest.mark.parametrize(
    ("reflections", "alternatives"),
    # 111, 1-11, 200 make the reciprocal lattice of fcc, volume 4; three 200 make a volume of 8; 220s and 400s more.
    [(SPANNING, 1), (MORE, 1), (CUBES, 2), ((*CUBES, (1, 1, 1)), 1), (((2, 2, 0), (0, 2, 2), (2, 0, 2)), 4)],
)
def test_the_lattice_seen_is_the_crystal_s_own_or_finer(
    reflections: tuple[tuple[int, int, int], ...], alternatives: int
) -> None:
    """By volume; and every lattice vector of gold, turned, is in it."""
    seen = seen_lattice(vectors(reflections), np.array(reflections))
    assert PRIMITIVE / abs(np.linalg.det(seen)) == pytest.approx(alternatives)
    own = np.array([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, -0.5, 0.5]]) @ GOLD.cell @ TURN.T
    parts = own @ np.linalg.inv(seen)
    np.testing.assert_allclose(parts, np.round(parts), atol=1e-9)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), wide=st.floats(0.01, 1.0), offset=st.floats(-9, 9))
@example(seed=26, wide=1.0, offset=0.0)
@example(seed=615, wide=1.0, offset=0.0)
def test_the_circular_median_has_the_least_distance(seed: int, wide: float, offset: float) -> None:
    """Against every point of the sample; and two outliers in five do not move it."""
    sample = np.random.default_rng(seed).normal(0, wide, 31)
    median = circular_median(sample + offset)

    def distance(centre: float) -> float:
        return float(np.abs(np.angle(np.exp(1j * (sample + offset - centre)))).sum())

    assert distance(median) <= min(distance(x + offset) for x in sample) + 1e-9
    assert circular_median(np.array([0.3, 0.3, 0.3, 1.9, 2.0])) == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("reflections", [SPANNING, MORE])
def test_phases_tell_the_distance_between_sets_of_sites(reflections: tuple[tuple[int, int, int], ...]) -> None:
    """Explicit sites of two crystals, x − u(x) in the lattice: their nearest distances are those of the phases.

    The second crystal is off by up to half of the first's nearest neighbours in a part of it, and by a lattice
    vector in another.
    """
    G, cell = vectors(reflections), GOLD.cell @ TURN.T
    whole = np.array([0.5, 0.5, 0]) @ cell

    def true(x: Array) -> Array:
        return 0.3 * np.sin(x / 14 + [0.2, 1.0, 2.0]) + 0.2 * np.cos(x[:, ::-1] / 17)

    def off(x: Array) -> Array:
        away = np.linalg.norm(x - [9.0, -4, 3], axis=1, keepdims=True)
        return np.array([0.9, -0.7, 0.6]) * np.exp(-((away / 8) ** 2))

    def other(x: Array) -> Array:
        return true(x) + off(x) + whole * (x[:, :1] > 0) + [0.4, 1.1, -0.3]

    first = sites(true, cell)
    second = sites(other, cell)
    inner = second[np.linalg.norm(second, axis=1) < 22]
    nearest, _ = KDTree(np.add(first, [0.4, 1.1, -0.3])).query(inner)
    told = np.linalg.norm(site_shifts(G @ (other(inner) - true(inner)).T, G, np.array(reflections)), axis=1)
    assert len(inner) > 1000
    assert nearest.max() > 1.0
    # Equal to first order in the strain, 3 % of the distance here, and of the rigid shift.
    np.testing.assert_allclose(told, nearest, atol=0.06)


def sites(displacement, cell: Array) -> Array:  # type: ignore[no-untyped-def]
    """All x with x − u(x) in the fcc lattice, within 30 Å, by iteration of x = R + u(x)."""
    corners = np.stack(np.meshgrid(*[np.arange(-10, 11)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    lattice = (corners + basis).reshape(-1, 3) @ cell
    found = lattice[np.linalg.norm(lattice, axis=1) < 36]
    for _ in range(30):
        found = lattice[np.linalg.norm(lattice, axis=1) < 36] + displacement(found)
    # A branch cut leaves sites that lie on no side of it, or on both: they are not of the test.
    settled = np.linalg.norm(found - displacement(found) - np.round((found - displacement(found)) @ np.linalg.inv(cell)
                             * 2) / 2 @ cell, axis=1) < 1e-6  # fmt: skip
    return found[settled]


@pytest.mark.parametrize("reflections", [SPANNING, MORE, CUBES])
def test_lattice_vectors_and_a_rigid_shift_are_no_error(reflections: tuple[tuple[int, int, int], ...]) -> None:
    """u + t + any lattice vector at any voxel is the same set of sites, moved as a whole."""
    generator = np.random.default_rng(0)
    G = vectors(reflections)
    vectors_ = generator.integers(-3, 4, (200, 3)) @ (
        np.array([[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]) @ GOLD.cell
    )
    shifts = site_shifts(G @ (vectors_ @ TURN.T + [0.3, -0.9, 0.5]).T, G, np.array(reflections))
    np.testing.assert_allclose(shifts, 0, atol=1e-9)


@pytest.mark.parametrize("reflections", [SPANNING, MORE])
def test_shifts_come_back_from_their_phases(reflections: tuple[tuple[int, int, int], ...]) -> None:
    """As the shortest equal modulo the lattice: nothing below half the nearest neighbours' distance is changed."""
    generator = np.random.default_rng(1)
    G, u = vectors(reflections), np.zeros((300, 3))
    u[:100] = generator.normal(size=(100, 3))
    u[:100] *= generator.uniform(0, 0.49 * GOLD.constant / 2**0.5, (100, 1)) / np.linalg.norm(u[:100], axis=1)[:, None]
    phases = G @ u.T + generator.uniform(-3, 3, (len(G), 1))
    np.testing.assert_allclose(site_shifts(phases, G, np.array(reflections)), u, atol=1e-6)


def test_the_branch_is_the_one_on_which_the_reflections_agree_best() -> None:
    """Of phases with a third of a turn of noise: no shift of a fine search over the cell explains them better."""
    reflections = (*SPANNING, (3, 1, 1), (2, 2, 4))
    G, noise = vectors(reflections), np.zeros((5, 100))
    noise[:, :30] = np.random.default_rng(3).normal(0, 2.0, (5, 30))
    found = site_shifts(noise, G, np.array(reflections))[:30]
    search = np.stack(np.meshgrid(*[np.arange(20) / 20] * 3, indexing="ij"), -1).reshape(-1, 3)
    others = search @ seen_lattice(G, np.array(reflections))

    def misfit(shifts: Array) -> Array:
        return (np.angle(np.exp(1j * (noise[None, :, :30] - np.einsum("rj,snj->srn", G, shifts)))) ** 2).sum(1)

    searched = misfit(others[:, None] + np.zeros((1, 30, 1))).min(0)
    assert (misfit(found[None])[0] < searched + 1e-6).mean() > 0.9


def test_free_phases_that_no_rigid_shift_makes_are_taken_out_too() -> None:
    """Five reflections, five free phases: intensity hides each of them."""
    G = vectors(MORE)
    phases = np.random.default_rng(2).uniform(-3, 3, (5, 1)) + np.zeros((5, 40))
    np.testing.assert_allclose(site_shifts(phases, G, np.array(MORE)), 0, atol=1e-9)


def test_one_wrong_phase_of_five_is_shared_and_one_of_three_is_not() -> None:
    """Three: δu is dual to the wrong one. Five: the least squares, pinv(G) δφ, and shorter."""
    wrong = np.zeros((5, 50))
    wrong[0, :10] = 0.5
    three = site_shifts(wrong[:3], vectors(SPANNING), np.array(SPANNING))[0]
    five = site_shifts(wrong, vectors(MORE), np.array(MORE))[0]
    np.testing.assert_allclose(vectors(SPANNING) @ three, [0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(five, 0.5 * np.linalg.pinv(vectors(MORE))[:, 0], atol=1e-6)
    assert np.linalg.norm(five) < np.linalg.norm(three)


def test_counts_are_those_of_a_case_by_hand() -> None:
    """A quarter of the voxels off by 0.2 Å, an eighth by 0.7 Å, another eighth missing, some too many."""
    true = crystal(SPANNING, lines=0)
    G, inside = vectors(SPANNING), np.flatnonzero(support().ravel() > 0.5)
    n = len(inside)
    shift, said = np.zeros((support().size, 3)), support().ravel().copy()
    shift[inside[: n // 4]] = [0.12, 0, 0.16]
    shift[inside[n // 4 : n // 4 + n // 8]] = [0.42, 0.56, 0]
    said[inside[-(n // 8) :]] = 0
    said[np.flatnonzero(support().ravel() == 0)[:20]] = 1
    phase = true.volumes.phase + (G @ shift.T).reshape(3, *SHAPE)
    core = NOWHERE.copy()
    core[:, :, : SHAPE[2] // 2] = True
    parts = site_score(CrystalObject(said.reshape(SHAPE), phase), true.volumes, G, true.reflections, core, PRIMITIVE)
    assert parts is not None
    both = {name: getattr(parts.outside, name) + getattr(parts.inside, name) for name in
            ("squares", "common", "predicted", "true", "right")}  # fmt: skip
    assert both["true"] == n
    assert both["common"] == n - n // 8
    assert both["predicted"] == n - n // 8 + 20
    assert both["right"] == n - 2 * (n // 8)
    assert both["squares"] == pytest.approx(20**2 * (n // 4) + 70**2 * (n // 8), rel=1e-3)
    assert parts.inside.true == int((support() > 0.5)[core].sum())
    assert parts.alternatives == 1


@pytest.mark.parametrize("reflections", [((1, 1, 1),), ((1, 1, 1), (2, 0, 0)), ((1, 1, 1), (2, 0, 0), (3, 1, 1))])
def test_reflections_in_one_plane_tell_no_sites(reflections: tuple[tuple[int, int, int], ...]) -> None:
    """111, 200 and 311 lie in one zone."""
    true = crystal(reflections)
    assert site_score(true.volumes, true.volumes, true.G, true.reflections, NOWHERE, PRIMITIVE) is None


def test_supports_that_do_not_meet_have_no_common_sites() -> None:
    true = crystal(SPANNING)
    away = CrystalObject(1 - support(), true.volumes.phase)
    parts = site_score(away, true.volumes, true.G, true.reflections, NOWHERE, PRIMITIVE)
    assert parts is not None
    assert (parts.outside.common, parts.outside.right) == (0, 0)
