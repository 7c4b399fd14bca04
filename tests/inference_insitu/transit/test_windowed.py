"""The windowed analysis: its answers depend on what came before, and its state carries all of that."""

import numpy as np
import pytest

from inference_insitu.inference.analysis import build_analysis
from inference_insitu.inference.frame import Frame

OPTIONS = {"plugin": "moments", "of": ["mean", "maximum"], "steps": 3}


def frames(steps, rank=0):
    return [Frame("s", rank, step, np.array([1.0, step, 2.0 * step + rank])) for step in steps]


def test_numbers_of_the_last_steps_stand_beside_each_answer():
    answers = build_analysis("windowed", OPTIONS).answer(frames(range(5)))
    assert [one["window"]["frames"] for one in answers] == [1, 2, 3, 3, 3]
    assert answers[4]["window"]["maximum"] == {"mean": 6.0, "largest": 8.0, "change": 4.0}
    assert answers[4]["maximum"] == 8.0


def test_an_analysis_that_goes_on_from_a_state_answers_as_the_first_would_have():
    first, second = build_analysis("windowed", OPTIONS), build_analysis("windowed", OPTIONS)
    first.answer(frames(range(4)))
    first.answer(frames(range(9), rank=1))  # another rank's window is its own
    second.answer(frames([50, 51]))
    second.install("s", 0, first.state("s", 0))
    assert second.answer(frames([4, 5])) == first.answer(frames([4, 5]))
    second.install("s", 0, b"")
    assert second.answer(frames([6]))[0]["window"]["frames"] == 1


@pytest.mark.parametrize("state", [b"x", b"\x05" + bytes(7) + b"{}...", bytes(8) + b"more", b"\xff" * 40])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(ValueError, match="state must be"):
        build_analysis("windowed", OPTIONS).install("s", 0, state)


def test_a_state_over_other_numbers_is_refused():
    other = build_analysis("windowed", OPTIONS | {"of": ["minimum"]})
    other.answer(frames([1]))
    with pytest.raises(ValueError, match="over mean, maximum, got one over"):
        build_analysis("windowed", OPTIONS).install("s", 0, other.state("s", 0))


def test_an_analysis_without_a_state_takes_none():
    moments = build_analysis("moments", {})
    assert moments.state("s", 0) == b""
    moments.install("s", 0, b"")
    with pytest.raises(ValueError, match="must be empty"):
        moments.install("s", 0, b"x")
