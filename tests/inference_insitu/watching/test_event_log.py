"""Events are whole lines, and a log that cannot be written stops nobody."""

import json
import math
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from inference_insitu.watching.events import EventLog, parse_event, read_events


def test_an_event_reads_back_as_it_was_logged(tmp_path: Path) -> None:
    before = datetime.now(UTC).timestamp()
    with EventLog(tmp_path / "events-keeper0.jsonl", "keeper0") as log:
        log.log("worker_died", code=None, signal="SIGSEGV", seconds=1.5, ranks=[1, 2], machine={"cores": 4})
    (event,) = read_events(tmp_path)
    assert (event.who, event.event, event.source) == ("keeper0", "worker_died", "events-keeper0.jsonl")
    assert event.fields == {
        "code": None, "signal": "SIGSEGV", "seconds": 1.5, "ranks": [1, 2], "machine": {"cores": 4}
    }  # fmt: skip
    assert before - 1 <= event.time_s <= datetime.now(UTC).timestamp() + 1
    assert math.isfinite(event.monotonic_s)


def test_events_of_all_files_come_by_time(tmp_path: Path) -> None:
    first, second = EventLog(tmp_path / "events-a0.jsonl", "a"), EventLog(tmp_path / "events-b0.jsonl", "b")
    for number in range(20):
        (first if number % 3 else second).log("tick", number=number)
    assert [event.fields["number"] for event in read_events(tmp_path)] == list(range(20))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        (Path("/a"), "/a"),
        ((1, {2}), [1, [2]]),
        (ValueError("no"), "no"),
        ("\ud800", "\ud800"),
    ],
    ids=str,
)
def test_any_value_becomes_json(value: object, kept: object, tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events-a0.jsonl", "a")
    log.log("value", value=value)
    assert [event.fields["value"] for event in read_events(tmp_path)] == [kept]
    assert log.lost == 0


def test_large_values_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "events-a0.jsonl"
    EventLog(path, "a").log("large", text="x" * 10**6, numbers=np.zeros(10**5), items=list(range(10**5)))
    assert path.stat().st_size < 20_000
    assert len(read_events(tmp_path)) == 1


def test_a_field_with_a_reserved_name_does_not_hide_the_event_s_own(tmp_path: Path) -> None:
    EventLog(tmp_path / "events-a0.jsonl", "a").log("drop", who="me", time="noon")
    (event,) = read_events(tmp_path)
    assert event.who == "a"
    assert event.fields == {"who_": "me", "time_": "noon"}


def test_a_line_cut_off_and_lines_that_are_no_event_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events-a0.jsonl"
    EventLog(path, "a").log("one")
    with path.open("a") as file:
        file.write('[]\n\nnot json\n{"event": "no time"}\n{"time": "2026-01-01T00:00:00", "event": "na')
    (tmp_path / "events-b0.jsonl").write_bytes(b"\xff\x00\n")
    assert [event.event for event in read_events(tmp_path)] == ["one"]


def test_an_empty_folder_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path) == []


def test_threads_and_other_writers_do_not_break_lines(tmp_path: Path) -> None:
    path = tmp_path / "events-a0.jsonl"
    logs = [EventLog(path, f"a{number}") for number in range(4)]
    threads = [
        threading.Thread(target=lambda log: [log.log("tick", text="x" * 3000) for _ in range(50)], args=(log,))
        for log in logs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_counted_and_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    log = EventLog("/dev/full", "keeper0")
    for _ in range(3):
        log.log("tick")
    assert log.lost == 3
    (told,) = capsys.readouterr().err.splitlines()
    assert "events of keeper0 are lost: /dev/full" in told


def test_a_folder_that_is_not_there_does_not_raise_and_may_come_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = EventLog(tmp_path / "later" / "events-a0.jsonl", "a")
    log.log("lost")
    (tmp_path / "later").mkdir()
    log.log("kept")
    assert log.lost == 1
    assert [event.event for event in read_events(tmp_path / "later")] == ["kept"]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_half_written_line_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "events-a0.jsonl", "a")
    log.log("one")
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        log.log("half")
    log.log("two")
    assert log.lost == 1
    assert [event.event for event in read_events(tmp_path)] == ["one", "two"]


def test_a_value_that_cannot_be_told_costs_its_event_alone(tmp_path: Path) -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("no")

    log = EventLog(tmp_path / "events-a0.jsonl", "a")
    log.log("mute", value=Mute())
    log.log("kept")
    assert [event.event for event in read_events(tmp_path)] == ["kept"]


def test_only_the_first_of_a_kind_is_logged(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events-a0.jsonl", "a")
    for reason in ("full", "late", "full", "full"):
        log.first("drop", reason, reason=reason)
    assert [event.fields["reason"] for event in read_events(tmp_path)] == ["full", "late"]


def test_a_log_without_a_path_keeps_nothing() -> None:
    with EventLog(None, "a") as log:
        log.log("nothing")
    assert log.lost == 0


def test_time_without_a_zone_is_utc() -> None:
    event = parse_event('{"time": "2026-01-01T00:00:00", "event": "e"}')
    assert event is not None
    assert event.time_s == datetime(2026, 1, 1, tzinfo=UTC).timestamp()
