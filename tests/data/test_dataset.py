"""Stored samples as a torch data set; splits by crystal."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checks_of_data import SampleMaker, assert_same_sample
from hypothesis import given
from hypothesis import strategies as st

from data.dataset import StoredCrystals, StoredSamples, split_by_crystal
from data.recipe import Recipe
from data.sample import Sample
from data.store_writer import write_samples


def test_samples_come_back_through_a_loader_with_workers(
    tmp_path: Path, make_sample: SampleMaker, recipe: Recipe
) -> None:
    samples = [make_sample(index) for index in (7, 8, 9)]
    write_samples(tmp_path / "dataset.h5", samples, 3, recipe)
    stored = StoredSamples(tmp_path)
    assert stored.indices.tolist() == [7, 8, 9]
    assert_same_sample(stored[1], samples[1])
    assert_same_sample(pickle.loads(pickle.dumps(stored))[2], samples[2])
    loader: torch.utils.data.DataLoader[list[Sample]] = torch.utils.data.DataLoader(
        stored, batch_size=2, num_workers=1, collate_fn=list, multiprocessing_context="fork", timeout=60
    )
    for got, wanted in zip([sample for batch in loader for sample in batch], samples, strict=True):
        assert_same_sample(got, wanted)


def test_exposures_of_a_crystal_come_back_together(tmp_path: Path, make_sample: SampleMaker, recipe: Recipe) -> None:
    """Neighbours of one index, however many they are, through workers too; splits are by crystal."""
    sizes = {7: 3, 8: 1, 11: 2, 9: 4}
    sets = [
        [replace(make_sample(index, masked=k == 1), reflection=(2, k - 2, 1)) for k in range(size)]
        for index, size in sizes.items()
    ]
    write_samples(tmp_path / "dataset.h5", (sample for samples in sets for sample in samples), 10, recipe)
    stored = StoredCrystals(tmp_path)
    assert len(stored) == 4
    assert stored.indices.tolist() == [7, 8, 11, 9]
    loader: torch.utils.data.DataLoader[list[tuple[Sample, ...]]] = torch.utils.data.DataLoader(
        stored, batch_size=3, num_workers=1, collate_fn=list, multiprocessing_context="fork", timeout=60
    )
    everywhere = [crystal for batch in loader for crystal in batch]
    for got in (everywhere, [stored[position - 4] for position in range(4)], list(pickle.loads(pickle.dumps(stored)))):
        for crystal, samples in zip(got, sets, strict=True):
            for sample, wanted in zip(crystal, samples, strict=True):
                assert_same_sample(sample, wanted)
    with pytest.raises(IndexError, match=r"position must lie in \[0, 4\), got 4"):
        stored[4]


def test_an_unfinished_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold dataset.h5, it does not; finish it with: cdi generate"):
        StoredSamples(tmp_path)


@given(
    st.lists(st.integers(-5, 40), min_size=30, max_size=80).filter(lambda indices: len(set(indices)) >= 8),
    st.lists(st.floats(0.3, 1.0), min_size=1, max_size=3),
    st.integers(0, 2**32),
)
def test_no_crystal_stands_on_two_sides(indices: list[int], fractions: list[float], seed: int) -> None:
    sides = split_by_crystal(indices, fractions, seed)
    crystals = [set(np.asarray(indices)[side].tolist()) for side in sides]
    assert sum(len(c) for c in crystals) == len(set(indices)) == len(set().union(*crystals))
    assert sorted(np.concatenate(sides).tolist()) == list(range(len(indices)))
    for share, side in zip(np.asarray(fractions) / sum(fractions), crystals, strict=True):
        assert abs(len(side) - share * len(set(indices))) <= 1


def test_a_split_depends_on_the_seed_and_not_on_the_order() -> None:
    indices = np.arange(100)
    first = split_by_crystal(indices, (0.8, 0.2), seed=3)
    assert np.array_equal(first[1], split_by_crystal(indices, (8, 2), seed=3)[1])
    assert not np.array_equal(first[1], split_by_crystal(indices, (0.8, 0.2), seed=4)[1])
    backward = split_by_crystal(indices[::-1], (0.8, 0.2), seed=3)
    assert set(indices[::-1][backward[1]]) == set(first[1])


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.5, -0.5), "fractions must be positive numbers"),
        ((), "fractions must be positive numbers"),
        ((1.0, 1e-6), r"fractions must leave a crystal on every side, got \[1.0, 1e-06\] of 3 crystals"),
    ],
)
def test_an_impossible_split_is_refused(fractions: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_by_crystal([1, 2, 3, 3], fractions, seed=0)
