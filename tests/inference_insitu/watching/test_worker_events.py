"""Each worker's states follow from events that several processes wrote."""

from itertools import pairwise
from pathlib import Path

import pytest
from synthetic_run import DEATH_S, READY_AGAIN_S, SyntheticRun

from inference_insitu.watching.events import Event
from inference_insitu.watching.run_files import read_run
from inference_insitu.watching.worker_events import worker_name, worker_of
from inference_insitu.watching.worker_spans import worker_spans


@pytest.mark.parametrize(
    ("who", "event", "fields", "known", "worker"),
    [
        ("worker2", "worker_ready", {}, set(), "worker2"),
        ("keeper2", "worker_died", {}, {"worker1", "worker2"}, "worker2"),
        ("keeper2", "closed", {}, {"worker2"}, "worker2"),
        ("simulation8", "worker_died", {"worker": 2}, {"worker1", "worker2"}, "worker2"),
        ("simulation0", "worker_died", {}, {"worker0"}, "worker0"),
        ("simulation4", "worker_died", {}, {"worker0", "worker1"}, "worker of simulation4"),
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
