"""Binning and cropping: photons add, masks and, and every voxel keeps its scattering vector."""

import numpy as np
import pytest
import torch

from cdi.detector.regions import Shape, binned, binned_grid, cropped, cropped_grid
from cdi.grid import QGrid

GENERATOR = torch.Generator().manual_seed(0)


def grid_of(shape: Shape) -> QGrid:
    step = 0.013 * (np.eye(3) + np.array([[0, 0.2, -0.1], [0.05, 0, 0.15], [-0.12, 0.07, 0]]))
    return QGrid([1.3, -2.1, 0.8], step, shape)


def blocks_of(volume: np.ndarray, factors: Shape) -> np.ndarray:
    """Blocks written naively, one by one: (x, y, z, voxels of the block)."""
    shape = tuple(n // f for n, f in zip(volume.shape, factors, strict=True))
    a, b, c = factors
    return np.array(
        [
            volume[a * i : a * i + a, b * j : b * j + b, c * k : c * k + c].ravel()
            for i, j, k in np.ndindex(*shape)
        ]
    ).reshape(*shape, a * b * c)  # fmt: skip


def test_counts_of_a_block_add_exactly() -> None:
    counts = torch.poisson(torch.full((2, 6, 10, 9), 30.0), generator=GENERATOR)
    small = binned(counts, (3, 2, 1))
    assert small.shape == (2, 2, 5, 9)
    np.testing.assert_array_equal(small[1].numpy(), blocks_of(counts[1].numpy(), (3, 2, 1)).sum(-1))
    assert float(small.sum()) == float(counts.sum())


def test_a_block_is_measured_where_all_of_it_is() -> None:
    mask = torch.rand((2, 6, 10, 9), generator=GENERATOR) < 0.9
    small = binned(mask, (2, 5, 3))
    assert small.dtype == torch.bool
    np.testing.assert_array_equal(small[0].numpy(), blocks_of(mask[0].numpy(), (2, 5, 3)).all(-1))


@pytest.mark.parametrize(
    ("shape", "factors"), [((6, 10, 9), (3, 2, 1)), ((8, 9, 15), (4, 3, 5)), ((7, 6, 4), (1, 6, 2))]
)
def test_a_binned_voxel_lies_in_the_middle_of_its_block(shape: Shape, factors: Shape) -> None:
    """For even and odd sizes and factors: each q is the mean over the block's voxels."""
    grid = grid_of(shape)
    small = binned_grid(grid, factors)
    for before, after in zip(grid.axes(), small.axes(), strict=True):
        np.testing.assert_allclose(after, blocks_of(before, factors).mean(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("window", "offset"), [((5, 6, 7), (0, 0, 0)), ((4, 3, 7), (1, -2, 1)), ((1, 10, 2), (-3, 0, 4))]
)
def test_a_cropped_voxel_keeps_its_q(window: Shape, offset: Shape) -> None:
    grid = grid_of((9, 10, 11))
    small = cropped_grid(grid, window, offset)
    for before, after in zip(grid.axes(), small.axes(), strict=True):
        np.testing.assert_allclose(after, cropped(torch.as_tensor(before), window, offset), rtol=0, atol=1e-12)


def test_a_window_without_offset_keeps_the_centre() -> None:
    grid = grid_of((9, 10, 11))
    np.testing.assert_array_equal(cropped_grid(grid, (4, 5, 6)).centre, grid.centre)
    volume = torch.zeros(9, 10, 11)
    volume[4, 5, 5] = 1
    assert cropped(volume, (4, 5, 6))[2, 2, 3] == 1


@pytest.mark.parametrize("factors", [(4, 2, 1), (0, 2, 1), (1, 1, 2), (2, 2)])
def test_factors_divide_the_shape(factors: Shape) -> None:
    message = r"binning must be positive divisors of the shape \(6, 10, 9\), got"
    with pytest.raises(ValueError, match=message):
        binned(torch.zeros(6, 10, 9), factors)
    with pytest.raises(ValueError, match=message):
        binned_grid(grid_of((6, 10, 9)), factors)


@pytest.mark.parametrize(("window", "offset"), [((7, 5, 5), (0, 0, 0)), ((4, 4, 4), (0, 4, 0)), ((4, 0, 4), (0, 0, 0))])
def test_a_window_lies_within_the_volume(window: Shape, offset: Shape) -> None:
    message = r"crop \(shape, offset\) must lie within the volume \(6, 10, 9\), got \("
    with pytest.raises(ValueError, match=message):
        cropped(torch.zeros(6, 10, 9), window, offset)
    with pytest.raises(ValueError, match=message):
        cropped_grid(grid_of((6, 10, 9)), window, offset)
