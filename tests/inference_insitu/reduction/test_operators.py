"""Reduction on the simulation rank: what is declared is delivered, counts are kept, the centre stays the centre."""

from dataclasses import dataclass
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from cdi.config import read_object, to_dict
from inference_insitu.reduction.group import Alone, Array
from inference_insitu.reduction.operator_config import OperatorConfig
from inference_insitu.reduction.operators import Abs2, Bin, Cast, Crop, DType, Operator, Shape, SumToRoot
from inference_insitu.reduction.pipeline import Pipeline, pipeline

ALONE = Alone()
REALS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["uint8", "uint16", "int32", "uint32", "int64", "uint64"]


def random_array(shape: Shape, dtype: str, seed: int = 0) -> Array:
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 200, shape).astype(np.float64)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * generator.integers(0, 200, shape)
    return values.astype(dtype)


class Ranks:
    """Ranks as threads that meet in ``sum_to_root``, in place of MPI."""

    def __init__(self, count: int) -> None:
        self.parts: list[Any] = [None] * count
        self.barrier = Barrier(count, timeout=20)

    def run(self, reduce: Any, arrays: list[Array]) -> list[Any]:
        """What ``reduce(array, group)`` gives on each rank, or the exception that it raises."""
        results: list[Any] = [None] * len(arrays)

        def one(rank: int) -> None:
            try:
                results[rank] = reduce[rank](arrays[rank], OneRank(self, rank))
            except Exception as error:
                results[rank] = error

        threads = [Thread(target=one, args=(rank,)) for rank in range(len(arrays))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in threads)
        return results


@dataclass
class OneRank:
    ranks: Ranks
    rank: int

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    def sum_to_root(self, values: Array) -> Array | None:
        assert values.flags.c_contiguous
        self.ranks.parts[self.rank] = values
        self.ranks.barrier.wait()
        total = np.sum(self.ranks.parts, axis=0, dtype=values.dtype) if self.is_root else None
        self.ranks.barrier.wait()
        return total


@pytest.mark.parametrize("N", [1, 2, 5, 6, 7, 8])
def test_the_centre_voxel_stays_the_centre_under_crop(N: int) -> None:
    """Voxel N//2 becomes voxel n//2, for odd and even lengths."""
    for n in range(1, N + 1):
        cropped = Crop((n,))(np.arange(N), ALONE)
        assert len(cropped) == n
        assert cropped[n // 2] == N // 2


def test_crop_is_a_view_of_the_last_axes() -> None:
    array = random_array((2, 8, 9, 10), "float32")
    cropped = Crop((4, 5, 6))(array, ALONE)
    assert np.shares_memory(cropped, array)
    np.testing.assert_array_equal(cropped, array[:, 2:6, 2:7, 2:8])


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [*REALS, *COMPLEX, *INTEGERS, "bool", "float16"])
def test_no_count_is_lost_by_bin(factor: int, dtype: str) -> None:
    """Uneven shapes; each bin is the sum of its voxels, written naively."""
    array = random_array((2 * factor, 3 * factor, 5 * factor), dtype)
    binned = Bin(factor)(array, ALONE)
    assert binned.sum() == array.sum(dtype=binned.dtype)
    for index in np.ndindex(binned.shape):
        corner = tuple(slice(i * factor, (i + 1) * factor) for i in index)
        assert binned[index] == array[corner].sum(dtype=binned.dtype)


def test_full_pixels_do_not_overflow_in_a_bin() -> None:
    assert Bin(4)(np.full((4, 4, 4), 2**16 - 1, np.uint16), ALONE) == 64 * (2**16 - 1)
    assert Bin(2)(np.full((2, 2), 6e4, np.float16), ALONE) == pytest.approx(2.4e5, rel=1e-3)


@pytest.mark.parametrize(("bins", "factor"), [(2, 2), (3, 2), (5, 2), (4, 3), (5, 3), (6, 4)])
def test_the_bin_of_the_centre_voxel_is_the_centre(bins: int, factor: int) -> None:
    line = np.zeros(bins * factor)
    line[len(line) // 2] = 1
    assert Bin(factor)(line, ALONE)[bins // 2] == 1


def test_a_tuple_of_factors_bins_the_last_axes() -> None:
    array = random_array((3, 4, 6), "float64")
    binned = Bin((1, 3))(array, ALONE)
    np.testing.assert_array_equal(binned, array.reshape(3, 4, 2, 3).sum(3))


def test_binning_commutes_with_the_sum_over_ranks() -> None:
    parts = [random_array((4, 6, 8), "complex128", seed) for seed in range(3)]
    whole = Bin(2)(np.sum(parts, axis=0), ALONE)
    np.testing.assert_allclose(sum(Bin(2)(part, ALONE) for part in parts), whole)


@pytest.mark.parametrize("dtype", [*COMPLEX, *REALS])
def test_abs2_is_the_square_of_the_modulus(dtype: str) -> None:
    array = random_array((3, 4, 5), dtype) - np.asarray(50, dtype)
    intensity = Abs2()(array, ALONE)
    assert intensity.dtype == array.real.dtype
    np.testing.assert_allclose(intensity, array.real.astype(float) ** 2 + array.imag.astype(float) ** 2, rtol=1e-6)


def test_abs2_of_counts_does_not_overflow() -> None:
    assert Abs2()(np.array([200, 255], np.uint8), ALONE).tolist() == [40000.0, 65025.0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32"])
def test_counts_beyond_a_type_saturate(dtype: str) -> None:
    counts = np.array([0, 7, 300, 70_000, 2**40], np.uint64)
    limit = np.iinfo(dtype).max
    if np.dtype(dtype).kind == "i":
        counts = counts.astype(np.int64)
    assert Cast(dtype)(counts, ALONE).tolist() == [min(int(count), limit) for count in counts]


def test_a_float_beyond_a_type_is_infinite() -> None:
    assert np.isinf(Cast("float32")(np.array([1e300]), ALONE)).all()


def test_a_cast_to_the_same_type_copies_nothing() -> None:
    array = random_array((3, 4), "float32")
    assert Cast("float32")(array, ALONE) is array


@pytest.mark.parametrize("dtype", ["complex128", "complex64", "float64", "float32"])
@pytest.mark.parametrize("ranks", [1, 3])
def test_partial_sums_equal_the_whole(dtype: str, ranks: int) -> None:
    """Amplitudes of parts, cropped, summed and squared at the root, are those of the whole; other ranks give None."""
    shape = (6, 7, 8)
    parts = [random_array(shape, dtype, seed) for seed in range(ranks)]
    configs = [
        OperatorConfig("crop", shape=(4, 4, 6)),
        OperatorConfig("sum_to_root"),
        OperatorConfig("abs2"),
        OperatorConfig("bin", factor=2),
    ]
    reductions = [pipeline(configs, shape, dtype) for _ in parts]
    root, *others = Ranks(ranks).run(reductions, parts)
    whole = np.abs(np.sum(parts, axis=0)[1:5, 1:5, 1:7]) ** 2
    expected = whole.reshape(2, 2, 2, 2, 3, 2).sum((1, 3, 5))
    np.testing.assert_allclose(root, expected, rtol=1e-5)
    assert root.dtype == reductions[0].dtype
    assert root.shape == reductions[0].shape
    assert reductions[0].collective
    assert others == [None] * (ranks - 1)


def test_intensities_of_parts_do_not_add_to_that_of_the_whole() -> None:
    """Why ``sum_to_root`` stands before ``abs2``: two parts in antiphase are dark together."""
    parts = [np.ones((2, 2), np.complex128), -np.ones((2, 2), np.complex128)]
    right = [pipeline([OperatorConfig("sum_to_root"), OperatorConfig("abs2")], (2, 2), complex) for _ in parts]
    wrong = [pipeline([OperatorConfig("abs2"), OperatorConfig("sum_to_root")], (2, 2), complex) for _ in parts]
    assert Ranks(2).run(right, parts)[0].sum() == 0
    assert Ranks(2).run(wrong, parts)[0].sum() == 8


def test_a_rank_that_fails_meets_the_others_with_nan() -> None:
    """The failing rank raises, the root's frame says NaN, and nobody waits for ever."""
    configs = [OperatorConfig("bin", factor=2), OperatorConfig("sum_to_root"), OperatorConfig("abs2")]
    reductions = [pipeline(configs, (4, 4), "complex128") for _ in range(3)]
    arrays = [np.ones((4, 4), complex), np.ones((4, 6), complex), np.ones((4, 4), complex)]
    root, failed, other = Ranks(3).run(reductions, arrays)
    assert np.isnan(root).all()
    assert isinstance(failed, ValueError)
    assert "array must be (4, 4) complex128, got (4, 6) complex128" in str(failed)
    assert other is None


@pytest.mark.parametrize(
    "config",
    [
        OperatorConfig("crop", shape=(4, 4)),
        OperatorConfig("bin", factor=2),
        OperatorConfig("sum_to_root"),
        OperatorConfig("cast", dtype="float32"),
    ],
    ids=lambda config: config.kind,
)
def test_nan_passes_through(config: OperatorConfig) -> None:
    array = np.ones((6, 6))
    array[3, 3] = np.nan
    reduced = pipeline([config], array.shape, array.dtype)(array, ALONE)
    assert reduced is not None
    assert np.isnan(reduced).sum() == 1
    assert np.isnan(Abs2()(array * 1j, ALONE)).any()


kinds = st.one_of(
    st.builds(lambda n: OperatorConfig("crop", shape=tuple(n)), st.lists(st.integers(1, 6), min_size=1, max_size=4)),
    st.builds(lambda n: OperatorConfig("bin", factor=n), st.integers(1, 3)),
    st.builds(lambda n: OperatorConfig("bin", factor=tuple(n)), st.lists(st.integers(1, 3), min_size=1, max_size=4)),
    st.builds(lambda name: OperatorConfig("cast", dtype=name), st.sampled_from([*REALS, *COMPLEX, *INTEGERS])),
    st.sampled_from([OperatorConfig("sum_to_root"), OperatorConfig("abs2")]),
)


@given(
    shape=array_shapes(min_dims=1, max_dims=4, max_side=12),
    dtype=st.sampled_from([*REALS, *COMPLEX, *INTEGERS, "bool", "float16"]),
    configs=st.lists(kinds, max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_what_is_declared_is_delivered(shape: Shape, dtype: str, configs: list[OperatorConfig]) -> None:
    """Any operators on any array: refused before the first step, or as declared; the input stays as it was."""
    try:
        reduce = pipeline(configs, shape, dtype)
    except ValueError:
        return
    array = random_array(shape, dtype)
    before = array.copy()
    first = reduce(array, ALONE)
    assert first is not None
    assert (first.shape, first.dtype) == (reduce.shape, reduce.dtype)
    kept = first.copy()
    again = reduce(array, ALONE)
    assert again is not None
    np.testing.assert_array_equal(again, kept)
    np.testing.assert_array_equal(array, before)


def test_memory_is_allocated_once() -> None:
    configs = [OperatorConfig("abs2"), OperatorConfig("bin", factor=2), OperatorConfig("cast", dtype="float32")]
    reduce = pipeline(configs, (4, 4), complex)
    first = reduce(random_array((4, 4), "complex128"), ALONE)
    second = reduce(random_array((4, 4), "complex128", 1), ALONE)
    assert first is second


def test_no_operators_deliver_what_comes_in() -> None:
    array = random_array((3, 4), "int32")
    nothing = pipeline([], array.shape, array.dtype)
    assert nothing(array, ALONE) is array
    assert not nothing.collective


class Doubled(Operator):
    """A user's own, with an option."""

    def __init__(self, times: float = 2.0) -> None:
        self.times = times

    def output(self, shape: Shape, dtype: DType) -> tuple[Shape, DType]:
        return shape, dtype

    def __call__(self, array: Array, group: Any) -> Array:
        return array * self.times


class Untrue(Doubled):
    """Delivers less than it declares."""

    def __call__(self, array: Array, group: Any) -> Array:
        return array[1:]


class Absent(Doubled):
    """Delivers nothing, though it is not collective."""

    def __call__(self, array: Array, group: Any) -> Any:
        return None


class Plain:
    """No operator at all."""


OWN = f"{__name__}:Doubled"


def test_a_user_s_own_operator_by_module_and_object() -> None:
    reduce = pipeline([OperatorConfig(OWN, options={"times": 3.0})], (2,), float)
    np.testing.assert_array_equal(reduce(np.array([1.0, 2.0]), ALONE), [3.0, 6.0])


def test_a_user_s_own_operator_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "doubled"

        @staticmethod
        def load() -> type[Operator]:
            return Doubled

    monkeypatch.setattr("inference_insitu.reduction.operator_config.entry_points", lambda group: [Point])
    assert isinstance(OperatorConfig("doubled").build(), Doubled)
    with pytest.raises(ValueError, match="did you mean 'doubled'"):
        OperatorConfig("doubled2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Untrue", r"operators\[0\] must deliver \(3,\) float64, got \(2,\) float64"),
        ("Absent", r"operators\[0\] must deliver \(3,\) float64, got nothing"),
    ],
)
def test_a_user_s_own_operator_is_held_to_its_word(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline([OperatorConfig(f"{__name__}:{name}")], (3,), float)(np.ones(3), ALONE)


@dataclass(frozen=True)
class Stream:
    operators: tuple[OperatorConfig, ...] = ()


def test_operators_are_read_from_a_configuration_and_read_back() -> None:
    operators = [
        {"kind": "crop", "shape": [24, 24, 24]},
        {"kind": "bin", "factor": 2},
        {"kind": "bin", "factor": [1, 2, 2]},
        {"kind": "sum_to_root"},
        {"kind": "abs2"},
        {"kind": "cast", "dtype": "float32"},
        {"kind": OWN, "options": {"times": 4.0}},
    ]
    stream = read_object(Stream, {"operators": operators}, origin="test")
    assert stream.operators[0] == OperatorConfig("crop", shape=(24, 24, 24))
    assert stream.operators[2].factor == (1, 2, 2)
    assert read_object(Stream, to_dict(stream), origin="test") == stream
    reduce = pipeline(stream.operators, (32, 33, 34), "complex128")
    assert (reduce.shape, reduce.dtype) == ((12, 6, 6), np.float32)
    with pytest.raises(ValueError, match="did you mean 'sum_to_root'"):
        read_object(Stream, {"operators": [{"kind": "sum_to_rot"}]}, origin="test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "bim"}, "kind must be the name of an operator or module:object, got 'bim'; did you mean 'bin'?"),
        ({"kind": "zzz"}, "kind must be the name of an operator or module:object, got 'zzz'; known: crop, bin"),
        ({"kind": "crop"}, "crop must have the option shape, got no options"),
        ({"kind": "crop", "factor": 2}, "crop must have the option shape, got the option factor"),
        ({"kind": "abs2", "dtype": "float32"}, "abs2 must have no options, got the option dtype"),
        (
            {"kind": "bin", "factor": 2, "options": {"a": 1}},
            "bin must have the option factor, got the option factor, a",
        ),
        ({"kind": "crop", "shape": (4, 0)}, "crop: shape must hold lengths of at least 1, got (4, 0)"),
        ({"kind": "bin", "factor": 0}, "bin: factor must be at least 1 along each axis, got 0"),
        ({"kind": "bin", "factor": ()}, "bin: factor must be at least 1 along each axis, got ()"),
        ({"kind": "cast", "dtype": "flout32"}, "cast: dtype must be a type of numbers such as float32, got 'flout32'"),
        ({"kind": "cast", "dtype": "str"}, "cast: dtype must be a type of numbers such as float32, got 'str'"),
    ],
    ids=str,
)
def test_a_bad_operator_is_refused_where_it_is_configured(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        OperatorConfig(**options)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("no_such_module:thing", {}, "kind must name an importable module:object"),
        (f"{__name__}:nothing", {}, "kind must name an importable module:object"),
        (f"{__name__}:REALS", {}, "kind must be an operator's class"),
        (f"{__name__}:Plain", {}, "kind must derive from inference_insitu.reduction.operators.Operator"),
        (OWN, {"wrong": 1}, "options must be arguments of"),
    ],
    ids=str,
)
def test_a_bad_operator_of_a_user_is_refused_when_it_is_built(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OperatorConfig(kind, options=options).build()


SUM = OperatorConfig("sum_to_root")


@pytest.mark.parametrize(
    ("configs", "shape", "dtype", "message"),
    [
        ([OperatorConfig("crop", shape=(5, 5))], (4, 6), float, "operators[0]: crop: shape must lie within (4, 6)"),
        ([OperatorConfig("crop", shape=(5, 5))], (9,), float, "operators[0]: crop: shape must lie within (9,)"),
        (
            [OperatorConfig("crop", shape=(25, 24)), OperatorConfig("bin", factor=2)],
            (32, 32),
            float,
            "[1]: bin: factor must divide the shape (25, 24), got 2; crop to (24, 24) first or publish (26, 24)",
        ),
        (
            [OperatorConfig("bin", factor=4)],
            (3, 8),
            float,
            "factor must divide the shape (3, 8), got 4; publish (4, 8)",
        ),
        ([OperatorConfig("bin", factor=(2, 2))], (4,), float, "bin: factor must hold at most 1 numbers"),
        ([OperatorConfig("cast", dtype="float32")], (4,), complex, "got float32; abs2 makes it real"),
        ([OperatorConfig("cast", dtype="uint16")], (4,), float, "got uint16; it would not hold all values"),
        ([SUM], (4,), np.uint16, "a collective operator's dtype must be able to say NaN"),
        ([SUM], (4,), np.float16, "sum_to_root: dtype must be one of float32, float64, complex64, complex128"),
        ([SUM], (4,), ">f8", "sum_to_root: dtype must be one of"),
        ([SUM, SUM], (4,), float, "operators must hold one collective operator at most, got operators[0, 1]"),
        ([], (4,), "U3", "dtype must be a type of numbers, got <U3"),
        ([], (4, 0), float, "shape must hold lengths of at least 1, got (4, 0)"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_before_the_first_step(
    configs: list[OperatorConfig], shape: Shape, dtype: Any, message: str
) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        pipeline(configs, shape, dtype)
    assert message in str(refused.value)


def test_what_a_refusal_names_works() -> None:
    """Both ways out that the message of an indivisible bin offers."""
    cropped = [OperatorConfig("crop", shape=(24, 24)), OperatorConfig("bin", factor=2)]
    assert pipeline(cropped, (25, 24), float).shape == (12, 12)
    assert pipeline([OperatorConfig("bin", factor=2)], (26, 24), float).shape == (13, 12)


def test_a_failure_without_a_meeting_is_the_caller_s() -> None:
    reduce = Pipeline([Bin(2)], (4,), np.dtype(float))
    with pytest.raises(ValueError, match=r"array must be \(4,\) float64, got \(4,\) float32"):
        reduce(np.ones(4, np.float32), ALONE)


def test_sum_to_root_packs_what_is_not_contiguous() -> None:
    array = random_array((4, 6), "float64")[:, ::2]
    total = SumToRoot()(array, ALONE)
    assert total is not None
    assert total.flags.c_contiguous
    np.testing.assert_array_equal(total, array)
