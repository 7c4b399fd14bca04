"""What is written is read back, and what is damaged is refused in one line."""

import hashlib
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from checks_of_data import REPOSITORY, SampleMaker, assert_same_sample

from cdi import __version__
from cdi.config import to_dict
from cdi.defects.classes import CLASSES
from cdi.defects.defect import Defect
from cdi.lattices.materials import MATERIALS
from cdi.lattices.structures import STRUCTURES
from data.joining import join_shards
from data.layout import LAYOUT
from data.recipe import Recipe
from data.sample import Sample
from data.store import SampleFile
from data.store_writer import encoded, recipe_fingerprint, recipe_record, write_samples


@pytest.fixture
def samples(make_sample: SampleMaker) -> list[Sample]:
    return [
        make_sample(40),
        make_sample(41, lines=0),
        make_sample(42, lines=3, masked=True),
        make_sample(43, lines=0, masked=True),
        make_sample(44, lines=1),
    ]


@pytest.fixture
def stored(tmp_path: Path, samples: list[Sample], recipe: Recipe) -> Path:
    path = tmp_path / "samples.h5"
    write_samples(path, iter(samples), len(samples), recipe)
    return path


def test_every_field_survives_the_round_trip(stored: Path, samples: list[Sample]) -> None:
    with SampleFile(stored) as file:
        assert len(file) == len(samples)
        assert file.indices.tolist() == [40, 41, 42, 43, 44]
        for got, wanted in zip(file, samples, strict=True):
            assert_same_sample(got, wanted)
        assert_same_sample(file[-1], samples[-1])
        with pytest.raises(IndexError, match=r"position must lie in \[0, 5\), got 5"):
            file[5]


def test_joined_shards_read_as_their_concatenation(tmp_path: Path, samples: list[Sample], recipe: Recipe) -> None:
    shards = [tmp_path / f"shard-{n}.h5" for n in range(3)]
    for shard, part in zip(shards, (samples[:2], samples[2:4], samples[4:]), strict=True):
        write_samples(shard, iter(part), len(part), recipe)
    join_shards(shards, tmp_path / "dataset.h5", recipe)
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in [*shards, tmp_path / "dataset.h5"]:
        path.rename(moved / path.name)
    with SampleFile(moved / "dataset.h5") as file:
        for got, wanted in zip(file, samples, strict=True):
            assert_same_sample(got, wanted)


def test_exposures_of_a_crystal_stay_rows_of_their_own(
    tmp_path: Path, make_sample: SampleMaker, recipe: Recipe
) -> None:
    """Each with its own reflection, lines and mask under the crystal's index, across joined shards."""
    rows = [
        replace(make_sample(40 + position, lines=position, masked=position == 2), index=40 + position // 3)
        for position in range(6)
    ]
    rows = [replace(row, reflection=(2, -position, 1)) for position, row in enumerate(rows)]
    shards = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for shard, part in zip(shards, (rows[:3], rows[3:]), strict=True):
        write_samples(shard, iter(part), 3, replace(recipe, reflection_count=3))
    join_shards(shards, tmp_path / "dataset.h5", replace(recipe, reflection_count=3))
    with SampleFile(tmp_path / "dataset.h5") as file:
        assert file.indices.tolist() == [40, 40, 40, 41, 41, 41]
        for got, wanted in zip(file, rows, strict=True):
            assert_same_sample(got, wanted)


def test_sets_of_one_exposure_a_crystal_keep_their_fingerprint(recipe: Recipe) -> None:
    """That of the recipe as it was before crystals had several; another number is another set."""
    before = {key: value for key, value in to_dict(recipe).items() if key != "reflection_count"}
    text = yaml.safe_dump({"recipe": before, "program_version": __version__}, sort_keys=True)
    assert recipe_fingerprint(recipe) == hashlib.sha256(text.encode()).hexdigest()
    assert recipe_record(recipe) == before
    three = replace(recipe, reflection_count=3)
    assert recipe_record(three)["reflection_count"] == 3
    assert recipe_fingerprint(three) != recipe_fingerprint(recipe)


def test_shards_without_any_line_join(tmp_path: Path, make_sample: SampleMaker, recipe: Recipe) -> None:
    write_samples(tmp_path / "s.h5", [make_sample(1, lines=0)], 1, recipe)
    join_shards([tmp_path / "s.h5"], tmp_path / "dataset.h5", recipe)
    with SampleFile(tmp_path / "dataset.h5") as file:
        assert file[0].truth.lines == ()


@pytest.mark.parametrize("harm", ["missing", "truncated", "of another recipe"])
def test_a_harmed_shard_is_refused_and_not_read_as_zeros(
    tmp_path: Path, samples: list[Sample], recipe: Recipe, harm: str
) -> None:
    shards = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for shard, part in zip(shards, (samples[:2], samples[2:]), strict=True):
        write_samples(shard, iter(part), len(part), recipe)
    join_shards(shards, tmp_path / "dataset.h5", recipe)
    if harm == "missing":
        shards[1].unlink()
    elif harm == "truncated":
        shards[1].write_bytes(shards[1].read_bytes()[:-500])
    else:
        write_samples(shards[1], iter(samples[2:]), 3, replace(recipe, seed=9))
    with pytest.raises((ValueError, OSError), match=r"b\.h5"):
        SampleFile(tmp_path / "dataset.h5")


def test_units_and_provenance_are_attributes(stored: Path, recipe: Recipe) -> None:
    with h5py.File(stored) as file:
        assert file.attrs["format"] == "cdi-samples"
        assert file.attrs["format_version"] == 2
        assert file.attrs["seed"] == recipe.seed
        assert "first_index: 40" in file.attrs["recipe"]
        assert {name: file[name].attrs["units"] for name in file} == {n: c.units for n, c in LAYOUT.items()}
        assert not any(file[name].dtype.hasobject for name in file)
        assert file["counts"].chunks == (1, 16, 18, 20)


def _edit(path: Path, change: str) -> None:
    with h5py.File(path, "r+") as file:
        if change == "format":
            file.attrs["format"] = "pictures"
        elif change == "version":
            file.attrs["format_version"] = 3
        elif change == "old version":
            file.attrs["format_version"] = 1
        elif change == "dataset":
            del file["burgers_A"]
        elif change == "dtype":
            _replace(file, "counts", file["counts"][()].astype(np.float64))
        elif change == "shape":
            _replace(file, "support", file["support"][:, :, :, :-1])
        elif change == "rows":
            _replace(file, "g_dot_b", file["g_dot_b"][:-1])
        elif change == "points":
            _replace(file, "points_A", file["points_A"][:-1])
        elif change == "kinds":
            _replace(file, "kind", file["kind"][:-1])
        elif change == "class":
            file["defect"][0] = b"twinned"
        elif change == "nan":
            file["phase"][0, 3, 3, 3] = np.nan
        elif change == "grid":
            file["q_step"][0] = np.inf


def _replace(file: h5py.File, name: str, values: np.ndarray) -> None:
    del file[name]
    file[name] = values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("format", r"must be a data set of cdi generate \(format 'cdi-samples'\), got 'pictures'"),
        ("version", "must have format version 2, got 3; upgrade this program"),
        ("old version", "must have format version 2, got 1; make the file again with: cdi generate"),
        ("dataset", "must hold the dataset 'burgers_A', it does not; make the file again"),
        ("dtype", "counts in .* must be uint32, got float64"),
        ("shape", r"support in .* must have shape \(5, 16, 18, 20\), got \(5, 16, 18, 19\)"),
        ("rows", r"g_dot_b in .* must have shape \(6,\), got \(5,\)"),
        ("points", r"points_A in .* must have shape \(22, 3\), got \(21, 3\)"),
        ("kinds", r"kind in .* must have shape \(8,\), got \(7,\)"),
        ("class", "sample 0 is damaged .defect must be one of none, edge, screw, mixed, partial-or-fault"),
        ("nan", "sample 0 is damaged .phase must be finite"),
        ("grid", "sample 0 is damaged .step must be a finite"),
    ],
)
def test_a_changed_file_is_refused(stored: Path, change: str, message: str) -> None:
    _edit(stored, change)
    with pytest.raises(ValueError, match=message) as caught, SampleFile(stored) as file:
        file[0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 4, 700, -1000])
def test_a_truncated_file_is_refused(stored: Path, kept: int) -> None:
    stored.write_bytes(stored.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"samples.h5") as caught:
        SampleFile(stored)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_is_an_error_and_not_a_number(stored: Path) -> None:
    with h5py.File(stored) as file:
        place = file["phase"].id.get_chunk_info(1)
    content = bytearray(stored.read_bytes())
    content[place.byte_offset + place.size // 2] ^= 1
    stored.write_bytes(content)
    with SampleFile(stored) as file:
        file[0]
        with pytest.raises(ValueError, match="sample 1 is damaged"):
            file[1]


def test_what_is_no_file_of_samples_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.h5").write_text("hello world")
    with pytest.raises(ValueError, match="must be an HDF5 file, got a file that starts with b'hello wo'"):
        SampleFile(tmp_path / "notes.h5")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        SampleFile(tmp_path / "nothing.h5")
    with pytest.raises(IsADirectoryError, match="got a directory"):
        SampleFile(tmp_path)
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(ValueError, match="got 'no format attribute'"):
        SampleFile(tmp_path / "other.h5")


def test_what_does_not_fit_is_not_written(tmp_path: Path, make_sample: SampleMaker, recipe: Recipe) -> None:
    sample = make_sample(1)
    fractional = replace(sample, exposure=replace(sample.exposure, counts=sample.exposure.counts + np.float32(0.5)))
    with pytest.raises(ValueError, match="counts of sample 1 must be whole numbers"):
        write_samples(tmp_path / "a.h5", [fractional], 1, recipe)
    with pytest.raises(ValueError, match="sample 1 must have a grid"):
        write_samples(tmp_path / "b.h5", [replace(sample, exposure=replace(sample.exposure, grid=None))], 1, recipe)
    undefined = replace(sample, truth=replace(sample.truth, phase=np.full(recipe.shape, np.nan, np.float32)))
    with pytest.raises(ValueError, match="phase of sample 1 must be finite"):
        write_samples(tmp_path / "c.h5", [undefined], 1, recipe)
    small = replace(sample, truth=replace(sample.truth, support=sample.truth.support[1:]))
    with pytest.raises(ValueError, match=r"support of sample 1 must have shape \(16, 18, 20\)"):
        write_samples(tmp_path / "d.h5", [small], 1, recipe)
    unknown = replace(sample, truth=replace(sample.truth, formula="Al2O3TiN2"))
    with pytest.raises(ValueError, match="formula must be at most 8 ASCII letters, got 'Al2O3TiN2'"):
        write_samples(tmp_path / "g.h5", [unknown], 1, recipe)
    with pytest.raises(ValueError, match="samples must number 2, got 1"):
        write_samples(tmp_path / "e.h5", [sample], 2, recipe)
    with pytest.raises(ValueError, match="samples must number 1, got more"):
        write_samples(tmp_path / "f.h5", [sample, sample], 1, recipe)


def test_every_name_of_a_class_or_a_kind_fits_its_column() -> None:
    """Nothing is cut off: of every defect that the program knows."""
    for module in (REPOSITORY / "cdi" / "defects").glob("*.py"):
        import_module(f"cdi.defects.{module.stem}")
    kinds = [cls.kind for cls in Defect.__subclasses__() if hasattr(cls, "kind")]
    assert "straight dislocation" in kinds
    for name, words in {"kind": kinds, "defect": CLASSES, "structure": STRUCTURES, "formula": MATERIALS}.items():
        assert [encoded(name, word).decode() for word in words] == list(words)


def test_the_documentation_lists_the_layout() -> None:
    text = (REPOSITORY / "docs" / "format.md").read_text()
    for name, column in LAYOUT.items():
        kind = f"ascii {column.dtype.itemsize}" if column.dtype.kind == "S" else column.dtype.name
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` | {kind} |"))
        assert row.endswith(f"| {column.units} | {column.description} |")
