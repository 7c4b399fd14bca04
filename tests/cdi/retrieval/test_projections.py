"""The projections of phase retrieval: fixed points, idempotence, what they leave free."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from cdi.fourier import amplitude_from_object, origin_to_centre, origin_to_corner
from cdi.retrieval.projections import (
    corner_amplitude,
    corner_object,
    outside_weights,
    project_modulus_,
    squared_modulus,
    update_,
)
from cdi.retrieval.schedule import ALGORITHMS

SHAPE = (5, 6, 7)
VOXELS = 5 * 6 * 7


def volume(seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.normal(size=(2, *SHAPE)) + 1j * rng.normal(size=(2, *SHAPE)))


def projected(density: Tensor, root: Tensor, loose: Tensor) -> Tensor:
    """P x."""
    amplitude = corner_amplitude(density)
    return corner_object(project_modulus_(amplitude, root, loose, squared_modulus(amplitude))) / VOXELS


def iterated(density: Tensor, root: Tensor, support: Tensor, algorithm: str, beta: float) -> Tensor:
    image = VOXELS * projected(density, root, torch.zeros_like(root))
    return update_(density.clone(), image, outside_weights(algorithm, beta, support))


@pytest.fixture
def support() -> Tensor:
    inside = torch.zeros(2, *SHAPE, dtype=torch.float64)
    inside[:, 1:3, 2:5, 0:3] = 1
    return inside


def test_the_corner_transforms_are_the_centred_ones_without_their_shifts() -> None:
    """Same sign as F(Q) = Σ exp(+iQ·r), and N times an inverse."""
    density = volume(0)
    torch.testing.assert_close(
        origin_to_centre(corner_amplitude(origin_to_corner(density))), amplitude_from_object(density)
    )
    torch.testing.assert_close(corner_object(corner_amplitude(density)), density * VOXELS)


def test_the_modulus_projection_is_idempotent_and_gives_the_modulus() -> None:
    root, nowhere = volume(1).abs(), torch.zeros(2, *SHAPE, dtype=torch.float64)
    once = projected(volume(2), root, nowhere)
    torch.testing.assert_close(corner_amplitude(once).abs(), root)
    torch.testing.assert_close(projected(once, root, nowhere), once)


def test_the_modulus_projection_leaves_phases_and_unmeasured_voxels_alone() -> None:
    density = volume(3)
    loose = torch.as_tensor(np.random.default_rng(4).random((2, *SHAPE)) < 0.3).double()
    before = corner_amplitude(density)
    after = corner_amplitude(projected(density, 2 * before.abs() * (1 - loose), loose))
    torch.testing.assert_close(after, before * torch.where(loose > 0, 1.0, 2.0))


def test_a_dark_model_and_a_dark_measurement_stay_finite() -> None:
    """Neither zero photons nor a zero amplitude makes a NaN."""
    zero = torch.zeros(2, *SHAPE, dtype=torch.float64)
    assert torch.equal(projected(zero.to(torch.complex128), zero + 1, zero), zero.to(torch.complex128))
    torch.testing.assert_close(projected(volume(5), zero, zero), zero.to(torch.complex128))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_true_density_is_a_fixed_point_of_every_algorithm(algorithm: str, support: Tensor) -> None:
    truth = volume(6) * support
    found = iterated(truth, corner_amplitude(truth).abs(), support, algorithm, 0.8)
    torch.testing.assert_close(found, truth)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_takes_the_projection_inside_the_support(algorithm: str, support: Tensor) -> None:
    density, root = volume(7), volume(8).abs()
    found = iterated(density, root, support, algorithm, 0.8)
    image = projected(density, root, torch.zeros_like(root))
    torch.testing.assert_close(found * support, image * support)
    assert not torch.allclose(image * (1 - support), torch.zeros_like(image))


def test_raar_is_the_average_of_reflections_and_projection(support: Tensor) -> None:
    """β/2 (R_S R_M + 1) x + (1 − β) P x with R = 2 P − 1, as Luke (2005) writes it."""
    beta, density, root = 0.8, volume(9), volume(10).abs()
    image = projected(density, root, torch.zeros_like(root))
    reflected = 2 * image - density
    expected = beta / 2 * (2 * reflected * support - reflected + density) + (1 - beta) * image
    torch.testing.assert_close(iterated(density, root, support, "RAAR", beta), expected)


def test_hio_at_beta_one_is_the_difference_map(support: Tensor) -> None:
    """x + P_S(2 P − 1) x − P x (Elser, J. Opt. Soc. Am. A 20, 40, 2003)."""
    density, root = volume(11), volume(12).abs()
    image = projected(density, root, torch.zeros_like(root))
    expected = density + (2 * image - density) * support - image
    torch.testing.assert_close(iterated(density, root, support, "HIO", 1.0), expected)


def test_error_reduction_never_raises_the_misfit(support: Tensor) -> None:
    """Fienup (1982): the distance to the moduli falls at every step."""
    density, root = volume(13) * support, corner_amplitude(volume(14) * support).abs()
    misfits = []
    for _ in range(8):
        misfits.append(float((corner_amplitude(density).abs() - root).square().sum()))
        density = iterated(density, root, support, "ER", 0.0)
    assert all(after <= before for before, after in pairwise(misfits))
    assert misfits[-1] < 0.9 * misfits[0]
