"""Views as files: what is none is told; rows and alerts go where they belong, alerts once."""

import json

import pytest
from transit_twins import MemoryLog

from inference_insitu.transit.log.codec import decoded
from inference_insitu.transit.log.records import Alert, Answer
from inference_insitu.transit.log.stream_log import ALERTS, Topic
from inference_insitu.transit.results.history import history_rows
from inference_insitu.transit.results.rows import COLUMNS, row
from inference_insitu.transit.results.views import View, ViewRows, read_views, shipped_views


def test_the_shipped_views_are_read_in_their_order():
    assert [(view.name, view.kind) for view in read_views(shipped_views())] == [
        ("usual", "history"),
        ("over_time", "rows"),
        ("unusual", "rows"),
        ("alert", "alerts"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Over.sql", "-- kind: rows\nSELECT 1", "be called like"),
        ("answers.sql", "-- kind: rows\nSELECT 1", "not be that of a table"),
        ("x.sql", "SELECT 1", "first line"),
        ("x.sql", "-- kind: row\nSELECT 1", "history | rows | alerts"),
        ("x.sql", "-- kind: rows\n", "hold one SELECT"),
        ("x.sql", "-- kind: rows\nDROP TABLE x", "hold one SELECT"),
        ("x.sql", "-- kind: rows\nSELECT 1; DROP TABLE x", "hold one SELECT"),
        ("x.sql", "-- kind: rows\nSELECT 1" + " " * (1 << 16) + "+ 1", "at most"),
    ],
)
def test_a_file_that_is_no_view_says_why(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        read_views([str(tmp_path / name)])


def test_two_views_of_one_name_are_refused(tmp_path):
    for name in ("1_x.sql", "2_x.sql"):
        (tmp_path / name).write_text("-- kind: rows\nSELECT 1")
    with pytest.raises(ValueError, match="names of their own"):
        read_views([str(tmp_path / name) for name in ("1_x.sql", "2_x.sql")])


def test_alerts_come_once_to_the_log_and_rows_to_a_file(tmp_path):
    log, view = MemoryLog(), View("alert", "alerts", "SELECT 1")
    told = {"run": "run", "stream": "pattern", "rank": 1, "step": 7, "z": 4.5}
    for _ in range(2):  # a batch that comes again after a death
        ViewRows(view, tmp_path, log).take([told, told | {"step": 3}])
    alerts = [decoded(one) for one in log.read(Topic("run", ALERTS), after=0, count=9)]
    assert alerts == [Alert("run", "pattern", 1, step, "alert", {"z": 4.5}) for step in (7, 3)]
    assert [json.loads(line)["step"] for line in (tmp_path / "views/alert.jsonl").read_text().splitlines()] == [
        7,
        3,
    ] * 2


def test_an_alert_without_its_key_is_told(tmp_path):
    with pytest.raises(ValueError, match="must have run, stream, rank and step, got z"):
        ViewRows(View("alert", "alerts", ""), tmp_path, MemoryLog()).take([{"z": 1.0}])


def test_a_row_has_what_the_frame_says_and_else_what_the_run_says():
    answer = Answer(
        "run", "s", 1, 0, "a", "m", "inferred", {"count": 2, "confidence": "high"}, attributes={"load_nN": 3}
    )
    found = row(answer, {"load_nN": 7.0, "material": "Cu", "temperature_K": 10})
    assert [*found] == [*COLUMNS]
    assert (found["load_nN"], found["material"], found["temperature_K"], found["defects"]) == (3.0, "Cu", 10.0, 2)
    assert found["confidence"] is None  # a word is no number
    assert json.loads(found["answer"]) == {"count": 2, "confidence": "high"}


def test_a_history_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match="history must be a folder"):
        [*history_rows(str(tmp_path / "nowhere"))]
    assert [*history_rows("")] == []
    assert [*history_rows(str(tmp_path))] == []
