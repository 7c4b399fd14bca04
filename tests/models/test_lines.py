"""Tracing: tubes of known place come back as lines."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models.lines import trace_lines

VOXEL = np.array([[40.0, 3, 0], [0, 50, -5], [4, 0, 45]])
SHAPE = (16, 20, 18)


def tube(start: list[float], end: list[float], width: float = 0.9) -> NDArray[np.float32]:
    """exp(−d²/2σ²) around the segment between two positions in voxels from N // 2."""
    a, b = np.array(start), np.array(end)
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij"), -1)
    t = np.clip((index - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    distance = np.linalg.norm(index - a - t[..., None] * (b - a), axis=-1)
    return np.exp(-(distance**2) / (2 * width**2)).astype(np.float32)


SEGMENTS = [([-5, -6, -4], [5, 6, 4]), ([-6, 2, 1], [6, 2, 1]), ([3, -7.5, -2], [-2, 7, 3.5])]


@pytest.mark.parametrize(("start", "end"), SEGMENTS)
def test_a_straight_tube_is_one_line_of_its_length_and_direction(start: list[float], end: list[float]) -> None:
    """In Å of a sheared voxel: direction within 3°, both ends within 2 voxels, confidence the density's."""
    (line,) = trace_lines(tube(start, end), VOXEL, threshold=0.4)
    a, b = np.array(start) @ VOXEL, np.array(end) @ VOXEL
    chord = line.points_A[-1] - line.points_A[0]
    cosine = abs(chord @ (b - a)) / np.linalg.norm(chord) / np.linalg.norm(b - a)
    assert np.degrees(np.arccos(min(cosine, 1))) < 3
    ends = line.points_A[[0, -1]] if chord @ (b - a) > 0 else line.points_A[[-1, 0]]
    assert (np.linalg.norm(ends - [a, b], axis=1) < 2 * 50).all()
    across = np.cross(line.points_A - a, (b - a) / np.linalg.norm(b - a))
    assert np.linalg.norm(across, axis=1).max() < 0.7 * 50
    assert 0.4 < line.confidence <= 1
    assert line.burgers is None


def test_points_run_along_the_line() -> None:
    """In order: each step goes the same way."""
    (line,) = trace_lines(tube(*SEGMENTS[0]), VOXEL, threshold=0.4)
    steps = np.diff(line.points_A, axis=0)
    assert (steps @ (line.points_A[-1] - line.points_A[0]) > 0).all()


def test_two_separate_tubes_are_two_lines_longest_first() -> None:
    density = np.maximum(tube([-6, -6, -5], [6, -6, -5]), tube([-3, 6, 5], [3, 6, 5]))
    first, second = trace_lines(density, np.eye(3), threshold=0.4)
    assert np.ptp(first.points_A[:, 0]) > np.ptp(second.points_A[:, 0])
    np.testing.assert_allclose(first.points_A[:, 1:].mean(0), [-6, -5], atol=0.2)
    np.testing.assert_allclose(second.points_A[:, 1:].mean(0), [6, 5], atol=0.2)


def test_nothing_gives_no_line() -> None:
    """Neither an empty volume nor faint noise nor a few stray voxels."""
    noise = np.random.default_rng(0).uniform(0, 0.39, SHAPE).astype(np.float32)
    noise[2, 3, 4] = noise[10, 11, 12] = 0.99
    assert trace_lines(np.zeros(SHAPE, np.float32), VOXEL, threshold=0.4) == ()
    assert trace_lines(noise, VOXEL, threshold=0.4) == ()
