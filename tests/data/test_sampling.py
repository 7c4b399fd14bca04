"""Drawn crystals: reproducible, honest about what is hidden, and without a shortcut to the label."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from cdi.config import read_config
from cdi.defects.classes import CLASSES, defect_class
from cdi.defects.dislocation_loop import DislocationLoop
from cdi.defects.flat_punch import FlatPunch
from cdi.defects.smooth_strain import SmoothStrain
from cdi.detector.ranges import (
    BackgroundRange,
    CoherenceRange,
    DeadRange,
    DetectorRanges,
    GapsRange,
    HotRange,
    PointSpreadRange,
    RockingRange,
)
from cdi.fourier import centre_crop
from cdi.shapes.ball import Ball
from cdi.shapes.named import SHAPES
from data.draw_defects import SHORTEST_CHORD
from data.draw_distractors import draw_distractors
from data.drawn import DrawnSamples, EpochSampler
from data.drawn_batches import DrawnBatches
from data.recipe import CRYSTAL_SHAPES, Distractors, Recipe
from data.sample import Sample, TrueLine
from data.sampling import Draw, draw_crystal, draw_sample, sample_generator

SHIPPED = read_config(Recipe, Path(__file__).parents[2] / "examples/recipes/crystals.yaml")
RECIPE = Recipe("sampling", 1000, seed=11, shape=(16, 20, 18))
LARGE = replace(RECIPE, shape=(32, 32, 32), class_fractions=(0, 1, 1, 1), hidden_fraction=0.0, diameter_A=(300, 3000))


def drawn(recipe: Recipe, index: int) -> Draw:
    return draw_crystal(recipe, np.random.default_rng(np.random.SeedSequence([recipe.seed, index])))


def test_a_sample_depends_on_recipe_seed_and_index_alone() -> None:
    """Whatever was drawn before it, and however it is reached."""
    first = [draw_sample(RECIPE, i) for i in (5, 2, 9)]
    second = {i: draw_sample(RECIPE, i) for i in (9, 5, 2)}
    through = DrawnSamples(replace(RECIPE, first_index=4))[1]
    for sample in (*first, through):
        same = second[sample.index]
        np.testing.assert_array_equal(sample.exposure.counts, same.exposure.counts)
        np.testing.assert_array_equal(sample.truth.phase, same.truth.phase)
        assert (sample.truth.defect, sample.reflection) == (same.truth.defect, same.reflection)
    other = draw_sample(replace(RECIPE, seed=12), 5)
    assert (other.exposure.counts != first[0].exposure.counts).any()


@pytest.fixture(scope="module")
def many() -> list[Draw]:
    return [drawn(RECIPE, i) for i in range(450)]


def test_no_shortcut_carries_the_label(many: list[Draw]) -> None:
    """Size, photons, oversampling, shape, offset and strain are distributed alike with and without a line (KS)."""
    rows: dict[bool, list[list[float]]] = {True: [], False: []}
    for draw in many:
        extent = draw.crystal.shape.extent(np.eye(3))
        (view,) = draw.views
        G = draw.crystal.reflection_vector(view.reflection)
        offset = (view.grid.centre - G) @ np.linalg.inv(view.grid.step)
        (waves,) = (defect for defect in draw.crystal.defects if isinstance(defect, SmoothStrain))
        strain = np.abs(waves.amplitudes.numpy() @ G).sum()
        ball = float(isinstance(draw.crystal.shape, Ball))
        order = float(np.square(view.reflection).sum())
        numbers = [
            extent.max(),
            view.detector.peak_counts,
            np.ptp(extent) / extent.max(),
            offset[0],
            strain,
            ball,
            order,
        ]
        rows[draw.defect == "none"].append([float(n) for n in numbers])
    without, with_line = np.array(rows[True]), np.array(rows[False])
    assert min(len(without), len(with_line)) > 120
    for column in range(without.shape[1]):
        assert ks_2samp(without[:, column], with_line[:, column]).pvalue > 1e-3, column


def test_classes_come_in_the_recipes_fractions(many: list[Draw]) -> None:
    """Within four standard errors."""
    names = [draw.defect for draw in many]
    for name, fraction in zip(("none", "edge", "screw", "mixed"), (0.4, 0.2, 0.2, 0.2), strict=True):
        assert abs(names.count(name) / len(names) - fraction) < 4 * np.sqrt(fraction * (1 - fraction) / len(names))


def test_where_every_burgers_vector_is_seen_nothing_hides() -> None:
    """bcc 200: g·b = ±1 for all of ½⟨111⟩, so a recipe that asks for hidden lines gets visible ones."""
    recipe = replace(
        RECIPE, hidden_fraction=0.999, class_fractions=(0, 1, 1, 1), elements=("W",), reflections=((2, 0, 0),)
    )
    for i in range(4):
        assert all(abs(line.g_dot_b) == 1 for line in draw_sample(recipe, i).truth.lines)


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_the_crystal_is_oversampled_after_rotation(index: int) -> None:
    """Between the recipe's bounds along every axis of the sheared grid, and within its central half."""
    draw = drawn(RECIPE, index)
    ((reflection, grid),) = draw.peaks
    dual = np.linalg.inv(grid.voxel).T
    ratio = np.asarray(grid.shape) / draw.crystal.shape.extent(dual)
    assert (ratio > 2.2 - 1e-6).all()
    assert (ratio < 4.4 + 1e-6).all()
    offset = (grid.centre - draw.crystal.reflection_vector(reflection)) @ np.linalg.inv(grid.step)
    assert (np.abs(offset) <= 1 + 1e-9).all()


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_lines_have_the_character_of_their_class(index: int) -> None:
    """A pure class gives it to every line; mixed is neither all edge nor all screw; each line crosses the crystal."""
    draw = drawn(RECIPE, index)
    characters = [line.character_deg for line in draw.crystal.lines()]
    expected = {"none": [], "edge": [90.0] * len(characters), "screw": [0.0] * len(characters)}
    if draw.defect == "mixed":
        assert 1 <= len(characters) <= RECIPE.max_lines
        pure = {round(c) for c in characters} <= {0} or {round(c) for c in characters} <= {90}
        assert not pure
    else:
        assert characters == pytest.approx(expected[draw.defect], abs=1e-5)
        assert (draw.defect == "none") == (not characters)
    smallest = draw.crystal.shape.extent(np.eye(3)).min()
    for line in draw.crystal.lines():
        assert line.length > 0.45 * smallest


@pytest.mark.parametrize("hidden", [0.0, 0.999])
def test_hidden_lines_have_g_dot_b_zero_and_visible_ones_an_integer(hidden: float) -> None:
    """``determined`` says whether the phase winds around any line; g·b is that of G and b in the laboratory."""
    recipe = replace(RECIPE, hidden_fraction=hidden, class_fractions=(0, 1, 1, 1), elements=("Au", "Ni"))
    for i in range(12):
        sample = draw_sample(recipe, i)
        draw = drawn(recipe, i)
        G = draw.crystal.reflection_vector(sample.reflection)
        for line in sample.truth.lines:
            assert line.g_dot_b == pytest.approx(float(G @ line.burgers) / (2 * np.pi), abs=1e-5)
            assert abs(line.g_dot_b - round(line.g_dot_b)) < 1e-6
            assert line.visible == (hidden == 0.0)
        assert sample.truth.determined == (hidden == 0.0)


def test_a_perfect_crystal_is_determined() -> None:
    sample = draw_sample(replace(RECIPE, class_fractions=(1, 0, 0, 0)), 0)
    assert sample.truth.determined
    assert sample.truth.lines == ()


def square(half: int) -> NDArray[np.int64]:
    """Corners of the square loop of side ``2 half`` in index steps, counter-clockwise, first point repeated."""
    side = np.arange(-half, half)
    legs = [(side, side * 0 - half), (side * 0 + half, side), (-side, side * 0 + half), (side * 0 - half, -side)]
    loop = np.concatenate([np.stack(leg, -1) for leg in legs])
    return np.concatenate([loop, loop[:1]])


def winding_along(sample: Sample, line: TrueLine, half: int = 2) -> list[float]:
    """Sums of wrapped phase differences, in turns, around square loops of voxels about points of ``line``.

    Loops lie across the grid axis closest to the line; only those wholly inside the crystal, around no
    other line, count. The sense is made right-handed about the line.
    """
    grid = sample.exposure.grid
    assert grid is not None
    to_voxels, middle = np.linalg.inv(grid.voxel), np.asarray(grid.shape) // 2
    ends = line.points @ to_voxels + middle
    direction = ends[-1] - ends[0]
    axis = int(np.abs(direction).argmax())
    across = [(axis + 1) % 3, (axis + 2) % 3]
    # Loops turn from across[0] to across[1]: right-handed about +axis, as the voxel basis is right-handed.
    assert np.linalg.det(grid.voxel) > 0
    sense = np.sign(direction[axis])
    others = [other.points @ to_voxels + middle for other in sample.truth.lines if other is not line]
    found = []
    for level in range(int(np.ceil(ends[:, axis].min())), int(ends[:, axis].max()) + 1):
        centre = ends[0] + direction * (level - ends[0, axis]) / direction[axis]
        if any(_near(other, centre, axis, level, across, half) for other in others):
            continue
        loop = np.zeros((8 * half + 1, 3), int)
        loop[:, axis] = level
        loop[:, across] = np.rint(centre[across]).astype(int) + square(half)
        if (loop < 0).any() or (loop >= grid.shape).any() or sample.truth.support[tuple(loop.T)].min() <= 0.5:
            continue
        steps = np.diff(sample.truth.phase[tuple(loop.T)].astype(np.float64))
        found.append(sense * float((steps - 2 * np.pi * np.rint(steps / (2 * np.pi))).sum()) / (2 * np.pi))
    return found


def _near(
    other: NDArray[np.float64], centre: NDArray[np.float64], axis: int, level: int, across: list[int], half: int
) -> bool:
    """Whether another line comes within the loop, or so close that one step of it exceeds π."""
    points = other[0] + np.linspace(0, 1, 101)[:, None] * (other[-1] - other[0])
    close = np.abs(points[:, across] - centre[across]).max(1) < half + 2
    return bool((close & (np.abs(points[:, axis] - level) < 2)).any())


def test_the_phase_winds_by_g_dot_b_around_every_visible_line() -> None:
    """Plaquette sums of the stored phase about each stored line give +2π g·b in its stored sense."""
    checked, signs = 0, set()
    for i in range(30):
        sample = draw_sample(LARGE, i)
        for line in sample.truth.lines:
            turns = winding_along(sample, line)
            assert turns == pytest.approx([line.g_dot_b] * len(turns), abs=1e-4), (i, line.g_dot_b)
            checked += bool(turns)
            if turns:
                signs.add(int(np.sign(line.g_dot_b)))
    assert checked > 5
    assert signs == {-1, 1}


def test_hidden_lines_wind_nothing() -> None:
    checked = 0
    for i in range(12):
        sample = draw_sample(replace(LARGE, hidden_fraction=0.999, elements=("Au", "Ni")), i)
        for line in sample.truth.lines:
            turns = winding_along(sample, line)
            assert turns == pytest.approx([0.0] * len(turns), abs=1e-4)
            checked += bool(turns)
    assert checked > 1


def test_truth_volumes_agree_with_each_other() -> None:
    """phase = G·u + ramp inside, everything 0 outside, lines end on the surface."""
    sample = draw_sample(LARGE, 3)
    draw = drawn(LARGE, 3)
    (view,) = draw.views
    grid, truth = view.grid, sample.truth
    G = draw.crystal.reflection_vector(view.reflection)
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in grid.shape), indexing="ij"), -1)
    ramp = (index @ grid.voxel) @ (grid.centre - G)
    inside = truth.support > 0
    expected = np.tensordot(G, truth.displacement, 1) + ramp
    np.testing.assert_allclose(truth.phase[inside], expected[inside], atol=1e-3)
    assert not truth.phase[~inside].any()
    assert not truth.displacement[:, ~inside].any()
    ends = np.concatenate([line.points for line in truth.lines]) @ np.linalg.inv(grid.voxel)
    nearest = np.rint(ends).astype(int) + np.asarray(grid.shape) // 2
    for x, y, z in nearest:
        around = truth.support[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2]
        assert around.min() < 0.5 < around.max() + 0.5


def test_a_recipe_without_an_allowed_reflection_is_refused() -> None:
    with pytest.raises(ValueError, match="reflections must hold one that bcc Fe allows"):
        drawn(replace(RECIPE, elements=("Fe",), reflections=((1, 1, 1),)), 0)


def test_an_index_beyond_the_recipe_is_refused() -> None:
    with pytest.raises(IndexError, match=r"index must lie in \[0, 1000\)"):
        DrawnSamples(RECIPE)[1000]


def test_every_epoch_has_its_own_crystals() -> None:
    """Until the recipe is used up; then it starts again."""
    sampler = EpochSampler(10, 4)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert epochs == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    with pytest.raises(ValueError, match="per_epoch must lie in"):
        EpochSampler(10, 11)


WIDE = Recipe(
    "wide",
    1000,
    seed=31,
    shape=(32, 32, 32),
    elements=("Cu", "Au", "Si"),
    crystal_shapes=CRYSTAL_SHAPES,
    diameter_A=(200, 2000),
    class_fractions=(0.2, 0.1, 0.1, 0.1, 0.25, 0.25),
    anisotropic_fraction=0.5,
    distractors=Distractors(twin_fraction=0.3, vacancy_fraction=0.3, void_fraction=0.3, surface_fraction=0.3),
    detector=DetectorRanges(
        coherence=CoherenceRange(), rocking=RockingRange(), point_spread=PointSpreadRange(),
        background=BackgroundRange(), hot=HotRange(), dead=DeadRange(), gaps=GapsRange(probability=0.3),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def wide() -> list[Sample]:
    return [draw_sample(WIDE, i) for i in range(60)]


def test_every_class_and_kind_is_drawn_and_named(wide: list[Sample]) -> None:
    """The class that was wanted is the class of the defects; kinds of every family turn up."""
    assert {sample.truth.defect for sample in wide} == set(CLASSES)
    kinds = {kind for sample in wide for kind in sample.truth.kinds}
    assert kinds >= {
        "straight dislocation", "dissociated dislocation", "dislocation loop", "dislocation network",
        "stacking fault", "twin boundary", "vacancy cloud", "void", "surface strain", "smooth strain",
    }  # fmt: skip
    for sample in wide:
        wanted = draw_crystal(WIDE, sample_generator(WIDE, sample.index)).defect
        assert sample.truth.defect == wanted
        assert np.isfinite(sample.truth.displacement).all()


def test_the_lines_of_a_sample_lie_within_its_crystal(wide: list[Sample]) -> None:
    """Every corner of every polyline, up to rounding; partials, loops and networks alike."""
    for sample in wide:
        shape = draw_crystal(WIDE, sample_generator(WIDE, sample.index)).crystal.shape
        for line in sample.truth.lines:
            depth = shape.signed_distance(torch.as_tensor(line.points))
            assert float(depth.max()) < 1e-6 * float(shape.extent(np.eye(3)).max()), sample.index


def test_distractors_do_not_depend_on_the_class() -> None:
    """The same index under other class fractions keeps crystal, distractors, strain and detector."""
    other = replace(WIDE, class_fractions=(0, 0, 0, 0, 1, 0))
    for index in range(12):
        first, second = (draw_crystal(recipe, sample_generator(recipe, index)) for recipe in (WIDE, other))
        kept = [
            [defect.kind for defect in draw.crystal.defects if defect.defect_class == "none"]
            for draw in (first, second)
        ]
        assert kept[0] == kept[1]
        assert first.views[0].detector == second.views[0].detector
        np.testing.assert_array_equal(first.views[0].grid.step, second.views[0].grid.step)


def test_a_batch_on_a_device_holds_the_samples_drawn_one_by_one(wide: list[Sample]) -> None:
    """Counts, mask, support and phase; whatever the size of the batches."""
    recipe = replace(WIDE, samples=5, first_index=3)
    seen = {
        index: (batch.counts[i, 0], batch.mask[i, 0], batch.support[i, 0], batch.phase[i, 0])
        for batch in DrawnBatches(recipe, 2)
        for i, index in enumerate(batch.indices)
    }
    assert sorted(seen) == [3, 4, 5, 6, 7]
    for index, (counts, mask, support, phase) in seen.items():
        sample = wide[index]
        np.testing.assert_array_equal(counts.numpy(), sample.exposure.counts)
        assert mask.numpy().all() if sample.exposure.mask is None else (mask.numpy() == sample.exposure.mask).all()
        half = centre_crop(torch.as_tensor(sample.truth.support), (16, 16, 16))
        torch.testing.assert_close(support, half)
        inside = half > 0
        torch.testing.assert_close(
            phase[inside], centre_crop(torch.as_tensor(sample.truth.phase), (16, 16, 16))[inside]
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_fractions": (0, 0, 0, 0, 0, 0, 1)}, "class_fractions must be numbers"),
        ({"elements": ("Cu", "Fe"), "class_fractions": (1, 0, 0, 0, 1)}, "elements must be fcc or diamond to hold"),
        ({"slip_families": ("basal",)}, "slip_families must be among octahedral for Cu"),
        ({"anisotropic_fraction": 1.5}, "anisotropic_fraction must lie in"),
        ({"crystal_shapes": ("pyramid",)}, "crystal_shapes must be among"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(WIDE, **{"elements": ("Cu",), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"void_fraction": -0.1}, "distractors.void_fraction must lie in"),
        ({"surface_strain": (0.1, 0.01)}, "distractors.surface_strain must be a range"),
    ],
)
def test_impossible_distractors_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Distractors(**changes)  # type: ignore[arg-type]


def test_the_recipe_s_shapes_are_those_that_can_be_built() -> None:
    assert set(CRYSTAL_SHAPES) == set(SHAPES)


UNPRESSED = replace(
    SHIPPED,
    diameter_A=(100.0, 3000.0),
    emitted_fraction=0.0,
    distractors=replace(SHIPPED.distractors, contact_fraction=0.0),
)
"""In which the two crystals below were met."""


def test_where_no_line_is_long_enough_the_longest_that_was_drawn_is_kept() -> None:
    """Of 200 junctions of this crystal no arm had its length, one by 0.1 Å: a run of days must not end at that."""
    crystal = draw_crystal(UNPRESSED, sample_generator(UNPRESSED, 142419)).crystal
    longest = max(line.length for line in crystal.lines())
    diameter = float(crystal.shape.extent(np.eye(3)).min())
    assert 0.4 * diameter < longest <= SHORTEST_CHORD * diameter


def test_a_voxel_that_rounding_left_below_zero_is_counted() -> None:
    """Its frame was resampled to exactly nothing, of which charge sharing took a share."""
    assert draw_sample(UNPRESSED, 681006).exposure.counts.min() >= 0


PRESSED = replace(SHIPPED, seed=5, distractors=replace(SHIPPED.distractors, contact_fraction=1.0))


def test_a_pressed_crystal_is_touched_where_it_ends() -> None:
    """By one tool or by two, each flat on the surface and no deeper than a crystal bears."""
    tools = []
    for index in range(30):
        draw = drawn(PRESSED, index)
        found = [defect for defect in draw.crystal.defects if isinstance(defect, FlatPunch)]
        tools.append(len(found))
        for punch in found:
            assert abs(float(draw.crystal.shape.signed_distance(punch.point))) < 1e-6 * float(punch.point.norm())
            assert float(punch.inward @ punch.point) < 0
            assert float(punch.depth) <= 0.15 * float(punch.radius) + 1e-9
    assert set(tools) == {1, 2}


def test_a_crystal_without_tools_is_drawn_as_before_there_were_any() -> None:
    """One number for each of the four older kinds and no other: what is drawn next stays what it was."""
    crystal, drawing, counted = drawn(PRESSED, 0).crystal, np.random.default_rng(3), np.random.default_rng(3)
    draw_distractors(Distractors(), crystal, drawing)
    for _ in range(4):
        counted.integers(2**63)
    assert drawing.bit_generator.state == counted.bit_generator.state


def test_half_loops_leave_one_place_of_the_surface() -> None:
    """Faulted Shockley loops, more than one at times, about the tool where there is one."""
    recipe = replace(PRESSED, class_fractions=(0, 0, 0, 0, 1), emitted_fraction=1.0)
    numbers = []
    for index in range(20):
        crystal = drawn(recipe, index).crystal
        loops = [defect for defect in crystal.defects if isinstance(defect, DislocationLoop)]
        places = [defect.point for defect in crystal.defects if isinstance(defect, FlatPunch)]
        numbers.append(len(loops))
        radius = float(crystal.shape.extent(np.eye(3)).min()) / 2
        for loop in loops:
            assert loop.faulted
            middle = loop.corners.mean(0)
            nearest = min(float((middle - place).norm() - 0.3 * place.norm()) for place in places)
            assert nearest < 0.05 * radius + 10  # the plane is moved into the next gap between layers
        assert defect_class(crystal.defects) == "partial-or-fault"
    assert set(numbers) <= {1, 2, 3, 4}
    assert max(numbers) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contact_fraction": 1.5}, "contact_fraction must lie"),
        ({"contact_depth_A": (0.0, 1.0)}, "contact_depth_A must"),
    ],
)
def test_malformed_contacts_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Distractors(**change)  # type: ignore[arg-type]
