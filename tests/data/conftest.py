"""Hand-made samples, recipes small enough for tests, and the measurements where they are at hand."""

from pathlib import Path

import numpy as np
import pytest
from checks_of_data import SHARED, SampleMaker

from cdi.grid import QGrid
from cdi.pattern import Exposure
from data.recipe import Recipe
from data.sample import Sample, TrueLine, Truth


@pytest.fixture
def recipe() -> Recipe:
    return Recipe("uneven", samples=5, samples_per_file=2, first_index=40, shape=(16, 18, 20))


@pytest.fixture
def make_sample(recipe: Recipe) -> SampleMaker:
    """A sample of random numbers: nothing in it is symmetric, round, or equal to its neighbour."""

    def make(index: int, *, lines: int = 2, masked: bool = False) -> Sample:
        rng = np.random.default_rng(index)
        shape = recipe.shape
        counts = rng.poisson(3.0, shape).astype(np.float32)
        counts[1, 2, 3] = 4_000_000
        mask = rng.random(shape) < 0.9 if masked else None
        grid = QGrid(rng.normal(size=3), np.eye(3) * 0.01 + rng.normal(size=(3, 3)) * 1e-3, shape)
        true_lines = tuple(
            TrueLine(
                rng.normal(size=(3 + number, 3)), rng.normal(size=3), rng.normal(size=3), *rng.random(2), number + 2
            )
            for number in range(lines)
        )
        truth = Truth(
            defect="partial-or-fault" if lines else "none",
            kinds=("dissociated dislocation", "smooth strain", "vacancy cloud")[: lines + index % 2],
            lines=true_lines,
            fault_step=float(rng.random()),
            displacement=rng.normal(size=(3, *shape)).astype(np.float32),
            support=rng.random(shape).astype(np.float32),
            phase=rng.normal(size=shape).astype(np.float32),
            formula="NaCl",
            structure="rock-salt",
            cell=rng.normal(size=(3, 3)),
            orientation=rng.normal(size=(3, 3)),
        )
        return Sample(index, (2, -1, 1), Exposure(counts, grid, mask), truth)

    return make


@pytest.fixture
def shared() -> Path:
    """Measurements and atomistic files that are handed out beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"no measurements at {SHARED}")
    return SHARED
