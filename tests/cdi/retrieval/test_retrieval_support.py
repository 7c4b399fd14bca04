"""Supports from autocorrelations and by shrink-wrap, on uneven shapes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cdi.fourier import amplitude_from_object, origin_to_centre, origin_to_corner
from cdi.retrieval.support import (
    autocorrelation,
    autocorrelation_extent,
    blurred,
    first_support,
    joined_support,
    shrunk_support,
)

SHAPE = (21, 24, 26)
SIDES = (5, 7, 9)


@pytest.fixture
def box() -> Tensor:
    """A cuboid of ``SIDES`` voxels around ``N // 2``."""
    volume = torch.zeros(SHAPE, dtype=torch.float64)
    volume[tuple(slice(n // 2 - m // 2, n // 2 - m // 2 + m) for n, m in zip(SHAPE, SIDES, strict=True))] = 1
    return volume


def level_of(density: Tensor) -> Tensor:
    intensity = amplitude_from_object(density.to(torch.complex128)).abs().square()
    return autocorrelation(origin_to_corner(intensity))


def test_the_autocorrelation_of_a_box_is_twice_its_size(box: Tensor) -> None:
    """2 m − 1 voxels along each axis, and triangles along the axes."""
    level = level_of(box)
    assert autocorrelation_extent(level, 1e-6).tolist() == [2 * m - 1 for m in SIDES]
    middle = tuple(n // 2 for n in SHAPE)
    assert float(level[middle]) == pytest.approx(1)
    assert float(level[middle[0] + 2, middle[1], middle[2]]) == pytest.approx(1 - 2 / SIDES[0])


@pytest.mark.parametrize("moved", [(0, 0, 0), (3, -4, 2)])
def test_the_first_support_holds_the_object_wherever_it_was(box: Tensor, moved: tuple[int, int, int]) -> None:
    """At scale ½ and a low level it is the centred box itself; at 1 the whole autocorrelation."""
    level = level_of(torch.roll(box, moved, (0, 1, 2)))
    half = origin_to_centre(first_support(level, 1e-6, 0.5)).double()
    assert torch.equal(half, box)
    assert torch.equal(origin_to_centre(first_support(level, 1e-6, 1.0)), level > 1e-6)


def test_noise_beyond_a_gap_does_not_widen_the_autocorrelation(box: Tensor) -> None:
    level = level_of(box)
    level[0, 0, 0] = 1
    assert autocorrelation_extent(level, 1e-6).tolist() == [2 * m - 1 for m in SIDES]


def test_the_blur_is_a_gaussian_of_its_sigma() -> None:
    """Second moments σ², sum kept, on an uneven shape."""
    point = torch.zeros(SHAPE, dtype=torch.float64)
    point[10, 12, 13] = 2.0
    smooth = blurred(point, 1.7)
    assert float(smooth.sum()) == pytest.approx(2)
    for axis, centre in enumerate((10, 12, 13)):
        profile = smooth.sum(tuple(other for other in range(3) if other != axis)).numpy()
        assert (profile * (np.arange(SHAPE[axis]) - centre) ** 2).sum() / 2 == pytest.approx(1.7**2, rel=1e-3)


def test_shrink_wrap_of_a_noisy_box_is_the_box(box: Tensor) -> None:
    noisy = box + 0.1 * torch.rand(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = shrunk_support(blurred(noisy, 0.7), 0.5)
    assert float((found.double() - box).abs().sum()) <= 0.15 * float(box.sum())


def test_a_joined_support_is_one_for_all_reflections_whatever_their_strength(box: Tensor) -> None:
    """Of equal weight, a weak reflection counts as much as a strong one; the union holds what either shows."""
    left, right = box.clone(), box.clone()
    left[:10], right[11:] = 0, 0
    smooth = torch.stack([1000 * left, right])[:, None]
    equal = torch.ones(2, 1, 1, 1, 1, dtype=torch.float64)
    union = joined_support(smooth, 0.6, "union", equal)
    assert torch.equal(union[0], union[1])
    assert torch.equal(union[0, 0], box > 0)
    assert torch.equal(joined_support(smooth, 0.6, "mean", equal)[1, 0], (left * right) > 0)
    equal[0] = 9.0
    assert torch.equal(joined_support(smooth, 0.6, "mean", equal)[1, 0], left > 0)
