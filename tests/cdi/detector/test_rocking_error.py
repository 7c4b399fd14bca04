"""Frames at angles that were not asked for, and a beam that flickers."""

import pytest
import torch
from torch import Tensor

from cdi.detector.rocking import RockingError, beam_factors, beam_fluctuation, frame_positions, rocking_step_error


def pattern_at(frames: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """|F|² at fractional ``frames`` of sites within the central half of a field of view of ``shape`` voxels."""
    sites = torch.tensor([[-2, 1, 0], [1, -2, 1], [0, 2, -1], [2, 0, 1]], dtype=torch.float64)
    weights = torch.tensor([1.0, 0.7 + 0.4j, -0.5, 0.9j], dtype=torch.complex128)
    axes = [frames - shape[0] // 2, *(torch.arange(n, dtype=torch.float64) - n // 2 for n in shape[1:])]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) / torch.tensor(shape)
    return (weights * torch.exp(2j * torch.pi * (index @ sites.T))).sum(-1).abs().square()


@pytest.mark.parametrize("frames", [10, 11])
def test_a_frame_between_two_is_the_pattern_there(frames: int) -> None:
    """Oversampled by two, the pattern at any angle follows from the frames, for even and odd numbers of them."""
    shape = (frames, 6, 7)
    plan = torch.arange(frames, dtype=torch.float64)
    true = (plan + torch.linspace(-0.45, 0.4, frames, dtype=torch.float64).roll(3)).clamp(0, frames - 1)
    met = rocking_step_error(pattern_at(plan, shape), true)
    torch.testing.assert_close(met, pattern_at(true, shape), rtol=0, atol=1e-11)


def test_frames_at_their_place_stay_and_a_flat_background_stays_flat() -> None:
    pattern = 2 + torch.rand((5, 6, 7), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plan = torch.arange(5, dtype=torch.float64)
    torch.testing.assert_close(rocking_step_error(pattern, plan), pattern)
    flat = torch.full((5, 6, 7), 3.0, dtype=torch.float64)
    torch.testing.assert_close(rocking_step_error(flat, (plan * 0.83 + 0.2)), flat)


def test_positions_jitter_about_a_stretched_scan() -> None:
    """Frame N // 2 is the fixed point of the stretch; the rest has the jitter's mean 0 and deviation."""
    positions = frame_positions((4000,), 20, jitter=0.2, stretch=-0.1, generator=torch.Generator().manual_seed(1))
    nominal = 10 + (torch.arange(20, dtype=torch.float64) - 10) * 0.9
    error = positions - nominal
    assert error.mean(0).abs().max() < 5 * 0.2 / 4000**0.5
    assert (error.std(0) / 0.2 - 1).abs().max() < 0.06


def test_nothing_lies_beyond_the_scan() -> None:
    positions = frame_positions((50,), 9, jitter=0.5, stretch=0.3, generator=torch.Generator().manual_seed(2))
    assert positions.min() == 0
    assert positions.max() == 8


def test_the_beam_s_factors_have_mean_one_and_the_wanted_rms() -> None:
    factors = beam_factors((3000,), 7, rms=0.3, generator=torch.Generator().manual_seed(3))
    assert factors.min() > 0
    assert float(factors.mean()) == pytest.approx(1, abs=0.01)
    assert float(factors.std()) == pytest.approx(0.3, abs=0.01)
    frames = torch.rand((2, 7, 4, 5), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    lit = beam_fluctuation(frames, factors[:2])
    torch.testing.assert_close(lit[1, 5], frames[1, 5] * factors[1, 5])


def test_derivatives_with_respect_to_pattern_and_positions() -> None:
    pattern = 2 + torch.rand((2, 4, 3, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    positions = torch.tensor([[0.2, 1.1, 1.8, 2.9], [0.1, 0.9, 2.2, 2.7]], dtype=torch.float64)
    assert torch.autograd.gradcheck(rocking_step_error, [pattern.requires_grad_(), positions.requires_grad_()])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"jitter_steps": -0.1}, r"jitter_steps must lie in \[0, 1\], got -0.1"),
        ({"intensity_rms": 1.5}, r"intensity_rms must lie in \[0, 1\], got 1.5"),
        ({"stretch": 0.6}, r"stretch must lie in \[-0.5, 0.5\], got 0.6"),
    ],
)
def test_impossible_errors_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RockingError(**settings)
