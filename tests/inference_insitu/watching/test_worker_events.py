"""Each worker's states follow from events that several processes wrote."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest
from synthetic_run import DEATH_S, READY_AGAIN_S, SyntheticRun

import inference_insitu
from inference_insitu.books.outcomes import OUTCOMES
from inference_insitu.watching.events import Event
from inference_insitu.watching.reasons import colour
from inference_insitu.watching.run_files import read_run
from inference_insitu.watching.worker_events import BAD_EVENTS, PLAIN_EVENTS, STATES, is_bad, worker_name, worker_of
from inference_insitu.watching.worker_spans import worker_spans


@pytest.mark.parametrize(
    ("who", "event", "fields", "known", "worker"),
    [
        ("worker2", "worker_ready", {}, set(), "worker2"),
        ("keeper2", "worker_died", {}, {"worker1", "worker2"}, "worker2"),
        ("keeper2", "closed", {}, {"worker2"}, "worker2"),
        ("simulation8", "worker_died", {"worker": 2}, {"worker1", "worker2"}, "worker2"),
        ("simulation0", "worker_died", {}, {"worker0"}, "worker0"),
        ("simulation4", "worker_died", {}, {"worker0", "worker1"}, None),
        ("serving0", "worker_died", {}, {"worker0", "worker1"}, "worker0"),
        ("courier3", "closed", {}, {"worker0"}, None),
        ("keeperx", "closed", {}, {"worker0"}, None),
        ("simulation0", "closed", {}, {"worker0"}, None),
        ("worker0", "drop", {}, {"worker0"}, None),
    ],
)
def test_an_event_tells_of_one_worker(
    who: str, event: str, fields: dict[str, object], known: set[str], worker: str | None
) -> None:
    assert worker_of(Event(0.0, 0.0, who, event, fields), known) == worker


def test_a_number_is_a_worker_s_name() -> None:
    assert [worker_name(name) for name in (3, "3", "worker3", "x")] == ["worker3", "worker3", "worker3", "x"]


def test_states_follow_each_other_without_gaps(run: SyntheticRun) -> None:
    spans = worker_spans(read_run(run.folder))
    assert {span.worker for span in spans} == {"worker0"}
    assert [span.state for span in spans] == ["starting", "ready", "dead", "restarting", "starting", "ready"]
    assert all(one.end_s == pytest.approx(two.start_s) for one, two in pairwise(spans))
    assert (spans[2].start_s, spans[4].end_s) == (pytest.approx(DEATH_S), pytest.approx(READY_AGAIN_S))


def test_the_last_state_of_a_killed_run_lasts_until_its_end(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "run").write(finished=False)
    files = read_run(run.folder)
    assert worker_spans(files)[-1].state == "ready"
    assert worker_spans(files)[-1].end_s == pytest.approx(files.end_s)


def test_events_are_counted_from_the_run_s_start(run: SyntheticRun) -> None:
    files = read_run(run.folder)
    assert [files.seconds(event) for event in files.events if event.event == "worker_died"] == [pytest.approx(DEATH_S)]
    assert files.steered_s == [pytest.approx(30.0)]
    assert files.end_s == pytest.approx(run.steps * run.step_s + 0.4)
    path = run.folder / "events-simulation0.jsonl"
    path.write_text(path.read_text().replace('"event": "attach"', '"event": "attach", "origin_monotonic_s": 4998.0'))
    files = read_run(run.folder)
    assert [files.seconds(event) for event in files.events if event.event == "attach"] == [pytest.approx(2.0)]


def test_every_event_that_the_program_logs_is_said_to_be_bad_or_plain() -> None:
    """A new one must be put into one of the lists, else a failure is shown like good news."""
    logged = set()
    for path in Path(inference_insitu.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(("events.log", "events.first")):
                named = call.args[0]
                names = [named.body, named.orelse] if isinstance(named, ast.IfExp) else [named]
                logged |= {one.value for one in names if isinstance(one, ast.Constant)}
    assert {"attach", "worker_died", "drop", "steering_damaged", "not_ready"} <= logged
    assert logged <= BAD_EVENTS | PLAIN_EVENTS | {"drop"}
    assert set(STATES) <= BAD_EVENTS | PLAIN_EVENTS


@pytest.mark.parametrize(("reason", "bad"), [("superseded", False), ("failed", True), ("unheard of", True)])
def test_a_drop_is_bad_where_no_setting_leads_to_it(reason: str, bad: bool) -> None:
    assert is_bad(Event(0.0, 0.0, "simulation0", "drop", {"reason": reason})) is bad


def test_every_outcome_has_a_colour_of_its_own() -> None:
    assert len({colour(name) for name in (*OUTCOMES, "unheard of")}) == len(OUTCOMES) + 1
