"""Confidences are graded by what happens at them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from training.metrics import expected_calibration_error
from training.metrics.confidence import CalibrationError, RiskArea, Separation, reliability, risk_coverage

ONE = np.ones((1, 7))
EVERY = np.ones(7, bool)


def test_honest_confidence_has_no_calibration_error() -> None:
    """Confidence equal to frequency gives 0, constant over-confidence its excess."""
    generator = np.random.default_rng(1)
    probability = generator.uniform(0, 1, 40_000)
    happened = generator.uniform(0, 1, 40_000) < probability
    assert expected_calibration_error(probability, happened) < 0.02
    assert expected_calibration_error(np.full(1000, 0.9), np.arange(1000) % 2 == 0) == pytest.approx(0.4)
    assert np.isnan(expected_calibration_error(np.empty(0), np.empty(0, bool)))


def test_a_reliability_curve_by_hand() -> None:
    """Seven answers in three of ten bins; 1.0 belongs to the last."""
    confidence = np.array([0.11, 0.15, 0.62, 0.66, 0.64, 0.93, 1.0])
    right = np.array([0, 1, 1, 1, 0, 1, 1], bool)
    curve = reliability(confidence, right)
    np.testing.assert_array_equal(curve.number, [0, 2, 0, 0, 0, 0, 3, 0, 0, 2])
    np.testing.assert_allclose(curve.confidence[[1, 6, 9]], [0.13, 0.64, 0.965])
    np.testing.assert_allclose(curve.frequency[[1, 6, 9]], [1 / 2, 2 / 3, 1])
    assert np.isnan(curve.frequency[0])
    by_hand = (2 * 0.37 + 3 * (2 / 3 - 0.64) + 2 * 0.035) / 7
    assert curve.error == pytest.approx(by_hand)
    of_items = CalibrationError(confidence, right, np.array([0, 0, 0, 1, 1, 1, 2]), np.ones(3, bool))
    assert of_items(np.ones((1, 3))) == pytest.approx([by_hand])


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(2, 12))
def test_separation_is_the_area_under_the_roc_curve(seed: int, levels: int) -> None:
    """As scikit-learn counts it, ties and weights included."""
    generator = np.random.default_rng(seed)
    score, weights = generator.integers(0, levels, 30) / levels, generator.integers(0, 3, 30).astype(float)
    positive = generator.random(30) < 0.4
    positive[:2], weights[:2] = [True, False], 1
    defined = generator.random(30) < 0.8
    defined[:2] = True
    got = Separation(score, positive, defined)(weights[None])
    assert got == pytest.approx([roc_auc_score(positive[defined], score[defined], sample_weight=weights[defined])])


def test_separation_needs_both_kinds() -> None:
    """All right: there is nothing to tell apart."""
    assert np.isnan(Separation(np.arange(7.0), EVERY, EVERY)(ONE)).all()
    assert np.isnan(Separation(np.arange(7.0), EVERY, ~EVERY)(ONE)).all()


def test_risk_falls_as_doubtful_answers_are_left_out() -> None:
    """By hand: the surest first, equals together."""
    confidence = np.array([0.9, 0.8, 0.8, 0.5, 0.4, 0.4, 0.1])
    right = np.array([1, 1, 0, 1, 0, 1, 0], bool)
    curve = risk_coverage(confidence, right)
    np.testing.assert_allclose(curve.coverage, np.array([1, 3, 4, 6, 7]) / 7)
    np.testing.assert_allclose(curve.risk, [0, 1 / 3, 1 / 4, 2 / 6, 3 / 7])
    area = (1 * 0 + 2 / 3 + 1 / 4 + 2 * 2 / 6 + 3 / 7) / 7
    assert RiskArea(confidence, right, EVERY)(ONE) == pytest.approx([area])
    # Worthless confidence: the error rate at any coverage.
    assert RiskArea(np.ones(7), right, EVERY)(ONE) == pytest.approx([3 / 7])
