"""A version takes over only where it is better on held-out frames and not worse on the frozen set."""

import numpy as np
import pytest

from inference_insitu.transit.learning.config import LearningConfig, ReservoirConfig, RuleConfig
from inference_insitu.transit.learning.judgement import compared, regressed, verdict

RULE = RuleConfig(least=10, worse_by=0.02, resamples=500)


def pairs(shift, *, frames=60, spread=0.1, per_group=1, seed=0):
    generator = np.random.default_rng(seed)
    old = generator.uniform(0, 1, frames)
    new = old + shift + generator.normal(0, spread, frames)
    return compared(old, new, [f"{n // per_group}" for n in range(frames)], RULE)


def test_the_interval_is_that_of_a_paired_mean():
    """Against ± 1.96 σ/√n of the differences."""
    found = pairs(0.05, frames=400)
    assert found.low < found.new - found.old < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(400), rel=0.15)


def test_frames_of_one_crystal_do_not_count_as_many():
    """Ten copies of each of 40 crystals say no more than 40."""
    generator = np.random.default_rng(1)
    old, new = generator.uniform(0, 1, (2, 40))
    groups = [f"{n}" for n in range(40)]
    once = compared(old, new, groups, RULE)
    often = compared(np.repeat(old, 10), np.repeat(new, 10), np.repeat(groups, 10), RULE)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.05)
    assert (once.groups, often.groups) == (40, 40)


@pytest.mark.parametrize(
    ("held_out", "frozen", "why"),
    [
        (pairs(0.1), pairs(0.1), ""),
        (pairs(0.1), pairs(0.0, spread=0.01), ""),
        (pairs(0.0), pairs(0.1), "it must be better on held-out frames"),
        (pairs(-0.1), pairs(0.1), "it must be better on held-out frames"),
        (pairs(0.1), pairs(-0.1), "it must not be worse on the frozen set by more than 0.02"),
        (pairs(0.1, frames=9), pairs(0.1), "held-out crystals must be at least 10, got 9"),
        (pairs(0.1), pairs(0.1, per_group=10), "frozen crystals must be at least 10, got 6"),
    ],
)
def test_the_rule(held_out, frozen, why):
    found = verdict(held_out, frozen, RULE)
    assert found.why.startswith(why)
    assert bool(found.why) == bool(why)


def test_a_version_that_is_worse_since_it_took_over_is_to_go_again():
    assert regressed(pairs(-0.1), RULE)
    assert not regressed(pairs(0.0), RULE)
    assert not regressed(pairs(-0.1, frames=9), RULE), "too few to say"


def test_scores_that_are_no_numbers_or_not_in_pairs_are_refused():
    with pytest.raises(ValueError, match="scores must be finite"):
        compared([0.1, np.nan], [0.1, 0.2], ["a", "b"], RULE)
    with pytest.raises(ValueError, match="equally many, got 1, 2, 2"):
        compared([0.1], [0.1, 0.2], ["a", "b"], RULE)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: LearningConfig(), "frozen must be the path of a data set, got ''"),
        (lambda: LearningConfig(frozen="x", nice=-1), r"nice must lie in \[0, 19\]"),
        (lambda: LearningConfig(frozen="x", every=0), "every must lie"),
        (lambda: LearningConfig(frozen="x", timeout_s=0.0), "timeout_s must be positive"),
        (lambda: RuleConfig(confidence=1.0), r"confidence must lie in \[0.5, 1\)"),
        (lambda: RuleConfig(least=200), r"least must lie in \[2, regression_frames\]"),
        (lambda: RuleConfig(worse_by=-1.0), "worse_by must lie"),
        (lambda: ReservoirConfig(held_out_share=1.0), "held_out_share must lie"),
        (lambda: ReservoirConfig(most_bytes=5), "most_bytes must be at least 1 MiB"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(make, why):
    with pytest.raises(ValueError, match=why):
        make()
