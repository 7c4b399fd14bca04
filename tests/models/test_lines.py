"""Tracing: tubes of known place and winding come back as lines."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from models.lines import traced_lines
from models.ridge_tracking import TUBE

Array = NDArray[np.float64]

SHAPE = (16, 20, 18)
Windings = Sequence[float]
SHEARED = np.array([[40.0, 3, 0], [0, 50, -5], [4, 0, 45]])


def volumes(curves: Sequence[tuple[Array, Windings]], shape: tuple[int, int, int] = SHAPE) -> tuple[Array, Array]:
    """Density and J of polylines ``(n, 3)`` in voxels from N // 2, each with its windings."""
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), -1).astype(np.float64)
    density, flux = np.zeros(shape), np.zeros((len(curves[0][1]), 3, *shape))
    for points, windings in curves:
        nearest, tangent = np.full(shape, np.inf), np.zeros((*shape, 3))
        for start, end in pairwise(points):
            step = end - start
            t = np.clip((index - start) @ step / (step @ step), 0, 1)
            distance = np.linalg.norm(index - start - t[..., None] * step, axis=-1)
            closer = distance < nearest
            nearest = np.where(closer, distance, nearest)
            tangent[closer] = step / np.linalg.norm(step)
        tube = np.exp(-(nearest**2) / (2 * TUBE**2))
        density = np.maximum(density, tube)
        flux += np.asarray(windings)[:, None, None, None, None] * np.moveaxis(tangent, -1, 0) * tube
    return density, flux


def segment(*corners: Sequence[float]) -> Array:
    return np.asarray(corners, np.float64)


def arc(radius: float, angle: float, centre: Sequence[float] = (0.0, 0.0, 0.0)) -> Array:
    """Part of a circle in a plane that no axis lies in."""
    t = np.linspace(0, angle, 40)[:, None]
    across = np.array([0.6, 0.8, 0.0]), np.array([-0.48, 0.36, 0.8])
    return np.asarray(centre) + radius * (np.cos(t) * across[0] + np.sin(t) * across[1])


def off(points: Array, curve: Array) -> float:
    """Greatest distance of ``points`` to a polyline."""
    dense = np.concatenate([np.linspace(a, b, 50) for a, b in pairwise(curve)])
    return float(np.linalg.norm(points[:, None] - dense, axis=-1).min(1).max())


CROSSED = [(segment([-6, -5, -1], [6, 5, 1]), [1.0, 0.0]), (segment([-5, 6, 1], [5, -6, 0]), [1.0, -1.0])]


@pytest.mark.parametrize("told", [True, False], ids=["winding", "density alone"])
@pytest.mark.parametrize(
    "curve", [segment([-5, -6, -4], [5, 6, 4]), segment([-6, 2, 1.4], [6, 2.3, 1]), arc(5.0, np.pi), arc(7.0, 1.6)]
)
def test_a_line_is_followed_to_a_fraction_of_a_voxel(curve: Array, told: bool) -> None:
    """Straight or curved, in voxels: nowhere farther off than 0.3, and within 1.2 of both ends."""
    density, flux = volumes([(curve, [1.0, -2.0])])
    (line,) = traced_lines(density, flux if told else None, np.eye(3), threshold=0.4)
    inner = line.points_A[np.linalg.norm(line.points_A[:, None] - curve[[0, -1]], axis=-1).min(1) > 1.2]
    assert off(inner, curve) < 0.3
    ends = np.linalg.norm(line.points_A[[0, -1]][:, None] - curve[[0, -1]], axis=-1)
    assert ends.min(1).max() < 1.2
    assert set(ends.argmin(1)) == {0, 1}


def test_windings_are_those_of_the_sense_in_which_points_run() -> None:
    """The first that is not negligible is positive; points then run along the line or against it."""
    curve = segment([-5, -6, -4], [5, 6, 4])
    for windings in ([0.0, -1.0, 2.0], [0.0, 1.0, -2.0]):
        (line,) = traced_lines(*volumes([(curve, windings)]), SHEARED, threshold=0.4)
        np.testing.assert_allclose(line.windings, [0, 1, -2], atol=0.02)
        sense = 1 if windings[1] > 0 else -1
        assert (line.points_A[-1] - line.points_A[0]) @ ((curve[1] - curve[0]) @ SHEARED) * sense > 0


def test_points_are_in_angstrom_of_sheared_voxels() -> None:
    curve = segment([-6, 2, 1.4], [6, 2.3, 1])
    density, flux = volumes([(curve, [1.0])])
    (voxels,), (line,) = (traced_lines(density, flux, rows, threshold=0.4) for rows in (np.eye(3), SHEARED))
    np.testing.assert_allclose(line.points_A, voxels.points_A @ SHEARED)
    assert line.length == pytest.approx(np.linalg.norm((curve[1] - curve[0]) @ SHEARED), rel=0.15)


@pytest.mark.parametrize("told", [True, False], ids=["winding", "density alone"])
def test_a_closed_loop_comes_back_to_its_first_point(told: bool) -> None:
    loop = arc(4.5, 2 * np.pi, (0.3, -0.4, 0.2))
    density, flux = volumes([(loop, [1.0, 1.0])])
    (line,) = traced_lines(density, flux if told else None, np.eye(3), threshold=0.4)
    np.testing.assert_array_equal(line.points_A[0], line.points_A[-1])
    assert off(line.points_A, loop) < 0.45
    assert line.length == pytest.approx(2 * np.pi * 4.5, rel=0.08)
    if told:
        np.testing.assert_allclose(line.windings, 1, atol=0.05)


@pytest.mark.parametrize("told", [True, False], ids=["winding", "density alone"])
def test_two_lines_that_cross_stay_two(told: bool) -> None:
    density, flux = volumes(CROSSED)
    lines = traced_lines(density, flux if told else None, np.eye(3), threshold=0.4)
    assert len(lines) == 2
    for curve, windings in CROSSED:
        line = min(lines, key=lambda line: off(line.points_A, curve))
        assert off(line.points_A, np.asarray([2 * curve[0] - curve[1], 2 * curve[1] - curve[0]])) < 0.6
        if told:
            np.testing.assert_allclose(np.abs(line.windings), np.abs(windings), atol=0.1)


@pytest.mark.parametrize("windings", [[1.0], [-1.0]], ids=["alike", "opposite"])
def test_parallel_lines_three_voxels_apart_stay_two(windings: list[float]) -> None:
    first, second = segment([-6, -1.5, 0], [6, -1.5, 1]), segment([-6, 1.5, 0.5], [5, 1.5, 1])
    for flux in (True, False):
        density, J = volumes([(first, [1.0]), (second, windings)])
        lines = traced_lines(density, J if flux else None, np.eye(3), threshold=0.4)
        assert len(lines) == 2
        assert sorted(round(float(np.sign(line.points_A[:, 1].mean()))) for line in lines) == [-1, 1]


def test_three_arms_of_a_junction_are_three_lines_whose_windings_add_up() -> None:
    """b₁ + b₂ = b₃: in and out of the node, in every reflection, within a third of a turn."""
    node = np.array([0.3, -0.2, 0.4])
    arms = [([-7.0, -4, 0], [1.0, 0.0]), ([-6.0, 5, 1], [0.0, 1.0]), ([7.0, 0.5, -2], [-1.0, -1.0])]
    density, flux = volumes([(segment(end, node), windings) for end, windings in arms])
    lines = traced_lines(density, flux, np.eye(3), threshold=0.4)
    assert len(lines) == 3
    total = np.zeros(2)
    for line in lines:
        ends = np.linalg.norm(line.points_A[[0, -1]] - node, axis=1)
        assert ends.min() < 2
        total += line.windings * (1 if ends.argmin() == 1 else -1)
    np.testing.assert_allclose(total, 0, atol=1 / 3)


@pytest.mark.parametrize("told", [True, False], ids=["winding", "density alone"])
def test_a_gap_of_two_voxels_is_bridged(told: bool) -> None:
    curve = segment([-8, -4, -3], [8, 4, 3])
    density, flux = volumes([(curve, [1.0])], (20, 18, 16))
    x = np.arange(20)[:, None, None] - 10 + 0 * density
    hole = np.abs(x) <= 0.9
    lines = traced_lines(
        np.where(hole, 0, density), np.where(hole, 0, flux) if told else None, np.eye(3), threshold=0.4
    )
    assert len(lines) == 1
    assert off(lines[0].points_A, np.asarray([1.2 * curve[0], 1.2 * curve[1]])) < 0.5


def test_without_any_winding_lines_are_traced_all_the_same() -> None:
    """J = 0 everywhere says nothing: lines of winding 0, not none."""
    density, flux = volumes(CROSSED)
    silent = traced_lines(density, 0 * flux, np.eye(3), threshold=0.4)
    absent = traced_lines(density, None, np.eye(3), threshold=0.4)
    assert len(silent) == len(absent) == 2
    assert not any(line.windings.any() for line in silent)
    assert all(line.windings.shape == (0,) for line in absent)
    np.testing.assert_allclose(silent[0].points_A, absent[0].points_A)


def test_a_ridge_that_does_not_wind_beside_one_that_does_is_no_line() -> None:
    density, flux = volumes([(segment([-6, -4, 0], [6, -4, 1]), [1.0]), (segment([-5, 4, 0], [5, 4, 1]), [0.0])])
    (line,) = traced_lines(density, flux, np.eye(3), threshold=0.4)
    assert line.points_A[:, 1].mean() < -3


def test_noise_moves_a_line_by_half_a_voxel_at_most_and_adds_none() -> None:
    curve = arc(7.0, 1.8, (-3.0, -4.0, 0.0))
    density, flux = volumes([(curve, [1.0, 1.0])])
    for seed in range(5):
        generator = np.random.default_rng(seed)
        noisy = np.clip(density + generator.normal(0, 0.1, density.shape), 0, 1)
        (line,) = traced_lines(noisy, flux + generator.normal(0, 0.1, flux.shape), np.eye(3), threshold=0.4)
        inner = line.points_A[np.linalg.norm(line.points_A[:, None] - curve[[0, -1]], axis=-1).min(1) > 1.2]
        assert off(inner, curve) < 0.6
        np.testing.assert_allclose(line.windings, 1, atol=0.15)


def test_confidence_is_the_height_of_the_density() -> None:
    curve = segment([-6, 2, 1], [6, 2, 1])
    density, flux = volumes([(curve, [1.0])])
    full, weak = (traced_lines(share * density, share * flux, np.eye(3), threshold=0.4)[0] for share in (1.0, 0.6))
    assert full.confidence == pytest.approx(0.95, abs=0.05)
    assert weak.confidence == pytest.approx(0.6 * full.confidence, abs=0.04)


def test_nothing_gives_no_traced_line() -> None:
    noise = np.random.default_rng(0).uniform(0, 0.3, SHAPE)
    noise[2, 3, 4] = 0.99
    for density in (np.zeros(SHAPE), noise):
        assert traced_lines(density, np.zeros((2, 3, *SHAPE)), SHEARED, threshold=0.4) == ()


@pytest.mark.parametrize(
    ("density", "winding", "threshold", "message"),
    [
        (np.zeros((4, 5)), None, 0.5, r"density must have shape \(x, y, z\), got \(4, 5\)"),
        (np.zeros((4, 5, 6)), np.zeros((2, 3, 4, 5, 7)), 0.5, r"winding must have shape \(R, 3, 4, 5, 6\)"),
        (np.zeros((4, 5, 6)), None, 1.0, r"threshold must lie in \(0, 1\), got 1.0"),
    ],
)
def test_malformed_volumes_are_refused(density: Array, winding: Array | None, threshold: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        traced_lines(density, winding, np.eye(3), threshold=threshold)


def test_a_loop_of_two_voxels_is_closed_by_its_winding() -> None:
    """Its sides are all that the density shows: J, opposite on both, tells that they are one."""
    loop = arc(2.1, 2 * np.pi, (0.2, -0.3, 0.4))
    density, flux = volumes([(loop, [1.0, 2.0])])
    (line,) = traced_lines(density, flux, np.eye(3), threshold=0.4)
    np.testing.assert_array_equal(line.points_A[0], line.points_A[-1])
    assert off(line.points_A, loop) < 0.8
    assert line.windings[1] == pytest.approx(2 * line.windings[0], rel=0.05)


@pytest.mark.parametrize(("other", "lines"), [([1.0, 0.5], 1), ([-1.0, -0.5], 2)], ids=["alike", "opposite"])
def test_ends_that_face_each_other_join_if_they_wind_alike(other: list[float], lines: int) -> None:
    """Over 5.8 voxels between lines, more than is bridged in following one."""
    first, second = segment([-9, -3, -2], [-2.7, -0.9, -0.6]), segment([2.7, 0.9, 0.6], [9, 3, 2])
    density, flux = volumes([(first, [1.0, 0.5]), (second, other)], (22, 16, 18))
    found = traced_lines(density, flux, np.eye(3), threshold=0.4)
    assert len(found) == lines
    assert off(found[0].points_A, np.asarray([first[0], second[1]])) < 0.4
