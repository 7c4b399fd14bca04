"""Scores are best over twin and global phase together, and over nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cdi.ambiguity import inverted, twin
from training.metrics import (
    bootstrap,
    expected_calibration_error,
    f1,
    line_distances,
    match_lines,
    object_score,
)

LINE = np.array([[-4.0, 1.0, 2.0], [4.0, 1.0, 2.0]])


@pytest.fixture
def crystal() -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid off the centre with a vortex: unlike its own twin."""
    axes = [np.arange(n) - n // 2 for n in (12, 14, 16)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    support = (((x - 0.7) / 4) ** 2 + ((y + 0.4) / 5) ** 2 + (z / 6) ** 2 < 1) & (x + y < 5)
    return support.astype(np.float32), (np.arctan2(y - 1.3, x + 0.4) + 0.1 * z).astype(np.float32)


@given(offset=st.floats(-10, 10))
def test_a_global_phase_costs_nothing(offset: float) -> None:
    """The truth plus a constant phase scores perfectly."""
    support = np.zeros((8, 8, 8), np.float32)
    support[2:6, 3:6, 2:7] = 1
    phase = np.random.default_rng(0).uniform(-3, 3, support.shape).astype(np.float32)
    score = object_score(support, phase + offset, support, phase)
    assert score.dice == 1
    assert score.phase_error == pytest.approx(0, abs=1e-3)
    assert not score.twinned


def test_the_twin_is_as_good_as_the_truth(crystal: tuple[np.ndarray, np.ndarray]) -> None:
    """Predicting the conjugate inverted object scores perfectly, and says so."""
    support, phase = crystal
    mirrored = twin(torch.as_tensor(support * np.exp(1j * phase))).numpy()
    score = object_score(np.abs(mirrored).astype(np.float32), np.angle(mirrored), support, phase)
    assert score.twinned
    assert score.dice == 1
    assert score.phase_error == pytest.approx(0, abs=1e-5)


def test_support_and_phase_share_one_twin(crystal: tuple[np.ndarray, np.ndarray]) -> None:
    """Mirroring the support without the phase is an error, not an ambiguity."""
    support, phase = crystal
    half = object_score(inverted(torch.as_tensor(support)).numpy(), phase, support, phase)
    assert half.dice < 1


def test_conjugation_without_inversion_is_an_error(crystal: tuple[np.ndarray, np.ndarray]) -> None:
    """A vortex of the wrong sign in the right place scores badly."""
    support, phase = crystal
    assert object_score(support, -phase, support, phase).phase_error > 0.3


def test_parallel_lines_are_their_separation_apart() -> None:
    """Two parallel lines of equal extent lie at their distance, whatever their sense."""
    shifted = LINE[::-1] + np.array([0, 3, 4])
    assert line_distances([LINE], [shifted])[0, 0] == pytest.approx(5)


def test_a_short_piece_of_a_line_is_not_the_line() -> None:
    """The distance counts both ways: what is missing counts as well as what is wrong."""
    assert line_distances([LINE * [0.25, 1, 1]], [LINE])[0, 0] > 0.5


def test_lines_are_matched_one_to_one() -> None:
    """Two predictions of one line are one hit and one false line."""
    score = match_lines([LINE, LINE + 0.1], [LINE], twinned=False)
    assert score.hits(1.0) == 1
    assert f1([score], 1.0) == pytest.approx(2 / 3)


def test_a_twinned_crystal_has_its_lines_inverted() -> None:
    """The twin that the object chose is the one that its lines are compared with."""
    assert match_lines([-LINE], [LINE], twinned=True).hits(0.1) == 1
    assert match_lines([-LINE], [LINE], twinned=False).hits(0.1) == 0


def test_missed_and_false_lines_cost_f1() -> None:
    """One hit, one miss, one false line: F1 is a half."""
    far = LINE + 50
    scores = [match_lines([LINE], [LINE], twinned=False), match_lines([far], [LINE], twinned=False)]
    assert f1(scores, 2.0) == pytest.approx(0.5)


def test_honest_confidence_has_no_calibration_error() -> None:
    """Confidence equal to frequency gives 0, constant over-confidence its excess."""
    generator = np.random.default_rng(1)
    probability = generator.uniform(0, 1, 40_000)
    happened = generator.uniform(0, 1, 40_000) < probability
    assert expected_calibration_error(probability, happened) < 0.02
    assert expected_calibration_error(np.full(1000, 0.9), np.arange(1000) % 2 == 0) == pytest.approx(0.4)


def test_the_bootstrap_covers_the_standard_error() -> None:
    """The interval of a mean is 1.96 standard errors to each side."""
    values = np.random.default_rng(2).normal(size=400)
    interval = bootstrap(lambda i: float(values[i].mean()), 400, seed=3)
    assert interval.value == values.mean()
    half = 1.96 * values.std() / 20
    assert interval.high - interval.value == pytest.approx(half, rel=0.2)
    assert interval.value - interval.low == pytest.approx(half, rel=0.2)
