"""Conditions of the configuration, and when a rule fires."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_insitu.steering.commands import Command, Commands, CommandSpec
from inference_insitu.steering.condition import Condition, UnansweredError
from inference_insitu.steering.rules import RuleConfig, Rules

VALUES = {"count": 2, "confidence": 0.95, "class": "edge", "dislocated": True, "lambda": 0.5, "shift": np.float32(-1)}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("count > 0 and confidence >= 0.9", True),
        ("count > 0 and confidence >= 0.99", False),
        ("count > 5 or class == 'edge'", True),
        ("class != 'edge'", False),
        ('class == "edge" and not count == 3', True),
        ("dislocated", True),
        ("not dislocated or count < 1", False),
        ("dislocated == True", True),
        ("0 < count <= 2", True),
        ("0 < count < 2", False),
        ("shift == -1", True),
        ("-count < shift", True),
        ("lambda < 1", True),
        ("count\n  > 1", True),
        ("class == 'the class of not'", False),
        ("count < 1" + "0" * 400, True),
    ],
)
def test_a_condition_says_what_it_says(text, holds):
    assert Condition(text).holds(VALUES) is holds


def test_a_keyword_within_a_string_stays_as_it_is():
    assert Condition("kind == 'class if'").holds({"kind": "class if"})
    assert Condition(r"kind == 'it\'s class'").holds({"kind": "it's class"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "count >",
        "__import__('os').system('true')",
        "open('x') == 1",
        "count.__class__ == 1",
        "values['count'] > 0",
        "__builtins__ == 1",
        "9**9**9**9 > count",
        "'a' * 10**9 == class",
        "count + 1 > 2",
        "count % 2 == 0",
        "~count > 0",
        "count << 100000 > 1",
        "(x for x in y) == 1",
        "[1, 2] == count",
        "{1: 2} == count",
        "(1, 2) == count",
        "count in 'abc'",
        "class is 'edge'",
        "count > 0 if dislocated else count < 0",
        "lambda: 1",
        "lambda x: x > 1",
        "(count := 1) > 0",
        "f'{count}' == '2'",
        "b'edge' == class",
        "count > 1j",
        "count > 1e999",
        "count > ...",
        "1",
        "'edge'",
        "-count",
        "--count > 1",
        "-'edge' == class",
        "not 1",
        "count > 0; stop",
        "count = 1",
        "await count",
        "x == '\\d'",
        "x == '\0'",
        "(" * 250 + "count" + ")" * 245,
        "not " * 120 + "1",
        "count > 0 and " * 50 + "dislocated",
        "x" * 501,
    ],
)
def test_anything_else_is_refused_when_the_configuration_is_read(text):
    with pytest.raises(ValueError, match=r"^when must") as refused:
        RuleConfig(text, "stop")
    assert "\n" not in str(refused.value).replace(text, "")


@given(st.text(alphabet=st.sampled_from("count class'\"()<>=!.[]{}:,-+*/ \\not and or 0159_ef\n"), max_size=60))
@settings(max_examples=500)
def test_any_text_is_a_condition_or_one_valueerror(text):
    try:
        condition = Condition(text)
    except ValueError:
        return
    try:
        condition.holds({"count": 1, "class": "edge"})
    except UnansweredError:
        return


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("cuont > 0", "the result has no value 'cuont'; did you mean 'count'?"),
        ("dislocated or cuont > 0", "no value 'cuont'"),
        ("zzz > 0", "no value 'zzz'; it has: count, confidence"),
        ("count > 'edge'", "a text must be compared with a text"),
        ("class == 1", "a text must be compared with a text"),
        ("class < 'screw'", "texts must be compared with == or !="),
        ("-class == 'edge'", "a minus must stand before a number"),
        ("count", "'count' must be true or false where it stands alone, but is 2"),
        ("lines > 0", "'lines' must be a finite number or a text, but is a list"),
        ("field > 0", "'field' must be a finite number or a text, but is a ndarray"),
        ("broken > 0", "'broken' must be a finite number or a text, but is not finite"),
        ("nothing > 0", "but is a NoneType"),
    ],
)
def test_a_result_that_cannot_answer_says_why(text, line):
    more = {"lines": [1], "field": np.zeros(3), "broken": float("nan"), "nothing": None}
    with pytest.raises(UnansweredError, match=r"(?s).*") as error:
        Condition(text).holds(VALUES | more)
    assert line in str(error.value)


def fired(config, truths, steps=None):
    """Indices of the results at which a rule on ``on`` fires."""
    rules = Rules([config])
    steps = steps or range(len(truths))
    return [
        number
        for number, (true, step) in enumerate(zip(truths, steps, strict=True))
        if rules.consider({"on": true}, stream="s", analysis="a", step=step)
    ]


@given(
    st.lists(st.booleans(), max_size=30),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
    st.integers(0, 5),
)
def test_a_rule_fires_as_its_words_say(truths, hold, edge, once, cooldown_steps):
    """Against the words, naively: the last `hold` results were true, and, for an edge, the one before them was not."""
    config = RuleConfig("on", "snapshot", hold=hold, edge=edge, once=once, cooldown_steps=cooldown_steps)
    expected: list[int] = []
    for now in range(len(truths)):
        first = now - hold + 1
        held = first >= 0 and all(truths[first : now + 1])
        rises = first <= 0 or not truths[first - 1]
        silent = expected and (once or now - expected[-1] < cooldown_steps)
        if held and (rises or not edge) and not silent:
            expected.append(now)
    assert fired(config, truths) == expected


def test_edge_hold_and_cooldown_by_example():
    on, off = True, False
    assert fired(RuleConfig("on", "snapshot", edge=True), [off, on, on, off, on]) == [1, 4]
    assert fired(RuleConfig("on", "snapshot", hold=2), [on, off, on, on, on]) == [3, 4]
    assert fired(RuleConfig("on", "snapshot", cooldown_steps=100), [on] * 4, [0, 50, 99, 100]) == [0, 3]
    assert fired(RuleConfig("on", "snapshot", once=True), [off, on, on, off, on]) == [1]


def test_consecutive_means_of_one_stream_rank_and_analysis():
    rules = Rules([RuleConfig("on", "snapshot", hold=2)])
    sources = [("s", "a", 0), ("t", "a", 0), ("s", "b", 0), ("s", "a", 1), ("s", "a", 0)]
    found = [
        bool(rules.consider({"on": True}, stream=stream, analysis=analysis, step=1, rank=rank))
        for stream, analysis, rank in sources
    ]
    assert found == [False, False, False, False, True]


def test_a_rule_hears_only_the_stream_and_analysis_it_names():
    rules = Rules([RuleConfig("on", "snapshot", stream="s"), RuleConfig("on", "stop", analysis="a")])

    def heard(stream, analysis):
        return [command.name for command in rules.consider({"on": True}, stream=stream, analysis=analysis, step=0)]

    assert heard("s", "b") == ["snapshot"]
    assert heard("t", "a") == ["stop"]
    assert heard("s", "a") == ["snapshot", "stop"]
    assert heard("t", "b") == []


def test_a_command_says_which_rule_asks_and_because_of_which_step():
    rules = Rules([RuleConfig("count > 0", "interval", 10, once=True)])
    (command,) = rules.consider({"count": 1}, stream="s", analysis="a", step=700)
    assert command == Command("interval", 10, 700, "rule 1: count > 0", once=True)
    long = Rules([RuleConfig("count > 0 and " * 30 + "on", "stop")])
    (command,) = long.consider({"count": 1, "on": True}, stream="s", analysis="a", step=1)
    assert command.origin.endswith("…")


def test_a_misspelt_name_never_fires_and_is_reported_once_with_the_nearest():
    said: list[str] = []
    rules = Rules([RuleConfig("cuont > 0", "stop")], report=said.append)
    for step in range(3):
        assert rules.consider({"count": 1}, stream="bragg", analysis="defects", step=step) == []
    assert said == [
        "rule 1: cuont > 0: the result has no value 'cuont'; did you mean 'count'? "
        "(stream 'bragg', analysis 'defects', step 0)"
    ]


def test_a_result_that_cannot_answer_ends_a_row_of_true_ones():
    rules = Rules([RuleConfig("on", "stop", hold=2)])
    answers = [{"on": True}, {}, {"on": True}, {"on": True}]
    found = [bool(rules.consider(values, stream="s", analysis="a", step=0)) for values in answers]
    assert found == [False, False, False, True]


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (RuleConfig("on", "interval", 0), r"steering.rules: rule 2: 'interval' must lie in \[1,"),
        (RuleConfig("on", "interval"), "rule 2: 'interval' must come with a value"),
        (RuleConfig("on", "snapshot", 1), "rule 2: 'snapshot' must come without a value"),
        (RuleConfig("on", "rate", 1), "rule 2: 'rate' must lie in"),
        (RuleConfig("on", "snapshoot"), "rule 2: no command 'snapshoot'; did you mean 'snapshot'"),
    ],
)
def test_a_rule_that_asks_for_what_is_not_allowed_is_refused_before_the_run(config, line):
    with pytest.raises(ValueError, match=line):
        Rules([RuleConfig("on", "stop"), config], Commands(bounds=[CommandSpec("rate", -0.5, 0.5)]))


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"hold": 0}, "hold must be at least 1, got 0"),
        ({"cooldown_steps": -1}, "cooldown_steps must be at least 0, got -1"),
        ({"then": "No"}, "name of a command must match"),
        ({"value": float("inf")}, "value must be finite"),
    ],
)
def test_a_rule_s_fields_are_checked(more, line):
    with pytest.raises(ValueError, match=line):
        RuleConfig(**{"when": "on", "then": "stop"} | more)
