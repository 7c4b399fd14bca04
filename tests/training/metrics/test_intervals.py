"""Bootstraps resample crystals, whole, and the same ones for both sides of a difference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics import bootstrap
from training.metrics.intervals import Median, Ratio, difference, interval, mean, resamples, share


def test_the_bootstrap_covers_the_standard_error() -> None:
    """The interval of a mean is 1.96 standard errors to each side, by weights and one by one."""
    values = np.random.default_rng(2).normal(size=400)
    by_weights = interval(mean(values), resamples(400, seed=3))
    one_by_one = bootstrap(lambda i: float(values[i].mean()), 400, seed=3)
    for each in (by_weights, one_by_one):
        assert each.value == pytest.approx(values.mean())
        assert each.crystals == 400
        half = 1.96 * values.std() / 20
        assert each.high - each.value == pytest.approx(half, rel=0.2)
        assert each.value - each.low == pytest.approx(half, rel=0.2)


def test_resamples_draw_as_many_crystals_with_replacement() -> None:
    """Each row sums to the number of crystals, a third of them is missing (1/e), and a seed repeats it."""
    weights = resamples(200, seed=1, number=300)
    assert (weights.sum(1) == 200).all()
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=0.01)
    np.testing.assert_array_equal(weights, resamples(200, seed=1, number=300))
    assert (weights != resamples(200, seed=2, number=300)).any()


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), crystals=st.integers(1, 9))
def test_a_weighted_median_is_that_of_the_repeated_values(seed: int, crystals: int) -> None:
    """Numpy's on explicit repetition, the mean of the two in the middle of an even number."""
    generator = np.random.default_rng(seed)
    owner = np.sort(generator.integers(0, crystals, 11))
    values, weights = generator.integers(0, 6, 11).astype(float), generator.integers(0, 4, (5, crystals)).astype(float)
    got = Median(values, owner, np.ones(crystals, bool))(weights)
    for row, told in zip(weights, got, strict=True):
        repeated = np.repeat(values, row[owner].astype(int))
        assert told == pytest.approx(np.median(repeated) if len(repeated) else np.nan, nan_ok=True)


def test_a_ratio_is_of_sums_and_not_a_mean_of_ratios() -> None:
    """(1 + 3) / (2 + 3), its root where asked, NaN where nothing counts."""
    ratio = Ratio(np.array([1.0, 3, 9]), np.array([2.0, 3, 1]), np.ones(3, bool))
    weights = np.array([[1.0, 1, 0], [0, 0, 2], [0, 0, 0]])
    np.testing.assert_allclose(ratio(weights), [0.8, 9, np.nan])
    rooted = Ratio(ratio.numerator, ratio.denominator, ratio.defined, root=True)
    np.testing.assert_allclose(rooted(weights), [0.8**0.5, 3, np.nan])
    np.testing.assert_allclose(share(np.array([1.0, 2]), np.array([0.0, 4])), [np.nan, 0.5])


def test_what_is_not_told_is_left_out() -> None:
    """NaN crystals add nothing, and are not counted."""
    told = interval(mean(np.array([1.0, np.nan, 3.0])), resamples(3, number=50))
    assert (told.value, told.crystals) == (2.0, 2)
    nothing = interval(mean(np.full(4, np.nan)), resamples(4, number=50))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    assert nothing.crystals == 0


def test_a_difference_is_paired() -> None:
    """Two methods that differ by the same everywhere differ without doubt, however much crystals vary."""
    values = np.random.default_rng(0).normal(0, 10, 60)
    told = difference(mean(values + 0.5), mean(values), resamples(60))
    assert (told.value, told.low, told.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_difference_is_taken_where_both_tell() -> None:
    """Crystals that one method leaves out are left out of the other."""
    told = difference(mean(np.array([1.0, 5, np.nan])), mean(np.array([0.0, np.nan, 7])), resamples(3, number=100))
    assert (told.value, told.crystals) == (1, 1)


def test_an_interval_prints_itself() -> None:
    assert str(interval(mean(np.ones(3)), resamples(3, number=9))) == "1.000 [1.000, 1.000]"
