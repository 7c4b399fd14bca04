"""One result of a run with its volumes, out of files that grow: the newest, or the newest up to a step.

Nothing but the chosen row's volumes is read, so it may be asked for again and again while the run goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from inference_insitu.inference.results import StoredResult, results_files, stored_result, whole_rows

MOST_VOXELS = 2**26
"""Of one volume: 406 along each axis."""
MOST_TRIES = 3
"""A row that is just being written does not read; the one before it does."""
# What h5py raises on a file that is cut, damaged or half written.
_UNREADABLE = (OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError, OverflowError, AttributeError)


@dataclass(frozen=True)
class Found:
    """A result, the file it lies in, and what did not read on the way to it."""

    result: StoredResult | None
    file: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    step: int
    life: int
    path: Path
    group: str
    row: int


def newest_result(folder: Path, stream: str, at_most: int | None = None) -> Found:
    """The newest result of ``stream`` in ``folder``, or the newest of those up to the step ``at_most``.

    A frame that a second life answered again is taken from there. Files that do not read are told of, never raised.
    """
    problems: list[str] = []
    rows: list[_Row] = []
    for life, path in enumerate(results_files(folder)):
        try:
            rows += _candidates(path, life, stream, at_most)
        except _UNREADABLE as error:
            problems.append(f"{path.name} does not read: {_line(error)}")
    rows.sort(key=lambda row: (row.step, row.life, row.row), reverse=True)
    for row in rows[:MOST_TRIES]:
        try:
            return Found(_read(row, stream), row.path.name, tuple(problems))
        except _UNREADABLE as error:
            problems.append(f"step {row.step} of {row.path.name} does not read: {_line(error)}")
    return Found(None, "", tuple(problems))


def _candidates(path: Path, life: int, stream: str, at_most: int | None) -> Iterator[_Row]:
    # Without locking, so that a file can be read whose writer still runs.
    with h5py.File(path, "r", locking=False) as file:
        for name, group in _groups(file, stream).items():
            steps = group["step"][: whole_rows(group)]
            rows = np.arange(len(steps)) if at_most is None else np.flatnonzero(steps <= at_most)
            newest = rows[np.argsort(steps[rows], kind="stable")][-MOST_TRIES:]
            yield from (_Row(int(steps[row]), life, path, name, int(row)) for row in newest)


def _read(row: _Row, stream: str) -> StoredResult:
    with h5py.File(row.path, "r", locking=False) as file:
        group = _groups(file, stream)[row.group]
        for name in ("counts", "line_density", "support"):
            shape = group[name].shape[1:]
            if len(shape) != 3 or int(np.prod(shape, dtype=object)) > MOST_VOXELS:
                raise ValueError(f"{name} must have 3 axes and at most {MOST_VOXELS} voxels to be shown, got {shape}")
        return stored_result(group, row.row, [str(name) for name in file.attrs["classes"]])


def _groups(file: h5py.File, stream: str) -> dict[str, Any]:
    """Groups of ``stream`` by the shape of their frames; links out of the file are not followed."""
    if not isinstance(file.get(stream, getlink=True), h5py.HardLink):
        return {}
    parent = file[stream]
    return {
        name: parent[name]
        for name in parent
        if isinstance(parent.get(name, getlink=True), h5py.HardLink) and isinstance(parent[name], h5py.Group)
    }


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
