"""Variables as C and Fortran declare them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_insitu.inference.frame import Variable
from inference_insitu.native.variables import parse_variables
from inference_insitu.ring.layout import DTYPES

SHAPES = st.lists(st.integers(1, 10**9), max_size=5).map(tuple)
NAMES = st.from_regex(r"[A-Za-zµ_][\w./-]{0,20}", fullmatch=True)
VARIABLES = st.dictionaries(
    NAMES, st.builds(Variable, st.sampled_from([dtype.name for dtype in DTYPES]), SHAPES), min_size=1, max_size=4
)


def test_the_form_that_the_header_tells():
    assert parse_variables("temperature: float64 [256, 256]; flags: int32 [10]") == {
        "temperature": Variable("float64", (256, 256)),
        "flags": Variable("int32", (10,)),
    }


def test_blanks_do_not_matter_and_a_number_has_no_lengths():
    assert parse_variables(" energy:float64[] ;\n x :\tint8[ 3,4 ]") == {
        "energy": Variable("float64", ()),
        "x": Variable("int8", (3, 4)),
    }


@given(VARIABLES)
def test_what_is_written_is_read(variables):
    text = "; ".join(f"{name}: {one.dtype} {list(one.shape)}" for name, one in variables.items())
    assert parse_variables(text) == variables


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "got ''"),
        ("a: float64 [2];", "got ''"),
        ("a float64 [2]", "got 'a float64 .2.'"),
        ("a: float64", "got 'a: float64'"),
        ("a: float64 [2] [3]", "must be of the form"),
        ("a: float64 [2], b: float64 [2]", "must be of the form"),
        ("a: flot64 [2]", "type of 'a' .* got 'flot64'; did you mean 'float64'"),
        ("a: object [2]", "got 'object'; "),
        ("a: float64 [2,,3]", "whole numbers parted by commas, got .2,,3."),
        ("a: float64 [2 3]", "whole numbers"),
        ("a: float64 [-2]", "must be of the form"),
        ("a: float64 [2, 0]", "lengths of 'a' must be at least 1, got .2, 0."),
        ("a: float64 [2]; a: float64 [3]", "got 'a' twice"),
    ],
)
def test_another_form_is_refused_in_one_line(text, line):
    with pytest.raises(ValueError, match=line) as told:
        parse_variables(text)
    assert "\n" not in str(told.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ValueError):
        assert parse_variables(text)
