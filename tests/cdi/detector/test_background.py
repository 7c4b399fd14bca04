"""Photons that do not come from the crystal."""

import math

import pytest
import torch

from cdi.detector.background import Alien, Background, air_scatter, alien, background, random_alien

LIKE = torch.zeros((5, 7, 9), dtype=torch.float64)


def test_a_tilted_background_keeps_its_mean() -> None:
    """Flat in the middle, 1 ± both tilts in opposite corners, the same in every frame."""
    photons = background((7, 9), 4.0, (0.5, -0.25), LIKE)
    assert photons.shape == (1, 7, 9)
    assert float(photons[0, 3, 4]) == pytest.approx(4)
    assert float(photons[0, 6, 0]) == pytest.approx(4 * 1.75)
    assert float(photons[0, 0, 8]) == pytest.approx(4 * 0.25)
    assert float(photons.mean()) == pytest.approx(4)


def test_air_scatter_falls_by_e_along_its_direction_alone() -> None:
    photons = air_scatter((7, 9), 2.0, length=3.0, direction=math.radians(90), like=LIKE)
    assert float(photons[0, 3, 4]) == pytest.approx(2)
    torch.testing.assert_close(photons[0, :, 7], photons[0, :, 4] / math.e)
    torch.testing.assert_close(photons[0, 0], photons[0, 6])


def test_a_streak_has_its_widths_along_its_axis_and_the_scan() -> None:
    """Second moments about the centre are those of the turned Gaussian."""
    shape, angle = (41, 61, 67), 0.6
    centre = torch.tensor([[19.3, 31.2, 30.6]], dtype=torch.float64)
    widths = torch.tensor([[2.0, 6.0, 1.5]], dtype=torch.float64)
    spot = alien(shape, centre, widths, torch.tensor([angle]), torch.tensor([3.0]))
    f, r, c = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in shape), indexing="ij")
    offsets = torch.stack([f, r, c], -1) - centre[0]
    weight = spot / spot.sum()
    torch.testing.assert_close((offsets * weight[..., None]).sum((0, 1, 2)), torch.zeros(3).double(), rtol=0, atol=1e-3)
    long, short = math.cos(angle) * r + math.sin(angle) * c, math.cos(angle) * c - math.sin(angle) * r
    for coordinate, width in ((f, 2.0), (long, 6.0), (short, 1.5)):
        mean = (coordinate * weight).sum()
        assert float(((coordinate - mean) ** 2 * weight).sum()) == pytest.approx(width**2, rel=2e-3)
    assert float(spot.sum()) == pytest.approx(3 * (2 * math.pi) ** 1.5 * 2 * 6 * 1.5, rel=1e-3)


def test_stray_spots_are_as_bright_as_asked_and_elsewhere_in_each_pattern() -> None:
    patterns = torch.zeros((2, 21, 23, 25), dtype=torch.float64)
    patterns[:, 10, 11, 12] = torch.tensor([100.0, 1000.0], dtype=torch.float64)
    settings = Alien(spots=1, relative_peak=0.1, width_pixels=4.0, width_frames=4.0)
    spots = random_alien(patterns, settings, torch.Generator().manual_seed(1))
    assert spots.shape == patterns.shape
    peaks = spots.amax((1, 2, 3))
    # A centre lies within half a voxel of its brightest one.
    assert ((peaks > torch.tensor([9.7, 97.0])) & (peaks <= torch.tensor([10.0, 100.0]))).all()
    assert spots[0].argmax() != spots[1].argmax()


def test_derivatives_of_background_and_stray_spots() -> None:
    level = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda flat: background((3, 4), flat, (0.2, 0.1), LIKE), [level])
    assert torch.autograd.gradcheck(lambda air: air_scatter((3, 4), air, length=5.0, direction=0.3, like=LIKE), [level])
    inputs = [
        torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for value in ([[1.2, 1.9, 1.4]], [[0.9, 2.0, 0.7]], [0.4], [3.0])
    ]
    assert torch.autograd.gradcheck(lambda *tensors: alien((3, 4, 3), *tensors), inputs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flat": -1.0}, r"flat must lie in \[0, inf\], got -1.0"),
        ({"air": math.inf}, r"air must lie in \[0, inf\], got inf"),
        ({"tilt": (0.7, -0.5)}, r"tilt must add up to at most 1 in modulus, got \(0.7, -0.5\)"),
        ({"air_length_pixels": 0.0}, "air_length_pixels must be positive and finite, got 0.0"),
        ({"air_direction_deg": 400.0}, r"air_direction_deg must lie in \[-360, 360\], got 400.0"),
    ],
)
def test_an_impossible_background_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Background(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spots": 0}, "spots must be at least 1, got 0"),
        ({"relative_peak": 0.0}, "relative_peak must be positive and finite, got 0.0"),
        ({"width_pixels": -1.0}, "width_pixels must be positive and finite, got -1.0"),
        ({"width_frames": math.nan}, "width_frames must be positive and finite, got nan"),
        ({"elongation": 0.5}, r"elongation must lie in \[1, inf\], got 0.5"),
    ],
)
def test_impossible_stray_spots_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Alien(**settings)  # type: ignore[arg-type]
