"""A score is best over one twin, one translation and a global phase a reflection, and over nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from crystals_to_score import (
    MORE,
    SHAPE,
    SPANNING,
    VOXEL,
    Element,
    crystal,
    image,
    oracle,
    support,
    vectors,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi import ambiguity, identifiability
from cdi.defects.line import DislocationLine
from training.metrics import CrystalObject, Line, crystal_score
from training.metrics.joint_group import Alignment, align
from training.metrics.volumes import grid_points, inverted, wrapped

WHOLE = st.integers(-1, 1)


@pytest.mark.parametrize("shape", [(5, 6, 7), (6, 6, 5), (7, 4, 8)])
def test_inversion_and_twin_are_those_of_the_ambiguities(shape: tuple[int, int, int]) -> None:
    """The same as ``cdi.ambiguity`` on even and odd axes; the twin of a complex object is its conjugate inverted."""
    generator = np.random.default_rng(0)
    whole = CrystalObject(generator.uniform(size=shape), generator.uniform(-3, 3, (2, *shape)))
    np.testing.assert_array_equal(inverted(whole.phase), ambiguity.inverted(torch.as_tensor(whole.phase)).numpy())
    twin = ambiguity.twin(torch.as_tensor(whole.density)).numpy()
    np.testing.assert_allclose(whole.twin().density, twin, atol=1e-12)
    np.testing.assert_array_equal(whole.twin().twin().phase, whole.phase)


def test_the_images_of_an_object_have_its_intensity() -> None:
    """Twin, whole shift and phases leave |F|² of every reflection as it is; a twin of one reflection alone as well."""
    true = crystal(MORE, lines=2).volumes
    moved = Element(True, (1, -1, 2), 4).on(len(MORE)).volumes(true)
    intensity = [np.abs(np.fft.fftn(each.density, [2 * n for n in SHAPE], axes=(1, 2, 3))) for each in (true, moved)]
    np.testing.assert_allclose(intensity[1], intensity[0], atol=1e-9 * intensity[0].max())


@settings(max_examples=12, deadline=None)
@given(twinned=st.booleans(), shift=st.tuples(WHOLE, WHOLE, WHOLE), seed=st.integers(0, 99), lines=st.integers(0, 2))
def test_an_image_of_the_truth_scores_as_the_truth(
    twinned: bool, shift: tuple[int, int, int], seed: int, lines: int
) -> None:
    """Whatever the element of the joint group: every score is perfect, and the element is found."""
    true = crystal(MORE, lines=lines, seed=seed)
    element = Element(twinned, shift, seed).on(len(MORE))
    said = image(oracle(true), element)
    score = crystal_score(said, true)
    assert score.volumes is not None
    assert score.volumes.twinned == twinned
    assert score.volumes.dice == 1
    assert score.volumes.phase_error == pytest.approx(0, abs=1e-9)
    assert score.volumes.strain_error == pytest.approx(0, abs=1e-12)
    assert score.lines is not None
    assert score.lines.distances == pytest.approx(np.zeros(lines), abs=1e-9)
    assert score.lines.burgers.tolist() == [1] * lines
    assert score.lines.windings.tolist() == [1] * lines
    assert score.sites is not None
    assert score.sites.outside.right == score.sites.outside.true
    assert score.sites.outside.squares == pytest.approx(0, abs=1e-9)
    assert score.count_right == 1


def test_the_element_is_found_by_its_numbers() -> None:
    """The alignment undoes the twin, the shift and the phases of the image."""
    true = crystal(SPANNING).volumes
    element = Element(False, (2, -1, 0), 7).on(3)
    found = align(element.volumes(true), true)
    np.testing.assert_array_equal(found.shift, [-2, 1, 0])
    np.testing.assert_allclose(wrapped(found.phases + element.phases), 0, atol=1e-12)
    mirrored = align(Element(True, (1, 0, -2), 7).on(3).volumes(true), true)
    assert mirrored.twinned
    # Inverted first and moved then: r = −r' + t on both ways.
    np.testing.assert_array_equal(mirrored.shift, [1, 0, -2])


@pytest.mark.parametrize("twinned", [False, True])
def test_fractions_of_a_voxel_are_found(twinned: bool) -> None:
    """A smooth crystal drawn a third of a voxel aside costs little: lines come back to a twentieth of a voxel."""
    offset = np.array([0.31, -0.44, 1.28])
    G = vectors(SPANNING)

    def smooth(at: np.ndarray) -> CrystalObject:
        x, y, z = np.moveaxis(grid_points(SHAPE) - at, -1, 0)
        density = np.exp(-(((x / 3) ** 2 + (y / 3.5) ** 2 + (z / 4) ** 2) ** 2) + 0.2 * np.tanh(x - y))
        u = np.stack([0.1 * np.sin(x / 2), 0.05 * z, 0.1 * np.cos((y + z) / 3)], -1)
        return CrystalObject(np.clip(density, 0, 1), np.einsum("rj,xyzj->rxyz", G, u))

    true, said = smooth(np.zeros(3)), smooth(offset)
    found = align(said.twin() if twinned else said, true)
    assert found.twinned == twinned
    np.testing.assert_allclose(found.shift, -offset, atol=0.05)
    line = Line(np.array([[0.0, 0, -30], [10, 0, 30]]) + offset @ VOXEL, np.ones(3))
    if twinned:
        line = Alignment(True, np.zeros(3), np.zeros(3)).line(line, VOXEL)
    back = found.line(line, VOXEL)
    np.testing.assert_allclose(back.points @ np.linalg.inv(VOXEL), [[0, 0, -30], [10, 0, 30]] @ np.linalg.inv(VOXEL),
                               atol=0.05)  # fmt: skip


def test_a_shift_beyond_two_voxels_is_an_error() -> None:
    """Both are centred: a crystal four voxels aside was put in the wrong place."""
    true = crystal(SPANNING)
    far = image(oracle(true), Element(False, (4, 0, 0)).on(3))
    assert np.abs(align(far.volumes, true.volumes).shift).max() <= 2  # type: ignore[arg-type]
    score = crystal_score(far, true)
    assert score.volumes is not None
    assert score.volumes.dice < 0.9


def test_a_twin_of_one_reflection_alone_is_not_forgiven() -> None:
    """Each reflection's twin fits its own pattern, but one crystal has one twin."""
    true = crystal(SPANNING, lines=2)
    half = CrystalObject(true.volumes.support, true.volumes.phase)
    mirrored = half.twin().phase
    mixed = CrystalObject(half.support, np.concatenate([half.phase[:2], mirrored[2:]]))
    score = crystal_score(replace(oracle(true), volumes=mixed), true)
    assert score.volumes is not None
    assert not score.volumes.twinned
    assert score.volumes.phase_error > 0.3
    assert score.sites is not None
    assert score.sites.inside.right < 0.5 * score.sites.inside.true


def test_all_reflections_choose_the_twin_together() -> None:
    """In a ball one reflection is exactly the twin's, two are the truth's with some noise: two outweigh it."""
    ball = (np.linalg.norm(grid_points(SHAPE), axis=-1) < 5).astype(float)
    true = CrystalObject(ball, crystal(SPANNING, lines=2).volumes.phase)
    noise = np.random.default_rng(0).normal(0, 0.5, true.phase.shape)
    noisy = np.concatenate([(true.phase + noise)[:2], true.twin().phase[2:]])
    assert not align(CrystalObject(ball, noisy), true).twinned
    assert align(CrystalObject(ball, noisy).twin(), true).twinned


def test_lines_of_the_other_twin_are_not_forgiven() -> None:
    """The volumes choose; lines that belong to the twin of these volumes are in the wrong place."""
    true = crystal(SPANNING, lines=2)
    swapped = image(oracle(true), Element(True, (0, 0, 0)).on(3))
    score = crystal_score(replace(oracle(true), lines=swapped.lines), true)
    assert score.lines is not None
    assert score.lines.hits(1.0) == 0


def test_a_translation_of_the_lines_alone_is_not_forgiven() -> None:
    """One shift for everything: lines two voxels off their own support stay two voxels off."""
    true = crystal(SPANNING)
    said = oracle(true)
    assert said.lines is not None
    aside = tuple(replace(line, points=line.points + 2 * VOXEL[0]) for line in said.lines)
    score = crystal_score(replace(said, lines=aside), true)
    assert score.lines is not None
    assert score.lines.distances == pytest.approx([2.0], abs=1e-9)


def test_a_shift_of_one_reflection_alone_is_not_forgiven() -> None:
    """The phases of a crystal move together."""
    true = crystal(SPANNING, lines=2).volumes
    moved = np.concatenate([np.roll(true.phase[:1], 2, 1), true.phase[1:]])
    aligned = align(CrystalObject(true.support, moved), true).volumes(CrystalObject(true.support, moved))
    assert np.abs(wrapped(aligned.phase - true.phase))[0][true.inside].mean() > 0.1


def test_the_twin_of_a_line_is_that_of_its_dislocation() -> None:
    """(b, ξ) at r becomes (−b, ξ) at −r, as in ``cdi.identifiability.twin``; windings follow b."""
    points, burgers = np.array([[1.0, 2, 3], [4, 1, 7], [9, 9, 9]]), np.array([0.5, 0.0, -0.5])
    (expected,) = identifiability.twin([DislocationLine(points, burgers)])
    got = Alignment(True, np.zeros(3), np.zeros(2)).line(Line(points, np.array([1.0, -2]), burgers), VOXEL)
    np.testing.assert_array_equal(got.points, expected.points)
    np.testing.assert_array_equal(got.burgers, expected.burgers)
    np.testing.assert_array_equal(got.windings, [-1, 2])


def test_the_winding_around_a_twin_line_is_the_one_that_it_is_given() -> None:
    """Counted in the twin of the phase, around the twin of the line: two routes to one winding."""
    x, y, _ = np.moveaxis(grid_points(SHAPE), -1, 0)
    vortex = CrystalObject(support(), np.arctan2(y - 0.5, x - 1.5)[None])
    line = Line(np.array([[1.5, 0.5, -3], [1.5, 0.5, 3]]) @ VOXEL, np.array([1.0]))
    twin = Alignment(True, np.zeros(3), np.zeros(1)).line(line, VOXEL)
    phase = Alignment(True, np.zeros(3), np.zeros(1)).volumes(vortex).phase[0, :, :, SHAPE[2] // 2]
    centre = np.array(SHAPE) // 2 + (twin.points @ np.linalg.inv(VOXEL))[0]
    i, j = int(np.floor(centre[0])), int(np.floor(centre[1]))
    circuit = np.array([phase[i, j], phase[i + 1, j], phase[i + 1, j + 1], phase[i, j + 1], phase[i, j]])
    turns = wrapped(np.diff(circuit)).sum() / (2 * np.pi)
    up = np.sign((twin.points[-1] - twin.points[0])[2])
    assert turns * up == pytest.approx(twin.windings[0])


def test_an_empty_prediction_is_left_where_it_is() -> None:
    """No object, no overlap: no twin, no shift, a Dice of 0."""
    true = crystal(SPANNING).volumes
    found = align(CrystalObject(np.zeros(SHAPE), np.zeros((3, *SHAPE))), true)
    assert not found.twinned
    np.testing.assert_array_equal(found.shift, 0)


def test_a_prediction_must_be_of_the_same_reflections_and_grid() -> None:
    with pytest.raises(ValueError, match=r"phase must have the shape of the truth \(3, 15, 16, 17\), got \(5, 15"):
        align(crystal(MORE).volumes, crystal(SPANNING).volumes)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((5, 6), (1, 5, 6, 7)), r"support must have shape \(x, y, z\), got \(5, 6\)"),
        (((5, 6, 7), (5, 6, 7)), r"phase must have shape \(reflections, \*\(5, 6, 7\)\), got \(5, 6, 7\)"),
        (((5, 6, 7), (2, 5, 7, 6)), r"phase must have shape"),
        (((5, 6, 7), (0, 5, 6, 7)), r"phase must have shape"),
    ],
)
def test_volumes_must_fit(shapes: tuple[tuple[int, ...], tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CrystalObject(*(np.zeros(shape) for shape in shapes))


def test_volumes_must_be_finite() -> None:
    with pytest.raises(ValueError, match="support and phase must be finite, got NaN"):
        CrystalObject(np.full((5, 6, 7), np.nan), np.zeros((1, 5, 6, 7)))


@pytest.mark.parametrize(
    ("points", "windings", "burgers", "message"),
    [
        (np.ones((3, 3)), [1.0], None, "points must be .* along a line of some length"),
        (np.eye(3)[:1], [1.0], None, "points must be"),
        (np.eye(3), [[1.0]], None, r"windings must have shape \(reflections,\), got \(1, 1\)"),
        (np.eye(3), [1.0], [1.0, 2], r"burgers must have shape \(3,\), got \(2,\)"),
    ],
)
def test_a_line_must_be_one(points: np.ndarray, windings: list, burgers: list | None, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        Line(points, np.array(windings), burgers)  # type: ignore[arg-type]
