"""Fringes of a brick seen with a known coherence: the length that they ask for bounds it from below, and closely."""

import numpy as np
import pytest

from cdi.pattern import Exposure
from training.fringe_visibility import coherence_length, fringe_visibility

SIDE = 40


def profile(oversampling: float, coherence: float) -> np.ndarray:
    """|F|² of a slab of extent 1 along one axis, blurred as its degree of coherence exp(−Δ²/2ξ²) asks."""
    step = 2 * np.pi / oversampling
    q = np.linspace(-SIDE / 2 * step, SIDE / 2 * step, 200 * SIDE + 1)
    kernel = np.exp(-((q * coherence) ** 2) / 2)
    blurred = np.convolve(np.sinc(q / 2 / np.pi) ** 2, kernel / kernel.sum(), "same")
    return np.interp((np.arange(SIDE) - SIDE // 2) * step, q, blurred)


def brick(oversampling: tuple[float, float, float], coherence: tuple[float, float, float]) -> np.ndarray:
    x, y, z = (profile(o, c) for o, c in zip(oversampling, coherence, strict=True))
    return np.random.default_rng(0).poisson(1e6 * x[:, None, None] * y[:, None] * z).astype(np.float32)


def test_each_axis_tells_its_own_coherence_from_below() -> None:
    """Three lengths and three samplings at once; the answer lies 0 to 25 % below the truth (in crystals)."""
    truth = (0.7, 1.2, 2.0)
    found = fringe_visibility(Exposure(brick((2.5, 4.0, 5.5), truth)))
    for visibility, length in zip(found.visibility, truth, strict=True):
        assert 0.75 * length < coherence_length(visibility, 1.0) <= 1.02 * length
    assert min(found.fringes) > 100


def test_a_coherent_brick_has_dark_minima_and_gaps_do_not_look_like_fringes() -> None:
    counts = brick((3.0, 3.0, 3.0), (100.0,) * 3)
    mask = np.ones(counts.shape, bool)
    mask[::9] = False
    assert min(fringe_visibility(Exposure(counts)).visibility) > 0.97
    assert fringe_visibility(Exposure(counts, None, mask)).visibility[2] > 0.97


def test_without_fringes_nothing_is_told() -> None:
    """A smooth peak has none, and faint ones are noise."""
    axes = np.meshgrid(*(np.arange(24) - 12,) * 3, indexing="ij")
    smooth = 1e5 * np.exp(-sum(a**2 for a in axes) / 8.0)
    assert np.isnan(fringe_visibility(Exposure(smooth.astype(np.float32))).visibility).all()
    faint = np.random.default_rng(1).poisson(np.full((16, 18, 20), 3.0)).astype(np.float32)
    assert np.isnan(fringe_visibility(Exposure(faint)).visibility).all()


@pytest.mark.parametrize(
    ("visibility", "length"), [(np.exp(-0.5), 3.0), (1.0, np.inf), (0.0, np.nan), (np.nan, np.nan)]
)
def test_the_length_is_that_of_a_gaussian(visibility: float, length: float) -> None:
    assert coherence_length(visibility, 3.0) == pytest.approx(length, nan_ok=True)
