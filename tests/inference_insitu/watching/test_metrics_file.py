"""The metrics file is one that Prometheus reads, whole at any time, and its failure stops nobody."""

import math
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from inference_insitu.watching.metrics import MOST_STREAMS, MOST_VALUES, OTHERS, Metrics
from inference_insitu.watching.metrics_files import read_metrics

Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(text: bytes) -> Samples:
    """Values by name and the values of all labels but ``worker``, as Prometheus' own parser reads them."""
    return {
        (sample.name, tuple(value for name, value in sorted(sample.labels.items()) if name != "worker")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_what_was_counted_is_in_the_file(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics-w0.prom", worker="w0")
    metrics.settled("pattern", "inferred", 0.02, step=10)
    metrics.settled("pattern", "inferred", 0.2, step=30)
    metrics.settled("pattern", "superseded", step=20)
    metrics.batch(2, 0.5)
    metrics.queue(7)
    metrics.restarts(3)
    metrics.said("pattern", {"confidence": 0.75, "count": np.int64(4), "found": True, "class": "screw", "b": [1.0]})
    assert metrics.write(0.0)
    found = samples((tmp_path / "metrics-w0.prom").read_bytes())
    assert found["cdi_frames_total", ("inferred", "pattern")] == 2
    assert found["cdi_frames_total", ("superseded", "pattern")] == 1
    assert found["cdi_latency_seconds_bucket", ("0.025", "pattern")] == 1
    assert found["cdi_latency_seconds_count", ("pattern",)] == 2
    assert found["cdi_latency_seconds_sum", ("pattern",)] == pytest.approx(0.22)
    assert found["cdi_batches_total", ()] == 1
    assert found["cdi_batch_frames_sum", ()] == 2
    assert found["cdi_queue_frames", ()] == 7
    assert found["cdi_last_step", ("pattern",)] == 20
    assert found["cdi_confidence", ("pattern",)] == 0.75
    assert found["cdi_value", ("count", "pattern")] == 4
    assert found["cdi_value", ("found", "pattern")] == 1
    assert found["cdi_worker_restarts_total", ()] == 3
    assert {labels for name, labels in found if name == "cdi_value"} == {("count", "pattern"), ("found", "pattern")}


def test_every_series_names_its_worker_and_none_its_creation(tmp_path: Path) -> None:
    metrics = Metrics(None, worker="w0")
    metrics.settled("pattern", "inferred", 0.02)
    families = list(text_string_to_metric_families(metrics.text().decode()))
    assert all(sample.labels["worker"] == "w0" for family in families for sample in family.samples)
    assert b"_created" not in metrics.text()


def test_hostile_names_come_through_the_parser_unchanged(hostile: str) -> None:
    metrics = Metrics(None, worker=hostile)
    name = hostile + '\n\\"} 1\n'
    metrics.settled(name, "inferred", 0.1)
    metrics.said(name, {name: 1.0})
    metrics.settled("\udcff", "full")
    streams = {
        sample.labels["stream"]
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if family.name == "cdi_frames"
    }
    assert streams == {name, "?"}


def test_the_file_is_written_at_most_once_an_interval_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics-w0.prom"
    metrics = Metrics(path, worker="w0", interval_s=5)
    assert [metrics.write(now) for now in (100.0, 104.9, 105.0, 105.1)] == [True, False, True, False]
    first = path.stat().st_ino
    with path.open("rb") as reader:
        assert metrics.write(105.2, force=True)
        assert reader.read().endswith(b"\n")
    assert path.stat().st_ino != first
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_failure_to_write_is_counted_and_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics(tmp_path / "gone" / "metrics-w0.prom", worker="w0", interval_s=0)
    assert not any(metrics.write(float(now)) for now in range(3))
    assert metrics.failures == 3
    (told,) = capsys.readouterr().err.splitlines()
    assert "metrics are not written" in told


def test_the_number_of_series_is_bounded() -> None:
    metrics = Metrics(None, worker="w0")
    for number in range(MOST_STREAMS + 10):
        metrics.settled(f"stream{number}", "inferred")
    metrics.said("stream0", {f"value{number}": 1.0 for number in range(MOST_VALUES + 10)})
    found = samples(metrics.text())
    assert found["cdi_frames_total", ("inferred", OTHERS)] == 10
    assert len({labels for name, labels in found if name == "cdi_value"}) == MOST_VALUES


def test_numbers_that_are_none_are_passed_over() -> None:
    metrics = Metrics(None, worker="w0")
    metrics.said("s", {"nan": math.nan, "large": 10**400, "none": None, "array": np.zeros(3), "infinite": math.inf})
    metrics.settled("s", "inferred", math.nan)
    found = samples(metrics.text())
    assert not [name for name, _ in found if name in ("cdi_value", "cdi_latency_seconds_sum")]


def test_metrics_read_back(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics-w0.prom", worker="w0")
    metrics.batch(3, 0.5)
    metrics.batch(5, 1.5)
    metrics.queue(2)
    metrics.said("s", {"confidence": 0.5})
    metrics.write(0.0)
    (tmp_path / "metrics-bad.prom").write_bytes(b'cdi_queue{worker="\xff} nothing\n{')
    (tmp_path / "metrics-empty.prom").write_text("")
    (numbers,) = read_metrics(tmp_path)
    assert (numbers.worker, numbers.queue, numbers.batches, numbers.restarts) == ("w0", 2, 2, 0)
    assert (numbers.batch_frames, numbers.batch_seconds) == (4, 1)
    assert numbers.confidence == {"s": 0.5}


@pytest.mark.parametrize("interval_s", [-1.0, math.nan, math.inf])
def test_an_interval_that_is_none_is_refused(interval_s: float) -> None:
    with pytest.raises(ValueError, match="interval_s must be 0 or more, got"):
        Metrics(None, worker="w0", interval_s=interval_s)
