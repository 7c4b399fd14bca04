"""Stored samples as a torch data set, and splits that keep a crystal on one side."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from data.generation import JOINED_FILE
from data.sample import Sample
from data.store import SampleFile


class StoredSamples(Dataset[Sample]):
    """Map from position to ``Sample`` over ``dataset.h5``, a shard, or a directory of ``cdi generate``.

    Every process opens the file for itself: HDF5 handles survive neither a fork nor a pickle.

    Raises
    ------
    ValueError, OSError
        If the file is missing, damaged, or of another format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _joined(Path(path))
        self._opened: tuple[int, SampleFile] | None = None
        self.indices: NDArray[np.int64] = self._file().indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Sample:
        return self._file()[position]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _file(self) -> SampleFile:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), SampleFile(self.path))
        return self._opened[1]


class StoredCrystals(Dataset[tuple[Sample, ...]]):
    """Map from position to all exposures of a crystal: neighbouring samples of one ``index``, however many there are.

    ``indices`` holds the identity of each crystal, for ``split_by_crystal``.

    Raises
    ------
    ValueError, OSError
        As ``StoredSamples``.
    """

    def __init__(self, path: str | Path) -> None:
        self.samples = StoredSamples(path)
        rows = self.samples.indices
        self._starts = np.concatenate([np.flatnonzero(np.diff(rows, prepend=rows[:1] - 1)), [len(rows)]])
        self.indices: NDArray[np.int64] = rows[self._starts[:-1]]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Sample, ...]:
        if not -len(self) <= position < len(self):
            raise IndexError(f"position must lie in [0, {len(self)}), got {position}")
        position %= len(self)
        return tuple(self.samples[row] for row in range(self._starts[position], self._starts[position + 1]))


def split_by_crystal(
    indices: Sequence[int] | NDArray[np.int64], fractions: Sequence[float], seed: int
) -> list[NDArray[np.int64]]:
    """Positions of each side of a split in which no crystal stands on two sides.

    ``indices[p]`` identifies the crystal at position p; several positions may share one (other
    reflections, rotations, exposures). Fractions count crystals and are normalised to 1.

    Raises
    ------
    ValueError
        If a fraction is not positive, or a side would be empty.
    """
    shares = np.asarray(fractions, np.float64)
    if shares.ndim != 1 or len(shares) == 0 or not (np.isfinite(shares).all() and (shares > 0).all()):
        raise ValueError(f"fractions must be positive numbers, got {list(fractions)}")
    crystals, crystal_of = np.unique(np.asarray(indices, np.int64), return_inverse=True)
    ends = np.round(np.cumsum(shares / shares.sum()) * len(crystals)).astype(int)
    if np.diff(ends, prepend=0).min() < 1:
        raise ValueError(
            f"fractions must leave a crystal on every side, got {list(fractions)} of {len(crystals)} crystals"
        )
    order = np.random.default_rng(seed).permutation(len(crystals))
    side = np.empty(len(crystals), int)
    side[order] = np.searchsorted(ends, np.arange(len(crystals)), side="right")
    return [np.flatnonzero(side[crystal_of] == number) for number in range(len(shares))]


def _joined(path: Path) -> Path:
    if not path.is_dir():
        return path
    if not (path / JOINED_FILE).exists():
        raise FileNotFoundError(
            f"{path} must hold {JOINED_FILE}, it does not; finish it with: cdi generate … --output {path}"
        )
    return path / JOINED_FILE
