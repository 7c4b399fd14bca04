"""Writing samples to HDF5: one file a shard, stacked arrays, lines as ragged rows.

Counts are stored as unsigned integers, byte-shuffled and deflated: photon counts of a
diffraction pattern are mostly zero or small. Every chunk is one sample and carries a Fletcher-32
checksum, so a damaged byte is an error and never a number. Free of torch.
"""

import hashlib
from collections.abc import Iterable, Sequence
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
from data.sample import Sample, TrueLine

FILTERS = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
"""Integers shrink most by byte shuffling; gzip 9 costs ten times the time of 4 for a few per cent."""


LATER_FIELDS = {"reflection_count": 1}
"""Fields that recipes have had only since sets were stored, and the value that those sets were made with."""


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """The recipe as files hold it: without later fields that change nothing, so that older sets stay whole."""
    return {key: value for key, value in to_dict(recipe).items() if (key, value) not in LATER_FIELDS.items()}


def recipe_fingerprint(recipe: Recipe) -> str:
    """SHA-256 of the recipe and the program version: equal fingerprints, equal samples."""
    text = yaml.safe_dump({"recipe": recipe_record(recipe), "program_version": __version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def root_attributes(recipe: Recipe) -> dict[str, Any]:
    """What every file of a data set says of itself."""
    return {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "program_version": __version__,
        "name": recipe.name,
        "seed": recipe.seed,
        "recipe": yaml.safe_dump(recipe_record(recipe), sort_keys=False),
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


def encoded(name: str, text: str) -> bytes:
    """``text`` as the column ``name`` holds it; HDF5 would cut off what is too long.

    Raises
    ------
    ValueError
        If it is longer than the column, or not ASCII.
    """
    longest = LAYOUT[name].dtype.itemsize
    if not text.isascii() or len(text) > longest:
        raise ValueError(f"{name} must be at most {longest} ASCII letters, got {text!r}")
    return text.encode()


def line_rows(lines: Sequence[TrueLine]) -> dict[str, list[Any]]:
    """Rows of every column of lines and of their points."""
    return {
        "point_count": [len(line.points) for line in lines],
        "burgers_A": [line.burgers for line in lines],
        "burgers_lattice": [line.burgers_lattice for line in lines],
        "g_dot_b": [line.g_dot_b for line in lines],
        "residual": [line.residual for line in lines],
        "candidate_count": [line.candidates for line in lines],
        "points_A": [point for line in lines for point in line.points],
    }


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
    grid, truth = sample.exposure.grid, sample.truth
    assert grid is not None
    of_the_sample = {
        "index": sample.index,
        "reflection": sample.reflection,
        "q_centre": grid.centre,
        "q_step": grid.step,
        "defect": encoded("defect", truth.defect),
        "fault_step": truth.fault_step,
        "formula": encoded("formula", truth.formula),
        "structure": encoded("structure", truth.structure),
        "cell": truth.cell,
        "orientation": truth.orientation,
        "kind_count": len(truth.kinds),
        "line_count": len(truth.lines),
    }
    for name, value in of_the_sample.items():
        rows[name].append(value)
    rows["kind"].extend(encoded("kind", kind) for kind in truth.kinds)
    for name, values in line_rows(truth.lines).items():
        rows[name].extend(values)
