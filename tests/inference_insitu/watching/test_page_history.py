"""The numbers of a run are kept by step, in memory that does not grow with it."""

import json

import pytest

from inference_insitu.watching.answer_history import MOST_NAMES, MOST_STEPS, MOST_STREAMS, AnswerHistory


def answer(step: object, values: object, stream: str = "s") -> str:
    return json.dumps({"stream": stream, "step": step, "rank": 0, "analysis": "a", "values": values})


def test_ranks_of_one_step_are_told_by_mean_and_extremes() -> None:
    history = AnswerHistory()
    for step, value in ((0, 1.0), (0, 3.0), (10, 5.0), (0, 8.0)):
        history.add(answer(step, {"x": value, "class": "edge", "found": True}))
    columns = history.columns("s")
    assert columns["steps"] == [0, 10]
    assert columns["series"] == {"x": [[4, 1, 8], [5, 5, 5]], "found": [[1, 1, 1], [1, 1, 1]]}


@pytest.mark.parametrize("count", [MOST_STEPS, MOST_STEPS + 1, 2 * MOST_STEPS + 1, 5000, 5001])
def test_a_long_run_is_thinned_evenly_and_its_newest_step_is_there(count: int) -> None:
    history = AnswerHistory()
    for step in range(0, 10 * count, 10):
        history.add(answer(step, {"x": step}))
    steps = history.columns("s")["steps"]
    stride = history.columns("s")["stride"]
    assert MOST_STEPS // 2 <= len(steps) <= MOST_STEPS
    assert steps[-1] == 10 * (count - 1)
    assert steps[:-1] == list(range(0, 10 * stride * (len(steps) - 1), 10 * stride))
    assert history.columns("s")["series"]["x"] == [[step, step, step] for step in steps]
    assert history.streams["s"].answers == count


def test_what_is_no_answer_is_counted_and_hostile_numbers_of_names_are_bounded() -> None:
    history = AnswerHistory()
    for line in ("", "{", "[]", "3", answer("x", {}), answer(1, []), '{"stream": "s", "step": Infinity, "values": {}}'):
        history.add(line)
    assert history.unreadable == 7
    history.add('{"stream": "s", "step": 1, "values": {"a": NaN, "b": 1e999, "c": [1], "d": 1}}')
    assert history.columns("s")["series"] == {"d": [[1, 1, 1]]}
    for number in range(2 * MOST_STREAMS):
        history.add(answer(1, {f"x{one}": one for one in range(2 * MOST_NAMES)}, f"stream{number}"))
    assert len(history.streams) == MOST_STREAMS
    assert len(history.columns("stream0")["series"]) == MOST_NAMES
