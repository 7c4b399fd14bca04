"""A run that was answered in transit for a while: its books are checked to the last frame, its line is drawn."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import SyntheticRun

from inference_insitu.watching.account import account, described
from inference_insitu.watching.figure_over_time import over_time
from inference_insitu.watching.report import render
from inference_insitu.watching.run_files import read_run
from inference_insitu.watching.site_spans import site_spans

FROM_S, TO_S = 27.0, 36.0
LEFT = 3
"""Frames that nobody answered: they lie in the log."""

Row = dict[str, Any]


class MovedRun(SyntheticRun):
    """What was published from ``FROM_S`` to ``TO_S`` was handed over; the last ``LEFT`` of those lie in the log."""

    def write_moved(self) -> "MovedRun":
        self.write()
        books = self.books()
        self.answered: list[Row] = []
        for row in self.rows:
            if row["outcome"] == "inferred" and FROM_S < float(row["published_s"]) < TO_S:
                self.answered.append(dict(row))
                row |= {"outcome": "handed_over", "queued_s": "", "inferred_s": "", "latency_s": ""}
                for part in (books, books["streams"][row["stream"]]):
                    part["inferred"] -= 1
                    part["handed_over"] = part.get("handed_over", 0) + 1
        self.handed_over = len(self.answered)
        del self.answered[-LEFT:]
        self.write_ledgers()
        self.write_books(books)
        self.write_account(self.answered)
        moves: list[tuple[float, str, Row]] = [
            (5.0, "migration", {"phase": "begun", "id": 3, "to": "in_transit"}),
            (6.0, "migration", {"phase": "aborted", "id": 3, "to": "in_transit", "cut": None, "why": "asked for"}),
            (6.1, "migration", {"phase": "caught_up", "frames": 0}),
            (FROM_S - 0.5, "migration", {"phase": "begun", "id": 5, "to": "in_transit"}),
            (FROM_S + 0.5, "migration", {"phase": "committed", "id": 5, "to": "in_transit", "cut": 12, "why": ""}),
            (TO_S - 0.5, "migration", {"phase": "begun", "id": 9, "to": "in_situ"}),
            (TO_S, "migration", {"phase": "committed", "id": 9, "to": "in_situ", "cut": 24, "why": ""}),
            (TO_S + 1.0, "migration", {"phase": "caught_up", "frames": 7}),
            (46.0, "transit_account", {"outcomes": {"inferred": len(self.answered)}, "in_log": LEFT}),
        ]
        self._write_event_file("events-worker0.jsonl", "worker0", moves)
        return self

    def write_account(self, rows: list[Row]) -> None:
        with (self.folder / "transit-0.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


@pytest.fixture
def moved(tmp_path: Path) -> MovedRun:
    return MovedRun(tmp_path / "run", ranks=2).write_moved()


def test_frames_handed_over_are_their_rows_and_those_left_in_the_log(moved: MovedRun) -> None:
    found = account(moved.folder)
    assert found["problems"] == []
    assert found["in_transit"] == {"outcomes": {"inferred": len(moved.answered)}, "in_log": LEFT}
    assert f"handed over {moved.handed_over} = inferred {len(moved.answered)} + in the log {LEFT}" in described(found)


def twice(rows: list[Row]) -> list[Row]:
    return [*rows, rows[0]]


def one_fewer(rows: list[Row]) -> list[Row]:
    return rows[1:]


def a_stranger(rows: list[Row]) -> list[Row]:
    return [*rows, rows[0] | {"step": 10**6}]


def also_in_situ(rows: list[Row]) -> list[Row]:
    return [*rows, rows[0] | {"step": 10}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (twice, "1 rows of transit-*.csv repeat another row"),
        (
            one_fewer,
            f"{LEFT + 1} frames handed over have no row in transit-*.csv, and by the workers' last words {LEFT}",
        ),
        (a_stranger, "1 rows of transit-*.csv are of frames that the ledgers call 'not there'"),
        (also_in_situ, "1 rows of transit-*.csv are of frames that the ledgers call 'inferred'"),
    ],
)
def test_each_thing_that_does_not_add_up_is_said(
    moved: MovedRun, change: Callable[[list[Row]], list[Row]], said: str
) -> None:
    moved.write_account(change(moved.answered))
    assert any(said in line for line in account(moved.folder)["problems"])


def test_the_report_says_it_too(moved: MovedRun) -> None:
    moved.write_account(one_fewer(moved.answered))
    page = render(read_run(moved.folder))
    assert "The books do not balance" in page
    assert f"{LEFT + 1} frames handed over have no row in transit-*.csv" in page


def test_a_run_under_way_misses_nothing(moved: MovedRun) -> None:
    (moved.folder / "books.json").unlink()
    moved.write_account(moved.answered[:-20])
    assert [line for line in account(moved.folder)["problems"] if "handed over" in line] == []


def test_the_time_line_says_who_answered_when(moved: MovedRun) -> None:
    run = read_run(moved.folder)
    spans = [(span.who, span.start_s, span.end_s) for span in site_spans(run)]
    assert [who for who, _, _ in spans] == [
        *("in situ", "migrating, in vain", "in situ", "migrating", "in transit", "migrating", "catching up", "in situ"),
    ]
    assert [start_s for _, start_s, _ in spans] == pytest.approx([0, 5, 6, 26.5, 27.5, 35.5, 36, 37], abs=1e-3)
    assert [start_s for _, start_s, _ in spans[1:]] == [end_s for _, _, end_s in spans[:-1]], "without a gap"
    figure = over_time(run)
    assert "answered" in [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"p50", "in transit p50"} <= {line.get_label() for line in figure.axes[2].get_lines()}


def test_a_run_that_never_moved_has_no_such_bar(tmp_path: Path) -> None:
    run = read_run(SyntheticRun(tmp_path / "run").write().folder)
    assert site_spans(run) == []
    figure = over_time(run)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["worker0"]
    assert not [line for line in figure.axes[2].get_lines() if str(line.get_label()).startswith("in transit")]


def test_damaged_accounts_are_said(moved: MovedRun) -> None:
    path = moved.folder / "transit-0.csv"
    path.write_text(path.read_text() + "no row\n" + json.dumps({"a": 1}))
    problems = account(moved.folder)["problems"]
    assert "transit-0.csv: its last line is cut off" in problems
    assert "transit-0.csv: 1 lines are no row of a ledger" in problems


def test_a_version_that_takes_over_and_another_number_of_workers_are_marked(tmp_path: Path) -> None:
    run = MovedRun(tmp_path / "run", ranks=2).write_moved()
    before = _dashed(run)
    told: list[tuple[float, str, Row]] = [
        (20.0, "version_took_over", {"analysis": "defects", "version": 1, "cut": 30}),
        (25.0, "workers_changed", {"count": 2, "rings": {}, "wish": ""}),
        (26.0, "version_made", {"analysis": "defects", "version": 2}),
    ]
    run._write_event_file("events-learner.jsonl", "learner", told)
    assert _dashed(run) - before == 2 * 4, "on each of the four axes"


def _dashed(run: MovedRun) -> int:
    figure = over_time(read_run(run.folder))
    return sum(
        line.get_linestyle() == "--" and len(line.get_xdata()) == 2 for axis in figure.axes for line in axis.lines
    )
