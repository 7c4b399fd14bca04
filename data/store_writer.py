"""Writing samples to HDF5: one file a shard, stacked arrays, lines as ragged rows.

Counts are stored as unsigned integers, byte-shuffled and deflated: photon counts of a
diffraction pattern are mostly zero or small. Every chunk is one sample and carries a Fletcher-32
checksum, so a damaged byte is an error and never a number. Free of torch.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from numpy.typing import NDArray

from cdi import __version__
from cdi.config import to_dict
from data.layout import FORMAT_NAME, FORMAT_VERSION, LAYOUT, VOLUMES, Column
from data.recipe import Recipe
from data.sample import Sample

FILTERS = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
"""Integers shrink most by byte shuffling; gzip 9 costs ten times the time of 4 for a few per cent."""


def recipe_fingerprint(recipe: Recipe) -> str:
    """SHA-256 of the recipe and the program version: equal fingerprints, equal samples."""
    text = yaml.safe_dump({"recipe": to_dict(recipe), "program_version": __version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def root_attributes(recipe: Recipe) -> dict[str, Any]:
    """What every file of a data set says of itself."""
    return {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "program_version": __version__,
        "name": recipe.name,
        "seed": recipe.seed,
        "recipe": yaml.safe_dump(to_dict(recipe), sort_keys=False),
        "recipe_sha256": recipe_fingerprint(recipe),
    }


def write_samples(path: str | Path, samples: Iterable[Sample], count: int, recipe: Recipe) -> None:
    """Write ``count`` samples to a new file, one at a time: memory holds a single sample.

    Raises
    ------
    ValueError
        If there are not ``count`` samples, or one does not fit the format.
    """
    rows: dict[str, list[Any]] = {name: [] for name, column in LAYOUT.items() if column.kind != "volume"}
    written = 0
    with h5py.File(path, "w") as file:
        file.attrs.update(root_attributes(recipe))
        for name in VOLUMES:
            _create(file, name, (count, *LAYOUT[name].tail(recipe.shape)), chunks=True)
        for sample in samples:
            if written == count:
                raise ValueError(f"samples must number {count}, got more")
            for name, volume in _volumes(sample, recipe.shape).items():
                file[name][written] = volume
            _append_rows(rows, sample)
            written += 1
        if written != count:
            raise ValueError(f"samples must number {count}, got {written}")
        for name, values in rows.items():
            tail = LAYOUT[name].tail(recipe.shape)
            array = np.asarray(values, LAYOUT[name].dtype).reshape(len(values), *tail)
            _create(file, name, array.shape)[...] = array


def _create(file: h5py.File, name: str, shape: tuple[int, ...], *, chunks: bool = False) -> h5py.Dataset:
    column = LAYOUT[name]
    options = {"chunks": (1, *shape[1:]), **FILTERS} if chunks else {}
    dataset = file.create_dataset(name, shape, column.dtype, **options)
    describe(dataset, column)
    return dataset


def describe(dataset: h5py.Dataset, column: Column) -> None:
    """Unit and meaning as attributes."""
    dataset.attrs["units"] = column.units
    dataset.attrs["description"] = column.description


def _volumes(sample: Sample, shape: tuple[int, int, int]) -> dict[str, NDArray[Any]]:
    truth, counts = sample.truth, sample.exposure.counts
    if sample.exposure.grid is None:
        raise ValueError(f"sample {sample.index} must have a grid to be stored, got None")
    if not np.array_equal(counts, np.round(counts)) or counts.max() >= 2**32:
        raise ValueError(f"counts of sample {sample.index} must be whole numbers below 2³², got {counts.max()}")
    measured = np.ones(shape, bool) if sample.exposure.mask is None else sample.exposure.mask
    volumes = {
        "counts": np.where(measured, counts, 0),
        "measured": measured,
        "support": truth.support,
        "phase": truth.phase,
        "displacement": truth.displacement,
    }
    for name, volume in volumes.items():
        wanted = LAYOUT[name].tail(shape)
        if volume.shape != wanted:
            raise ValueError(f"{name} of sample {sample.index} must have shape {wanted}, got {volume.shape}")
        if not np.isfinite(volume).all():
            raise ValueError(f"{name} of sample {sample.index} must be finite, got NaN or infinity")
    return volumes


def _append_rows(rows: dict[str, list[Any]], sample: Sample) -> None:
    grid, lines = sample.exposure.grid, sample.truth.lines
    assert grid is not None
    rows["index"].append(sample.index)
    rows["reflection"].append(sample.reflection)
    rows["q_centre"].append(grid.centre)
    rows["q_step"].append(grid.step)
    rows["defect"].append(sample.truth.defect.encode())
    rows["element"].append(sample.truth.element.encode())
    rows["line_count"].append(len(lines))
    for line in lines:
        rows["point_count"].append(len(line.points_A))
        rows["points_A"].extend(np.asarray(line.points_A))
        rows["burgers_A"].append(line.burgers_A)
        rows["burgers_lattice"].append(line.burgers_lattice)
        rows["g_dot_b"].append(line.g_dot_b)
