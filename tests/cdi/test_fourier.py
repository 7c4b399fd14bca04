"""The centred transform: identities on uneven shapes, and the sign."""

import numpy as np
import pytest
import torch

from cdi.fourier import (
    amplitude_from_object,
    centre_crop,
    centre_pad,
    half_modes,
    inverse_real_transform,
    object_from_amplitude,
    real_transform,
)
from cdi.grid import QGrid

SHAPES = [(5, 6, 7), (8, 3, 4), (1, 2, 9)]


def volume(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.normal(size=shape) + 1j * rng.normal(size=shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_two_transforms_are_inverses(shape: tuple[int, int, int]) -> None:
    density = volume((2, *shape))
    torch.testing.assert_close(object_from_amplitude(amplitude_from_object(density)), density)
    torch.testing.assert_close(amplitude_from_object(object_from_amplitude(density)), density)


@pytest.mark.parametrize("shape", SHAPES)
def test_parseval(shape: tuple[int, int, int]) -> None:
    """Σ|F|² = N Σ|ρ|²."""
    density = volume(shape)
    power = amplitude_from_object(density).abs().square().sum()
    torch.testing.assert_close(power, density.abs().square().sum() * np.prod(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_adjoint_is_n_times_the_inverse(shape: tuple[int, int, int]) -> None:
    """⟨F ρ, A⟩ = N ⟨ρ, F⁻¹ A⟩."""
    density, amplitude = volume(shape, 1), volume(shape, 2)
    left = (amplitude_from_object(density).conj() * amplitude).sum()
    right = (density.conj() * object_from_amplitude(amplitude)).sum() * np.prod(shape)
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize(("small", "large"), [((3, 4, 2), (5, 6, 7)), ((2, 3, 5), (5, 6, 5)), ((5, 6, 7), (5, 6, 7))])
def test_cropping_and_padding_are_adjoint(small: tuple[int, int, int], large: tuple[int, int, int]) -> None:
    """⟨pad a, b⟩ = ⟨a, crop b⟩, and crop after pad changes nothing."""
    a, b = volume((2, *small), 3), volume((2, *large), 4)
    torch.testing.assert_close((centre_pad(a, large).conj() * b).sum(), (a.conj() * centre_crop(b, small)).sum())
    torch.testing.assert_close(centre_crop(centre_pad(a, large), small), a)


def test_cropping_keeps_the_origin_at_half_the_size() -> None:
    """The voxel N // 2 of the whole is the voxel n // 2 of the part, for odd and even sizes."""
    whole = torch.zeros(5, 6, 7)
    whole[2, 3, 3] = 1
    for part in ((3, 4, 2), (2, 3, 5)):
        assert centre_crop(whole, part)[part[0] // 2, part[1] // 2, part[2] // 2] == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shifted_delta_gives_exp_of_plus_i_q_r(shape: tuple[int, int, int]) -> None:
    """A point at r = n · voxel scatters exp(+iq·r) at q = m · step, on a sheared grid."""
    step = 0.02 * (np.eye(3) + np.array([[0, 0.3, 0], [0.1, 0, -0.2], [0, 0.15, 0]]))
    grid = QGrid(np.zeros(3), step, shape)
    index = np.array([n - 1 for n in shape])
    density = torch.zeros(shape, dtype=torch.complex128)
    density[tuple(index)] = 1
    r = (index - np.asarray(shape) // 2) @ grid.voxel
    expected = np.exp(1j * np.stack(grid.axes(), -1) @ r)
    np.testing.assert_allclose(amplitude_from_object(density).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_real_volume_needs_half_of_its_modes(shape: tuple[int, int, int]) -> None:
    """The half spectrum holds Σ ρ(n) exp(−2πi m·n/N) on ``half_modes``, and gives the volume back."""
    real = volume((2, *shape)).real
    spectrum = real_transform(real)
    x, y, z = half_modes(shape, real)
    turns = [mode[:, None] * torch.arange(n) / n for mode, n in zip((x, y, z), shape, strict=True)]
    waves = [torch.exp(-2j * torch.pi * turn) for turn in turns]
    expected = torch.einsum("ai,bj,ck,nijk->nabc", *waves, real.to(torch.complex128))
    torch.testing.assert_close(spectrum, expected)
    torch.testing.assert_close(inverse_real_transform(spectrum, shape), real)
