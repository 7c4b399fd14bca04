"""Rings are shared evenly, and no more of them change hands than must."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_insitu.sharing.holding import shares


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.sets(st.integers(0, 5), min_size=1))
def test_shares_are_even_and_few_rings_change_hands(holders, readers):
    workers = sorted(readers)
    found = shares(holders, workers)
    counts = Counter(found)
    assert set(found) <= set(workers)
    assert max(counts[one] for one in workers) - min(counts[one] for one in workers) <= 1
    changed = sum(before != after for before, after in zip(holders, found, strict=True))
    base, extra = divmod(len(holders), len(workers))
    held = sorted((Counter(holders)[one] for one in workers), reverse=True)
    assert changed == len(holders) - sum(min(count, base + (place < extra)) for place, count in enumerate(held))


@pytest.mark.parametrize(
    ("holders", "workers", "expected"),
    [
        ([0, 0, 0, 0], [0, 1], [0, 0, 1, 1]),
        ([0, 0, 1, 1], [0], [0, 0, 0, 0]),
        ([0, 0, 0], [0, 1, 2, 3], [0, 1, 2]),
        ([2, 2, 1], [0, 1], [0, 1, 1]),
    ],
)
def test_examples(holders, workers, expected):
    assert sorted(shares(holders, workers)) == sorted(expected)
    assert len(shares(holders, workers)) == len(holders)
