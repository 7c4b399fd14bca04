"""What a pattern is worth: numbers of made patterns, each fault told, and nothing told of a sound one."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from cdi.grid import QGrid
from cdi.pattern import Exposure
from training.prediction_quality import familiarity, pattern_quality, quality_text

SHAPE = (40, 36, 44)
SIZES = (400.0, 500.0, 450.0)


def sound(sampling: tuple[float, float, float] = (3.0, 4.0, 3.5), background: float = 0.1) -> Exposure:
    """A brick of ``SIZES`` Å, coherent, oversampled ``sampling`` times."""
    grid = QGrid.orthogonal(np.array([2.0, 1, 0]), SIZES, np.array(sampling).clip(2), SHAPE)
    axes = np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij")
    intensity = 2e5 * np.prod([np.sinc(a / s) ** 2 for a, s in zip(axes, sampling, strict=True)], axis=0)
    return Exposure(np.random.default_rng(0).poisson(intensity + background).astype(np.float32), grid)


def test_a_sound_pattern_has_its_numbers_and_no_problem() -> None:
    """Sampling and size from the autocorrelation alone are good to a fifth."""
    quality = pattern_quality("a", sound())
    np.testing.assert_allclose(quality.oversampling, (3.0, 4.0, 3.5), rtol=0.22)
    assert quality.extent_A == pytest.approx(SIZES, rel=0.22)
    assert quality.background == pytest.approx(0.1, abs=0.05)
    assert quality.brightest == sound().counts.max()
    assert (quality.usable, quality.saturated) == (1.0, 0)
    assert min(quality.visibility) > 0.9
    assert quality.problems == ()
    text = "\n".join(quality_text([quality], ()))
    assert "quality      a: 40 × 36 × 44 voxels, 100.0 % usable" in text
    assert "problem" not in text


def _saturated(exposure: Exposure) -> Exposure:
    return replace(exposure, counts=np.minimum(exposure.counts, 50_000))


def _at_the_edge(exposure: Exposure) -> Exposure:
    return Exposure(np.roll(exposure.counts, SHAPE[0] // 2, 0), exposure.grid)


def _gaps(exposure: Exposure) -> Exposure:
    mask = np.ones(SHAPE, bool)
    mask[:, :8] = False
    return Exposure(exposure.counts, exposure.grid, mask)


def _hidden(exposure: Exposure) -> Exposure:
    mask = np.ones(SHAPE, bool)
    mask[18:23, 15:22, 19:26] = False
    return Exposure(exposure.counts, exposure.grid, mask)


def _bright(exposure: Exposure) -> Exposure:
    return replace(exposure, counts=exposure.counts + 5000)


def _blurred(exposure: Exposure) -> Exposure:
    from scipy.ndimage import gaussian_filter

    return replace(exposure, counts=gaussian_filter(exposure.counts, (0.8, 0, 0)))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_saturated, "voxels share the largest count 50000: saturated?"),
        (_at_the_edge, "the pattern reaches the edge of the volume at"),
        (_gaps, "22 % of the voxels are unusable"),
        (_hidden, "the mask hides the Bragg peak: no measured voxel around the centroid at (20, 18, 22)"),
        (_bright, "background is 2.4 % of the brightest voxel"),
        (_blurred, "fringes are washed out, as with a coherence shorter than the crystal (frames 0."),
        (lambda e: sound((1.5, 4.0, 3.5)), "oversampling must be at least 2, got frames 1."),
    ],
)
def test_each_fault_is_told(spoil: object, says: str) -> None:
    quality = pattern_quality("a", spoil(sound()))  # type: ignore[operator]
    assert any(says in problem for problem in quality.problems), quality.problems
    assert any(says in line for line in quality_text([quality], ()))


def test_without_geometry_lengths_are_in_crystals_and_plain_numbers_are_json() -> None:
    quality = pattern_quality("a", Exposure(sound().counts))
    assert quality.extent_A is None
    plain = quality.to_json()
    assert plain["extent_A"] is None
    assert plain["shape"] == list(SHAPE)
    assert plain["problems"] == []
    assert all(value is None or value > 0 for value in plain["coherence_A"])


def test_what_the_network_was_not_trained_on_is_told() -> None:
    recipe = {
        "oversampling": [2.2, 4.4],
        "peak_counts": [300, 1e4],
        "diameter_A": [100, 3000],
        "elements": ["Al", "Cu"],
    }
    training = {"config": {"recipe": recipe}}
    quality = [pattern_quality("a", sound())]
    found = {entry.what: entry for entry in familiarity(quality, [sound()], training, "Au")}
    assert [entry.within for entry in found.values()] == [True, False, True, False]
    assert found["material"].trained == "Al Cu"
    assert json.loads(json.dumps([asdict(entry) for entry in found.values()]))[1]["within"] is False
    assert familiarity(quality, [sound()], {}, "Au") == ()
    text = list(quality_text(quality, tuple(found.values())))
    assert text[-1] == "unfamiliar   material: Au, trained on Al Cu"
