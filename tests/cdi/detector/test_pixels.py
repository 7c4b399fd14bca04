"""Pixels that do not count: the same ones in every frame."""

import pytest
import torch

from cdi.detector.pixels import (
    Beamstop,
    DeadPixels,
    Gaps,
    HotPixels,
    Saturation,
    beside_beamstop,
    between_gaps,
    dead_pixels,
    hot_pixels,
    random_pixels,
    saturation,
)

COUNTS = torch.poisson(torch.full((2, 40, 30, 25), 20.0), generator=torch.Generator().manual_seed(0))


def test_gaps_cut_a_cross_between_modules() -> None:
    """Modules of 5 × 7 with gaps of 2 × 3: rows 5, 6, 12, 13 and columns 7, 8, 9, 17, 18, 19 are missing."""
    measured = between_gaps((15, 21), Gaps((5, 7), (2, 3)))
    assert measured.shape == (1, 15, 21)
    rows, columns = measured[0].any(1), measured[0].any(0)
    assert (~rows).nonzero().flatten().tolist() == [5, 6, 12, 13]
    assert (~columns).nonzero().flatten().tolist() == [7, 8, 9, 17, 18, 19]
    torch.testing.assert_close(measured[0], rows[:, None] & columns)


def test_a_window_sees_the_detector_from_its_first_pixel() -> None:
    whole = between_gaps((60, 70), Gaps((11, 13), (2, 3)))
    window = between_gaps((20, 17), Gaps((11, 13), (2, 3), first=(9, 31)))
    torch.testing.assert_close(window, whole[:, 9:29, 31:48])


def test_the_beamstop_is_a_disc_about_the_middle_pixel() -> None:
    """Radius 2 about (N // 2 + 1, N // 2 − 2) of an 8 × 9 window: 13 pixels."""
    shadow = ~beside_beamstop((8, 9), Beamstop(2.0, (1, -2)))[0]
    assert int(shadow.sum()) == 13
    assert shadow[5, 2]
    assert shadow[3, 2]
    assert shadow[5, 4]
    assert not shadow[4, 4]


def test_hot_pixels_count_in_every_frame_and_the_rest_is_untouched() -> None:
    generator = torch.Generator().manual_seed(1)
    hot = random_pixels(COUNTS, 0.1, generator)
    assert hot.shape == (2, 1, 30, 25)
    assert not torch.equal(hot[0], hot[1])
    assert abs(float(hot.double().mean()) - 0.1) < 5 * (0.09 / hot.numel()) ** 0.5
    extra = hot_pixels(COUNTS, hot, 50.0, generator) - COUNTS
    assert not extra[~hot.expand_as(extra)].any()
    added = extra[hot.expand_as(extra)].double()
    assert abs(float(added.mean()) - 50) < 5 * (50 / added.numel()) ** 0.5
    assert abs(float(added.var()) / 50 - 1) < 6 * (2 / added.numel()) ** 0.5


def test_dead_pixels_count_nothing_in_any_frame() -> None:
    dead = random_pixels(COUNTS, 0.2, torch.Generator().manual_seed(2))
    left = dead_pixels(COUNTS, dead)
    torch.testing.assert_close(left, torch.where(dead, 0.0, COUNTS))


def test_saturated_voxels_hold_the_level_and_leave_the_mask() -> None:
    counts, below = saturation(COUNTS, 24.0)
    assert counts.max() == 24
    torch.testing.assert_close(counts[below], COUNTS[below])
    torch.testing.assert_close(below, COUNTS < 24)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: Gaps((0, 5), (1, 1)), r"module must hold at least one pixel each way, got \(0, 5\)"),
        (lambda: Gaps((5, 5), (1, -1)), r"gap must not be negative, got \(1, -1\)"),
        (lambda: Gaps((5, 5), (1, 1), (-3, 0)), r"first must not be negative, got \(-3, 0\)"),
        (lambda: Beamstop(0.0), "radius_pixels must be positive and finite, got 0.0"),
        (lambda: HotPixels(1.2, 5.0), r"fraction must lie in \[0, 1\], got 1.2"),
        (lambda: HotPixels(0.2, 0.0), "counts must be positive and finite, got 0.0"),
        (lambda: DeadPixels(-0.1), r"fraction must lie in \[0, 1\], got -0.1"),
        (lambda: Saturation(float("inf")), "counts must be positive and finite, got inf"),
    ],
)
def test_impossible_pixels_are_refused(settings: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings()  # type: ignore[operator]
