"""Lattices: selection rules, sites, symmetry, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cdi.lattices.elasticity import isotropic_stiffness
from cdi.lattices.lattice import Lattice
from cdi.lattices.structures import STRUCTURES

GOLD, TUNGSTEN = Lattice.of_material("Au"), Lattice.of_material("W")
EXAMPLES = {name: Lattice.of_material(name) for name in ("Au", "W", "Mg", "Si", "NaCl")}
INDICES = [hkl for hkl in product(range(-4, 5), repeat=3) if any(hkl)]
STIFFNESS = isotropic_stiffness(50.0, 0.3)


def unmixed(h: int, k: int, l: int) -> bool:  # noqa: E741
    """h, k, l all even or all odd."""
    return len({h % 2, k % 2, l % 2}) == 1


RULES: dict[str, Callable[[int, int, int], bool]] = {
    "Au": unmixed,
    "W": lambda h, k, l: (h + k + l) % 2 == 0,  # noqa: E741
    "Mg": lambda h, k, l: not (l % 2 == 1 and (h + 2 * k) % 3 == 0),  # noqa: E741
    "Si": lambda h, k, l: h % 2 == k % 2 == l % 2 == 1 or (unmixed(h, k, l) and (h + k + l) % 4 == 0),  # noqa: E741
    "NaCl": unmixed,
}


@pytest.mark.parametrize("name", RULES)
def test_selection_rules_hold_on_all_indices_up_to_4(name: str) -> None:
    """The rule in words (Kittel, ch. 2; International Tables A) and the structure factor agree."""
    for hkl in INDICES:
        assert EXAMPLES[name].allows(hkl) == RULES[name](*hkl), hkl


@pytest.mark.parametrize("lattice", EXAMPLES.values(), ids=EXAMPLES)
def test_selection_rules_do_not_depend_on_the_origin(lattice: Lattice) -> None:
    """All sites shifted by one vector: the phase of F turns, its modulus stays."""
    shifted = replace(lattice, sites=lattice.sites + np.array([0.137, 0.291, -0.422]))
    for hkl in INDICES[::3]:
        assert shifted.allows(hkl) == lattice.allows(hkl), hkl


def test_an_accidental_equality_of_form_factors_hides_no_reflection() -> None:
    """KCl's ions have 18 electrons each, so that 111 is all but absent in a pattern: the lattice allows it."""
    assert Lattice.of_material("KCl").allows((1, 1, 1))


def test_elements_in_arithmetic_progression_do_not_cancel() -> None:
    """Sites A, B, B, C in a row with f_A + f_C = 2 f_B would hide (2, 0, 0): no rule of symmetry does."""
    sites = np.array([[0, 0, 0], [0.25, 0, 0], [0.75, 0, 0], [0.5, 0, 0]])
    lattice = Lattice("ABBC", np.diag([8.0, 4, 5]), sites, ("Ti", "O", "O", "Ba"), STIFFNESS)
    assert lattice.allows((2, 0, 0))


@pytest.mark.parametrize("lattice", EXAMPLES.values(), ids=EXAMPLES)
def test_000_is_no_reflection(lattice: Lattice) -> None:
    assert not lattice.allows((0, 0, 0))
    with pytest.raises(ValueError, match="not 0 0 0"):
        lattice.reflection_vector((0, 0, 0))


def test_an_extinct_reflection_is_refused_with_the_rule() -> None:
    with pytest.raises(ValueError, match=r"reflection must be allowed in fcc \(h, k, l all even or all odd\)"):
        GOLD.reflection_vector((1, 1, 0))


def test_a_cubic_reflection_has_the_length_of_its_spacing() -> None:
    """|G| = 2π √(h² + k² + l²) / a."""
    assert np.linalg.norm(GOLD.reflection_vector((1, 1, 1))) == pytest.approx(2 * np.pi / (4.08 / np.sqrt(3)))


@pytest.mark.parametrize("hkl", [(1, 0, 0), (1, 0, 1), (0, 0, 2), (1, -2, 3)])
def test_a_hexagonal_reflection_has_the_length_of_its_spacing(hkl: tuple[int, int, int]) -> None:
    """1/d² = 4/3 (h² + hk + k²)/a² + l²/c²."""
    h, k, m = hkl
    inverse_square = 4 / 3 * (h * h + h * k + k * k) / 3.21**2 + (m / 5.21) ** 2
    assert np.linalg.norm(EXAMPLES["Mg"].plane_normal(hkl)) == pytest.approx(2 * np.pi * inverse_square**0.5)


@pytest.mark.parametrize("lattice", EXAMPLES.values(), ids=EXAMPLES)
def test_reciprocal_and_direct_lattice_are_dual(lattice: Lattice) -> None:
    """G · r = 2π (h x + k y + l z), and fractions undo directions."""
    hkl, xyz = np.array([2, -1, 3]), np.array([0.3, 1.7, -0.6])
    assert lattice.plane_normal(hkl) @ lattice.direction(xyz) == pytest.approx(2 * np.pi * hkl @ xyz)
    np.testing.assert_allclose(lattice.fractions(lattice.direction(xyz)), xyz)


@pytest.mark.parametrize(
    ("name", "per_cell", "neighbour", "count"),
    [
        ("Au", 4, 0.5**0.5, 12),
        ("W", 2, 0.75**0.5, 8),
        ("Si", 8, 3**0.5 / 4, 4),
        ("NaCl", 8, 0.5, 6),
    ],
)
def test_sites_have_the_lattices_density_and_spacing(name: str, per_cell: int, neighbour: float, count: int) -> None:
    """A box of whole cells, its faces between sites, holds cells × basis; neighbours are right."""
    lattice = EXAMPLES[name]
    a = lattice.constant
    low, high = np.array([-2.1, 0.9, -3.1]) * a, np.array([2.9, 3.9, 3.9]) * a
    sites, kind = lattice.sites_in_box(low, high)
    assert len(sites) == len(kind) == 5 * 3 * 7 * per_cell
    assert ((sites >= low) & (sites <= high)).all()
    tree = cKDTree(sites)
    np.testing.assert_allclose(tree.query(sites, 2)[0][:, 1], neighbour * a)
    assert max(len(near) for near in tree.query_ball_point(sites, 1.01 * neighbour * a)) == count + 1


def test_hcp_has_twelve_neighbours_in_two_shells() -> None:
    """Six at a in the basal plane, six at √(a²/3 + c²/4) above and below it."""
    lattice = EXAMPLES["Mg"]
    sites, _ = lattice.sites_in_box(np.full(3, -9.0), np.full(3, 9.0))
    centre = sites[np.linalg.norm(sites, axis=1).argmin()]
    distances = np.sort(np.linalg.norm(sites - centre, axis=1))[1:13]
    between = (3.21**2 / 3 + 5.21**2 / 4) ** 0.5
    np.testing.assert_allclose(distances, sorted([3.21] * 6 + [between] * 6))


def test_the_kind_of_a_site_names_its_element() -> None:
    """In NaCl every neighbour of a sodium is a chlorine."""
    lattice = EXAMPLES["NaCl"]
    sites, kind = lattice.sites_in_box(np.full(3, -8.0), np.full(3, 8.0))
    symbols = np.array(lattice.elements)[kind]
    nearest = cKDTree(sites).query(sites, 2)[1][:, 1]
    assert (symbols != symbols[nearest]).all()


@pytest.mark.parametrize(("name", "order"), [("Au", 48), ("W", 48), ("Mg", 24), ("Si", 48), ("NaCl", 48)])
def test_point_groups_have_their_order_and_keep_lengths(name: str, order: int) -> None:
    """m-3m has 48 elements, 6/mmm 24; each is an isometry, and their products stay within."""
    lattice = EXAMPLES[name]
    group = lattice.point_group
    assert len(group) == len({w.tobytes() for w in group}) == order
    rotations = np.linalg.inv(lattice.cell) @ group @ lattice.cell
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (order, 1, 1)), atol=1e-12)
    products = {w.tobytes() for w in np.round(group[:, None] @ group[None]).reshape(-1, 3, 3) + 0.0}
    assert products == {w.tobytes() for w in group + 0.0}


def test_zinc_blende_has_no_inversion() -> None:
    """Its point group is -43m (24): diamond's, less what exchanges the two elements."""
    diamond = STRUCTURES["diamond"]
    symbols = ("Zn",) * 4 + ("S",) * 4
    lattice = Lattice("zinc blende", diamond.cell(5.41), np.asarray(diamond.sites), symbols, STIFFNESS)
    assert len(lattice.point_group) == 24
    assert not any(np.array_equal(w, -np.eye(3)) for w in lattice.point_group)
    assert len(lattice.equivalent_planes((1, 1, 1))) == 4


@pytest.mark.parametrize(("last", "order"), [("O", 16), ("N", 8)])
def test_elements_decide_the_point_group(last: str, order: int) -> None:
    """O-Ti-O along a tetragonal axis is 4/mmm; O-Ti-N, on the same sites, has lost its mirror: 4mm."""
    sites = np.array([[0, 0, 0], [0, 0, 0.3], [0, 0, 0.7]])
    lattice = Lattice("row", np.diag([4.0, 4, 6.5]), sites, ("Ti", "O", last), STIFFNESS)
    assert len(lattice.point_group) == order


@pytest.mark.parametrize(
    ("name", "plane", "multiplicity"),
    [("Au", (1, 1, 1), 8), ("W", (1, 1, 2), 24), ("Si", (1, 2, 3), 48), ("Mg", (1, 0, 0), 6), ("Mg", (1, 1, -2), 12)],
)
def test_forms_have_their_multiplicity(name: str, plane: tuple[int, int, int], multiplicity: int) -> None:
    """Multiplicities of {hkl} (International Tables A), all of one spacing."""
    planes = EXAMPLES[name].equivalent_planes(plane)
    assert len(set(planes)) == multiplicity
    spacing = np.linalg.norm(EXAMPLES[name].plane_normal(planes), axis=1)
    np.testing.assert_allclose(spacing, spacing[0])


@pytest.mark.parametrize(("name", "count"), [("Au", 4), ("W", 2), ("Mg", 1), ("Si", 4), ("NaCl", 4)])
def test_centrings_are_the_lattice_vectors_of_the_cell(name: str, count: int) -> None:
    """Four for F, two for I, one for P; the vector between the two hcp sites is none."""
    lattice = EXAMPLES[name]
    assert len(lattice.translations) == count
    assert all(lattice.is_lattice_vector(shift + np.array([2, -1, 3])) for shift in lattice.translations)
    assert not lattice.is_lattice_vector((1 / 3, -1 / 3, 0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sc", ("Po",), 3.4), "structure must be one of fcc, bcc, hcp, diamond, rock-salt, got 'sc'"),
        (("fcc", ("Au",), 0.5), "lattice constant must lie in"),
        (("fcc", ("Au",), np.nan), "cell must be three independent right-handed edges"),
        (("fcc", ("Au", "Cu"), 4.0), "fcc must have 1 elements, got Au, Cu"),
        (("fcc", ("Au",), 4.0, 6.0), "c must be given for hexagonal structures and only for them"),
        (("hcp", ("Mg",), 3.2), "c must be given for hexagonal structures"),
        (("fcc", ("Xx",), 4.0), "element must be a chemical symbol"),
    ],
)
def test_malformed_structures_are_refused(arguments: tuple[str, tuple[str, ...], float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lattice.of_structure(*arguments)


def test_a_poisson_ratio_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="poisson_ratio must lie in"):
        Lattice.of_structure("fcc", ("Au",), 4.0, poisson_ratio=0.5)


@pytest.mark.parametrize(
    ("cell", "sites", "message"),
    [
        (np.diag([4.0, 4, -4]), np.zeros((1, 3)), "cell must be three independent right-handed edges"),
        (np.diag([4.0, 4, 4]), np.zeros((2, 3)), "sites must be \\(n, 3\\) with one element each"),
        (np.diag([4.0, 4, 4]), np.array([[0, np.nan, 0]]), "sites must be finite"),
        (np.diag([4.0, 4, 400]), np.zeros((1, 3)), "lattice constant must lie in"),
    ],
)
def test_malformed_lattices_are_refused(cell: np.ndarray, sites: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lattice("mine", cell, sites, ("Au",), STIFFNESS)
