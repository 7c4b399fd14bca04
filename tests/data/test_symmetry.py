"""Relabelling axes: object and pattern stay transforms of each other, and every voxel keeps its q."""

from itertools import permutations, product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.fourier import amplitude_from_object
from cdi.grid import QGrid
from data.symmetry import AxisSymmetry

ALL = [AxisSymmetry(order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)]  # type: ignore[arg-type]


def complex_volume(shape: tuple[int, int, int]) -> NDArray[np.complex128]:
    rng = np.random.default_rng(0)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def transform(density: NDArray[np.complex128]) -> NDArray[np.complex128]:
    return np.asarray(amplitude_from_object(torch.as_tensor(density)).numpy())


@pytest.mark.parametrize("shape", [(5, 6, 7), (8, 4, 6)])
def test_the_transform_commutes_with_every_symmetry(shape: tuple[int, int, int]) -> None:
    """F(S ρ) = S F(ρ) for all 48, odd and even sizes: pattern and object may be relabelled together."""
    density = complex_volume(shape)
    for symmetry in ALL:
        moved = symmetry.apply(density)  # type: ignore[arg-type]
        np.testing.assert_allclose(transform(moved), symmetry.apply(transform(density)), atol=1e-10)  # type: ignore[arg-type]


def test_the_48_are_distinct() -> None:
    volume = np.arange(5**3, dtype=np.float32).reshape(5, 5, 5)
    assert len({symmetry.apply(volume).tobytes() for symmetry in ALL}) == 48


def test_flipping_twice_changes_nothing() -> None:
    volume = np.random.default_rng(1).normal(size=(5, 6, 7)).astype(np.float32)
    flip = AxisSymmetry((0, 1, 2), (True, True, False))
    np.testing.assert_array_equal(flip.apply(flip.apply(volume)), volume)


@pytest.mark.parametrize("shape", [(5, 7, 9), (8, 4, 6)])
def test_every_voxel_keeps_its_q(shape: tuple[int, int, int]) -> None:
    """The relabelled grid gives the relabelled q; only the face at −N/2 of an even axis is its own alias at +N/2."""
    step = 0.01 * (np.eye(3) + np.array([[0, 0.3, 0], [0.1, 0, -0.2], [0, 0.15, 0]]))
    grid = QGrid([1.0, -2.0, 3.0], step, shape)
    inner = tuple(slice(1, None) for _ in range(3))
    for symmetry in ALL:
        moved = symmetry.apply_grid(grid)
        for found, q in zip(moved.axes(), grid.axes(), strict=True):
            expected = symmetry.apply(q)  # type: ignore[arg-type]
            np.testing.assert_allclose(found[inner], expected[inner], atol=1e-12)
        np.testing.assert_array_equal(moved.centre, grid.centre)


def test_draws_reach_all_48_from_the_given_generator() -> None:
    generator = np.random.default_rng(0)
    assert len({AxisSymmetry.draw(generator) for _ in range(1500)}) == 48
    assert AxisSymmetry.draw(np.random.default_rng(7)) == AxisSymmetry.draw(np.random.default_rng(7))
