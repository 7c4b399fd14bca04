"""Several exposures of one crystal: each as if it were alone, all of the same lattice positions."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from checks_of_data import assert_same_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi.crystal import Crystal
from cdi.detector.ranges import DeadRange, DetectorRanges, GapsRange
from cdi.fourier import centre_crop
from cdi.grid import QGrid
from cdi.identifiability import line_identifiability
from cdi.lattices.lattice import Lattice
from cdi.pattern import Reflection
from cdi.scattering.bragg_object import bragg_object, bragg_object_of_views, voxel_points
from cdi.shapes.ball import Ball
from data.draw_geometry import draw_further_reflection
from data.drawn import DrawnCrystals
from data.drawn_batches import DrawnBatches, choose, make_batch
from data.recipe import Distractors, Recipe
from data.sample import Sample
from data.sampling import Draw, draw_crystal, draw_sample, draw_samples, expose, exposure_generators
from data.truth_lines import kinds_present

RECIPE = Recipe(
    "reflections",
    1000,
    seed=7,
    shape=(16, 20, 18),
    elements=("Cu", "Au", "Si"),
    diameter_A=(200, 2000),
    reflection_count=4,
    class_fractions=(0.1, 0.2, 0.2, 0.2, 0.3),
    distractors=Distractors(twin_fraction=0.5, vacancy_fraction=0.3),
    detector=DetectorRanges(dead=DeadRange(), gaps=GapsRange(probability=0.5)),
)
MANY = replace(RECIPE, elements=("Cu",), reflection_count=12)
INDICES = range(8)


def drawn(recipe: Recipe, index: int) -> Draw:
    return draw_crystal(recipe, *exposure_generators(recipe, index))


@pytest.fixture(scope="module")
def sets() -> list[tuple[Sample, ...]]:
    return [draw_samples(RECIPE, index) for index in INDICES]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_exposures_are_the_same_however_many_follow(sets: list[tuple[Sample, ...]], count: int) -> None:
    """Counts, mask, grid and truth, bit by bit: curves over the number of reflections are on the same crystals."""
    for index, four in zip(INDICES, sets, strict=True):
        fewer = draw_samples(replace(RECIPE, reflection_count=count), index)
        assert len(fewer) == count
        for got, wanted in zip(fewer, four[:count], strict=True):
            assert_same_sample(got, wanted)
    assert_same_sample(draw_sample(RECIPE, 3), sets[3][0])


def test_every_exposure_has_random_numbers_of_its_own() -> None:
    """No exposure's stream is another's, of this crystal or the next ones, nor of an index beyond 2³²."""
    indices = (0, 1, 2, 2**32, 2**32 + 1)
    streams = [generator.integers(2**63) for index in indices for generator in exposure_generators(MANY, index)]
    assert len(set(streams)) == 12 * len(indices)


def test_an_exposure_does_not_depend_on_its_company() -> None:
    """Alone, with its own generator, a view gives the same counts, support, phase and lines."""
    for index in INDICES:
        draw, together = drawn(RECIPE, index), draw_samples(RECIPE, index)
        generators = choose(RECIPE, index).generators
        for view, generator, wanted in zip(draw.views, generators, together, strict=True):
            (alone,) = expose(replace(draw, views=(view,)), index, [generator])
            assert_same_sample(alone, wanted)


@given(st.integers(0, 10**6), st.sampled_from([("Cu",), ("W",), ("Mg",), ("Si",), ("NaCl",)]))
@settings(max_examples=40, deadline=None)
def test_reflections_span_space_and_none_repeats(index: int, elements: tuple[str, ...]) -> None:
    """Two are not collinear, three not coplanar, no two the same or opposite; each a variant of the recipe's."""
    recipe = replace(RECIPE, elements=elements, reflection_count=6, class_fractions=(0.4, 0.2, 0.2, 0.2))
    draw = drawn(recipe, index)
    found = np.array([view.reflection for view in draw.views])
    assert np.linalg.matrix_rank(found[:2]) == 2
    assert np.linalg.matrix_rank(found[:3]) == 3
    for one, other in combinations(found.tolist(), 2):
        assert one != other
        assert one != [-x for x in other]
    lattice = draw.crystal.lattice
    lengths = [np.linalg.norm(lattice.reflection_vector(r)) for r in recipe.reflections if lattice.allows(r)]
    for reflection in draw.views:
        G = np.linalg.norm(lattice.reflection_vector(reflection.reflection))
        assert np.isclose(G, lengths).any()


def test_every_variant_of_a_family_is_drawn() -> None:
    """{111} of Cu: from (1, 1, 1), all six planes' normals that are not collinear with it, both senses."""
    recipe = replace(RECIPE, elements=("Cu",), reflections=((1, 1, 1),), reflection_count=2)
    second = {drawn(recipe, index).views[1].reflection for index in range(80)}
    assert second == {(h, k, ell) for h in (-1, 1) for k in (-1, 1) for ell in (-1, 1)} - {(1, 1, 1), (-1, -1, -1)}


def test_views_share_their_voxels_and_centre_on_their_own_reflection() -> None:
    """One step of q; the centre of each off its G by up to a voxel along each axis, differently."""
    offsets = []
    for index in INDICES:
        draw = drawn(RECIPE, index)
        for view in draw.views:
            np.testing.assert_array_equal(view.grid.step, draw.views[0].grid.step)
            G = draw.crystal.reflection_vector(view.reflection)
            offsets.append((view.grid.centre - G) @ np.linalg.inv(view.grid.step))
    apart = np.abs(offsets)
    assert apart.max() <= 1 + 1e-9
    assert apart.min(0).max() < 0.2
    assert apart.max(0).min() > 0.8


def test_detector_and_photons_are_drawn_anew() -> None:
    """For each view from the same ranges."""
    detectors = [view.detector for index in INDICES for view in drawn(RECIPE, index).views]
    peaks = [float(detector.peak_counts or 0) for detector in detectors]
    assert len(set(peaks)) == len(peaks)
    assert min(peaks) >= RECIPE.peak_counts[0]
    assert max(peaks) <= RECIPE.peak_counts[1]
    assert {detector.gaps is None for detector in detectors} == {True, False}


def test_views_do_not_depend_on_the_class() -> None:
    """The same index under other class fractions is exposed in the same reflections by the same detectors."""
    other = replace(RECIPE, class_fractions=(0, 0, 0, 0, 1, 0))
    for index in INDICES:
        for one, two in zip(drawn(RECIPE, index).views, drawn(other, index).views, strict=True):
            assert (one.reflection, one.detector) == (two.reflection, two.detector)
            np.testing.assert_array_equal(one.grid.centre, two.grid.centre)


def test_three_phases_give_the_displacement_modulo_lattice_vectors(sets: list[tuple[Sample, ...]]) -> None:
    """φₖ = Gₖ·u + ramp with the stored reflections, centres and orientation: solved for u, it is the stored u."""
    for samples in sets:
        truth = samples[0].truth
        lattice = Lattice.of_material(truth.formula)
        inside = np.logical_and.reduce([sample.truth.support > 0 for sample in samples[:3]])
        G, turns = [], []
        for sample in samples[:3]:
            grid = sample.exposure.grid
            assert grid is not None
            vector = truth.orientation @ lattice.reflection_vector(sample.reflection)
            ramp = voxel_points(grid, grid.shape) @ (grid.centre - vector)
            G.append(vector)
            turns.append((sample.truth.phase - ramp)[inside])
        u = np.linalg.solve(np.array(G), np.array(turns))
        np.testing.assert_allclose(u, truth.displacement[:, inside], atol=2e-3)


def test_truth_says_what_each_reflection_tells(sets: list[tuple[Sample, ...]]) -> None:
    """The same lines and Burgers vectors in every exposure; windings are those of ``cdi.identifiability``."""
    differing = 0
    for samples in sets:
        first = samples[0].truth
        lattice = Lattice.of_material(first.formula)
        reflections = [sample.reflection for sample in samples]
        for sample in samples:
            assert (sample.index, sample.truth.defect, sample.truth.kinds) == (
                samples[0].index, first.defect, first.kinds,
            )  # fmt: skip
            assert len(sample.truth.lines) == len(first.lines)
        for number, line in enumerate(first.lines):
            told = line_identifiability(line, lattice, first.orientation, reflections)
            same = [sample.truth.lines[number] for sample in samples]
            assert [other.g_dot_b for other in same] == pytest.approx(told.windings.tolist(), abs=1e-6)
            for other in same:
                np.testing.assert_array_equal(other.burgers, line.burgers)
                np.testing.assert_array_equal(other.points, line.points)
            differing += len({other.g_dot_b for other in same}) > 1
    assert differing > 3


def test_a_fault_shows_in_some_reflections_and_hides_in_others() -> None:
    """1/6⟨112⟩ in {111} and {200}: the phase steps by a third of a turn or not at all (Williams & Carter, ch. 25)."""
    recipe = replace(RECIPE, elements=("Cu",), class_fractions=(0, 0, 0, 0, 1), reflections=((1, 1, 1), (2, 0, 0)))
    faulted = [index for index in range(40) if "stacking fault" in kinds_present(drawn(recipe, index).crystal)][:4]
    both = 0
    for index in faulted:
        steps = {round(3 * sample.truth.fault_step, 4) for sample in draw_samples(recipe, index)}
        assert steps <= {0.0, 1.0}
        both += len(steps) == 2
    assert both >= 2


def test_a_twin_leaves_some_reflections_and_stays_in_others() -> None:
    """The twin scatters where a variant is common to both parts: support differs within a crystal."""
    recipe = replace(RECIPE, elements=("Cu",), distractors=Distractors(twin_fraction=1.0))
    differing = 0
    for index in range(6):
        volumes = [float(sample.truth.support.sum()) for sample in draw_samples(recipe, index)]
        differing += max(volumes) - min(volumes) > 1
    assert differing >= 3


def test_the_field_is_evaluated_once_whatever_the_number_of_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many points for four exposures as for one."""
    evaluated: list[int] = []
    field = Crystal.displacement

    def counted(crystal: Crystal, points: torch.Tensor) -> torch.Tensor:
        evaluated.append(points.numel())
        return field(crystal, points)

    monkeypatch.setattr(Crystal, "displacement", counted)
    totals = []
    for count in (1, 4):
        evaluated.clear()
        draw_samples(replace(RECIPE, reflection_count=count), 5)
        make_batch([choose(replace(RECIPE, reflection_count=count), 5)], "cpu")
        totals.append(sum(evaluated))
    assert totals[0] == totals[1] > 0


def in_order(batches: DrawnBatches) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    for batch in batches:
        yield from zip(batch.indices, batch.counts, batch.mask, batch.support, batch.phase, strict=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_hold_every_exposure_of_their_crystals(sets: list[tuple[Sample, ...]], workers: int) -> None:
    """(batch, reflection, x, y, z); choices from a worker bring the noise of every exposure with them."""
    recipe = replace(RECIPE, samples=5, first_index=2)
    found = list(in_order(DrawnBatches(recipe, 2, workers=workers)))
    assert [index for index, *_ in found] == [2, 3, 4, 5, 6]
    for index, *volumes in found:
        for sample, counts, mask, support, phase in zip(sets[index], *volumes, strict=True):
            np.testing.assert_array_equal(counts.numpy(), sample.exposure.counts)
            measured = sample.exposure.mask
            assert bool(mask.all()) if measured is None else (mask.numpy() == measured).all()
            half = (8, 10, 9)
            torch.testing.assert_close(support, centre_crop(torch.as_tensor(sample.truth.support), half))
            wanted = centre_crop(torch.as_tensor(sample.truth.phase), half)
            torch.testing.assert_close(phase[support > 0], wanted[support > 0])


def test_crystals_are_drawn_on_the_fly(sets: list[tuple[Sample, ...]]) -> None:
    source = DrawnCrystals(replace(RECIPE, first_index=2, samples=5))
    assert len(source) == 5
    for got, wanted in zip(source[1], sets[3], strict=True):
        assert_same_sample(got, wanted)
    with pytest.raises(IndexError, match=r"index must lie in \[0, 5\), got 5"):
        source[5]


def test_the_object_of_a_view_is_that_of_its_reflection_alone() -> None:
    """Support, phase and displacement of a batch of views, on an uneven sheared grid of a rotated crystal."""
    draw = drawn(RECIPE, 6)
    together = bragg_object_of_views(draw.crystal, draw.peaks)
    assert together.displacement.shape == (4, 8, 10, 9, 3)
    for k, (reflection, grid) in enumerate(draw.peaks):
        alone = bragg_object([draw.crystal], [grid], [reflection])
        torch.testing.assert_close(together.density[k], alone.density[0])
        torch.testing.assert_close(together.displacement[k], alone.displacement[0])


def test_views_of_other_voxels_are_refused() -> None:
    crystal = Crystal(Lattice.of_material("Au"), Ball.of_diameter(100))
    views: list[tuple[Reflection, QGrid]] = [
        (hkl, QGrid.orthogonal(crystal.reflection_vector(hkl), 100, ratio, (16, 18, 20)))
        for hkl, ratio in (((1, 1, 1), 2.5), ((2, 0, 0), 2.6))
    ]
    with pytest.raises(ValueError, match="views must share shape and step of their grids"):
        bragg_object_of_views(crystal, views)


@pytest.mark.parametrize(
    ("element", "reflections", "count"),
    [("Cu", ((1, 1, 1),), 5), ("Mg", ((0, 0, 2), (0, 0, 4)), 2), ("Mg", ((1, 0, 0), (2, 0, 0), (1, 1, 0)), 3)],
    ids=["only four", "all collinear", "all coplanar"],
)
def test_too_few_reflections_are_named(element: str, reflections: tuple[Reflection, ...], count: int) -> None:
    """Four {111} planes; c axis alone; the basal plane alone."""
    recipe = replace(
        RECIPE, elements=(element,), reflections=reflections, reflection_count=count, class_fractions=(0.5, 0.5)
    )
    drawn(replace(recipe, reflection_count=count - 1), 0)
    with pytest.raises(ValueError, match=rf"reflections must hold {count} variants that (fcc Cu|hcp Mg) allows"):
        drawn(recipe, 0)


def test_forbidden_reflections_are_never_drawn() -> None:
    """{200} of diamond: even where the recipe names it."""
    silicon = Lattice.of_material("Si")
    recipe = replace(RECIPE, reflections=((2, 0, 0), (1, 1, 1)))
    generator = np.random.default_rng(3)
    for _ in range(30):
        h, k, ell = draw_further_reflection(recipe, silicon, [(1, 1, 1)], generator)
        assert abs(h * k * ell) == 1


@pytest.mark.parametrize("count", [0, 13])
def test_an_impossible_number_of_reflections_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"reflection_count must lie in \[1, 12\], got {count}"):
        replace(RECIPE, reflection_count=count)
