"""A detector per sample: reproducible, within its ranges, each effect by itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cdi.config import read_config, read_object, to_dict, write_config
from cdi.detector.draw import SETTINGS, draw_detector
from cdi.detector.model import DetectorModel
from cdi.detector.pixels import between_gaps
from cdi.detector.ranges import (
    AlienRange,
    BackgroundRange,
    BeamstopRange,
    Chance,
    CoherenceRange,
    DeadRange,
    DetectorRanges,
    GapsRange,
    HotRange,
    PointSpreadRange,
    RockingRange,
    SaturationRange,
)

SHAPE = (32, 24, 40)
EXTENT = np.array([300.0, 500.0, 400.0])
ALL = DetectorRanges(
    coherence=CoherenceRange(forms=("gaussian", "exponential")),
    rocking=RockingRange(),
    point_spread=PointSpreadRange(),
    background=BackgroundRange(),
    alien=AlienRange(),
    hot=HotRange(),
    saturation=SaturationRange(),
    dead=DeadRange(),
    gaps=GapsRange(),
    beamstop=BeamstopRange(),
)


def drawn(ranges: DetectorRanges, seed: int) -> DetectorModel:
    return draw_detector(ranges, np.random.default_rng(seed), shape=SHAPE, extent=EXTENT, peak_counts=2e4)


def test_a_sample_s_detector_depends_on_its_seed_alone() -> None:
    """Drawn in any order, as workers would."""
    forward = [drawn(ALL, seed) for seed in range(8)]
    backward = [drawn(ALL, seed) for seed in reversed(range(8))]
    assert forward == backward[::-1]
    assert len({str(model) for model in forward}) == 8


@pytest.mark.parametrize("effect", list(SETTINGS))
def test_an_effect_leaves_the_others_of_a_sample_as_they_were(effect: str) -> None:
    for seed in range(5):
        without = drawn(replace(ALL, **{effect: None}), seed)
        assert getattr(without, effect) is None
        assert replace(drawn(ALL, seed), **{effect: None}) == without


def test_every_effect_of_the_model_can_be_drawn() -> None:
    model = drawn(ALL, 0)
    assert all(getattr(model, effect) is not None for effect in SETTINGS)
    assert drawn(DetectorRanges(), 0) == DetectorModel(peak_counts=model.peak_counts)


def test_settings_stay_within_their_ranges() -> None:
    """Coherence in units of the crystal along each axis, saturation in units of the peak."""
    for seed in range(60):
        model = drawn(ALL, seed)
        assert model.peak_counts == 2e4
        assert model.coherence is not None
        ratio = np.asarray(model.coherence.lengths_A) / EXTENT
        assert ((ratio >= 0.7) & (ratio <= 5)).all()
        assert model.point_spread is not None
        assert 0.1 <= model.point_spread.sigma_pixels <= 0.5
        assert model.alien is not None
        assert 1 <= model.alien.spots <= 3
        assert model.saturation is not None
        assert 0.1 <= model.saturation.counts / model.peak_counts <= 1.01


def test_decades_are_drawn_alike() -> None:
    """The logarithm of the flat background is uniform: its mean and variance are those of the interval."""
    ranges = DetectorRanges(background=BackgroundRange())
    logs = np.log([model.background.flat for seed in range(2000) if (model := drawn(ranges, seed)).background])
    low, high = np.log([1e-3, 0.3])
    deviation = (high - low) / np.sqrt(12)
    assert abs(logs.mean() - (low + high) / 2) < 5 * deviation / np.sqrt(2000)
    assert abs(logs.std() / deviation - 1) < 0.06


def test_an_effect_occurs_with_its_probability() -> None:
    ranges = DetectorRanges(dead=DeadRange(0.3), beamstop=BeamstopRange(0.0))
    models = [drawn(ranges, seed) for seed in range(1000)]
    share = np.mean([model.dead is not None for model in models])
    assert abs(share - 0.3) < 5 * np.sqrt(0.21 / 1000)
    assert all(model.beamstop is None for model in models)


def test_a_gap_crosses_the_window_and_spares_the_peak() -> None:
    for seed in range(60):
        gaps = drawn(ALL, seed).gaps
        assert gaps is not None
        measured = between_gaps(SHAPE[1:], gaps)[0]
        assert measured[SHAPE[1] // 2, SHAPE[2] // 2]
        assert not measured.all()


def test_a_drawn_detector_exposes_a_pattern() -> None:
    pattern = torch.as_tensor(np.random.default_rng(1).exponential(1.0, (2, *SHAPE)))
    voxel = torch.eye(3, dtype=torch.float64) * 25
    for seed in range(5):
        counts, mask = drawn(ALL, seed).detect(pattern, torch.Generator().manual_seed(seed), voxel)
        assert counts.isfinite().all()
        assert counts.min() >= 0
        assert 0.3 < mask.float().mean() < 1


@pytest.mark.parametrize("ranges", [DetectorRanges(), ALL])
def test_the_distribution_reads_back(ranges: DetectorRanges, tmp_path: Path) -> None:
    write_config(ranges, tmp_path / "ranges.yaml")
    assert read_config(DetectorRanges, tmp_path / "ranges.yaml") == ranges
    assert read_object(DetectorRanges, to_dict(ranges), origin="test") == ranges


def test_an_empty_entry_switches_an_effect_on_with_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "ranges.yaml").write_text("gaps: {}\nhot: {probability: 0.5}\n")
    ranges = read_config(DetectorRanges, tmp_path / "ranges.yaml")
    assert ranges == DetectorRanges(gaps=GapsRange(), hot=HotRange(0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: Chance(1.5), r"probability must lie in \[0, 1\], got 1.5"),
        (lambda: CoherenceRange(lengths=(2.0, 1.0)), r"lengths must be a range low ≤ high within \[0.001, 1e\+06\]"),
        (lambda: CoherenceRange(forms=()), "forms must hold at least one entry"),
        (lambda: CoherenceRange(forms=("box",)), "form must be one of gaussian, exponential, got 'box'"),
        (lambda: RockingRange(jitter_steps=(0.0, 2.0)), r"jitter_steps must be a range low ≤ high within \[0, 1\]"),
        (lambda: RockingRange(intensity_rms=(-0.1, 0.2)), r"intensity_rms must be a range low ≤ high within \[0, 1\]"),
        (lambda: RockingRange(stretch=(0.0, 0.7)), r"stretch must be a range low ≤ high within \[0, 0.5\]"),
        (lambda: PointSpreadRange(sigma_pixels=(0.0, 1.0)), "sigma_pixels must be a range low ≤ high within"),
        (lambda: BackgroundRange(flat=(0.0, 1.0)), "flat must be a range low ≤ high within"),
        (lambda: BackgroundRange(air=(1.0, 0.1)), "air must be a range low ≤ high within"),
        (lambda: BackgroundRange(air_length_pixels=(0.0, 1.0)), "air_length_pixels must be a range low ≤ high within"),
        (lambda: BackgroundRange(tilt=2.0), r"tilt must lie in \[0, 1\], got 2.0"),
        (lambda: AlienRange(spots=(0, 2)), r"spots must be a range low ≤ high within \[1, 1000\]"),
        (lambda: AlienRange(relative_peak=(0.0, 1.0)), "relative_peak must be a range low ≤ high within"),
        (lambda: AlienRange(width_pixels=(0.0, 1.0)), "width_pixels must be a range low ≤ high within"),
        (lambda: AlienRange(width_frames=(0.0, 1.0)), "width_frames must be a range low ≤ high within"),
        (lambda: AlienRange(elongation=(0.5, 1.0)), r"elongation must be a range low ≤ high within \[1, inf\]"),
        (lambda: HotRange(fraction=(0.1, 1.1)), "fraction must be a range low ≤ high within"),
        (lambda: HotRange(counts=(0.0, 1.0)), "counts must be a range low ≤ high within"),
        (lambda: HotRange(masked_probability=-1.0), r"masked_probability must lie in \[0, 1\], got -1.0"),
        (lambda: DeadRange(fraction=(0.0, 0.1)), "fraction must be a range low ≤ high within"),
        (lambda: DeadRange(masked_probability=2.0), r"masked_probability must lie in \[0, 1\], got 2.0"),
        (lambda: SaturationRange(relative=(0.0, 0.1)), "relative must be a range low ≤ high within"),
        (lambda: SaturationRange(masked_probability=2.0), r"masked_probability must lie in \[0, 1\], got 2.0"),
        (lambda: GapsRange(detectors=()), "detectors must hold at least one entry"),
        (lambda: GapsRange(detectors=("timepix",)), "detectors must all have gaps, got 'timepix'"),
        (lambda: BeamstopRange(radius_pixels=(0.0, 1.0)), "radius_pixels must be a range low ≤ high within"),
    ],
)
def test_an_impossible_distribution_is_refused(settings: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings()  # type: ignore[operator]


@pytest.mark.parametrize("extent", [[1.0, 2.0], [1.0, 0.0, 2.0]])
def test_the_crystal_has_an_extent(extent: list[float]) -> None:
    with pytest.raises(ValueError, match="extent must be three positive numbers in Å, got"):
        draw_detector(ALL, np.random.default_rng(0), shape=SHAPE, extent=extent, peak_counts=1e4)
