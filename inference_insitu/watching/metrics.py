"""Metrics of one worker as a text file for Prometheus.

``metrics-<worker>.prom`` is replaced as a whole, so a reader never sees half of it, and at most every
``interval_s``. node_exporter reads it with ``--collector.textfile.directory=<folder of the run>``. There is
no HTTP endpoint: on a shared machine a port is open to everybody, and a file is as closed as its folder.

Every series carries the label ``worker``, so that the files of several workers can be read together.
A restarted worker starts at zero again, as Prometheus expects of a counter.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
    write_to_textfile,
)

PATTERN = "metrics-*.prom"
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MOST_STREAMS = 256
MOST_VALUES = 64
"""Names of values of one stream. Each is a time series that somebody's database keeps."""
OTHERS = "(others)"
CONFIDENCE = "confidence"
_LONGEST_LABEL = 200


class _Registry(CollectorRegistry):
    """Without the ``_created`` series, which the text format has no use for."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """Counts what a worker does and writes it to ``path``; with ``path`` None nothing is written.

    ``failures`` counts the writes that failed; the first is told on the standard error.
    """

    def __init__(self, path: str | Path | None, *, worker: str, interval_s: float = 5.0) -> None:
        if not (math.isfinite(interval_s) and interval_s >= 0):
            raise ValueError(f"interval_s must be 0 or more, got {interval_s}")
        self.path = None if path is None else Path(path)
        self.interval_s = interval_s
        self.failures = 0
        self._worker = _label(worker)
        self._written_s = -math.inf
        self._restarts = 0
        self._streams: dict[str, str] = {}
        self._values: dict[str, dict[str, str]] = {}
        self._registry = registry = _Registry()
        own, stream = ["worker"], ["worker", "stream"]
        self._frames = Counter("cdi_frames", "Frames settled, by outcome", [*stream, "outcome"], registry=registry)
        self._latency = Histogram(
            "cdi_latency_seconds", "Publishing to answer", stream, buckets=LATENCY_BUCKETS_S, registry=registry
        )
        self._batch_size = Histogram(
            "cdi_batch_frames", "Frames of a batch", own, buckets=BATCH_BUCKETS, registry=registry
        )
        self._batch_seconds = Histogram(
            "cdi_batch_seconds", "Duration of a batch", own, buckets=LATENCY_BUCKETS_S, registry=registry
        )
        self._batches = Counter("cdi_batches", "Batches answered", own, registry=registry)
        self._queue = Gauge("cdi_queue_frames", "Frames waiting for the worker", own, registry=registry)
        self._step = Gauge("cdi_last_step", "Newest step settled", stream, registry=registry)
        self._confidence = Gauge("cdi_confidence", "Confidence of the newest answer", stream, registry=registry)
        self._value = Gauge("cdi_value", "Value of the newest answer", [*stream, "name"], registry=registry)
        self._restarted = Counter("cdi_worker_restarts", "Restarts of the worker", own, registry=registry)
        self._time = Gauge("cdi_written_timestamp_seconds", "When this file was written", own, registry=registry)
        for metric in (self._batch_size, self._batch_seconds, self._batches, self._queue, self._restarted):
            metric.labels(self._worker)  # present at zero before the first of its kind

    def settled(self, stream: str, outcome: str, latency_s: float | None = None, *, step: int | None = None) -> None:
        """A frame of ``stream`` met its ``outcome`` (the reason, where it was dropped)."""
        name = self._stream(stream)
        self._frames.labels(self._worker, name, _label(outcome)).inc()
        if latency_s is not None and math.isfinite(latency_s):
            self._latency.labels(self._worker, name).observe(latency_s)
        if step is not None:
            self._step.labels(self._worker, name).set(step)

    def batch(self, size: int, seconds: float) -> None:
        """A batch of ``size`` frames was answered in ``seconds``."""
        self._batches.labels(self._worker).inc()
        self._batch_size.labels(self._worker).observe(size)
        self._batch_seconds.labels(self._worker).observe(seconds)

    def queue(self, depth: int) -> None:
        """``depth`` frames wait."""
        self._queue.labels(self._worker).set(depth)

    def restarts(self, total: int) -> None:
        """The worker has been restarted ``total`` times in this run; a smaller number than before is ignored."""
        if total > self._restarts:
            self._restarted.labels(self._worker).inc(total - self._restarts)
            self._restarts = total

    def said(self, stream: str, values: Mapping[str, Any]) -> None:
        """The newest answer of ``stream``: its numbers become series, ``confidence`` one of its own.

        Text, lists and arrays are passed over, and so are names beyond the first ``MOST_VALUES``.
        """
        name = self._stream(stream)
        known = self._values.setdefault(name, {})
        for key, value in values.items():
            number = _number(value)
            if number is None:
                continue
            if key == CONFIDENCE:
                self._confidence.labels(self._worker, name).set(number)
            elif key in known or len(known) < MOST_VALUES:
                self._value.labels(self._worker, name, known.setdefault(key, _label(key))).set(number)

    def text(self) -> bytes:
        """The file's content."""
        return generate_latest(self._registry)

    def write(self, now: float, *, force: bool = False) -> bool:
        """Write the file where ``interval_s`` has passed since the last time; ``now`` in seconds of any steady clock.

        Returns whether it was written. A failure is counted and does not raise.
        """
        if self.path is None or not (force or now - self._written_s >= self.interval_s):
            return False
        # Also after a failure: a full disk is not asked again with every frame.
        self._written_s = now
        try:
            self._time.labels(self._worker).set_to_current_time()
            write_to_textfile(str(self.path), self._registry)
        except Exception as error:  # metrics that fail must not stop an analysis
            self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        try:
            if self.failures == 1:
                print(f"cdi: metrics are not written: {self.path}: {error}", file=sys.stderr, flush=True)
        except (OSError, ValueError, AttributeError):
            return

    def _stream(self, stream: str) -> str:
        """Label of ``stream``; beyond ``MOST_STREAMS`` all share one."""
        if stream not in self._streams:
            if len(self._streams) >= MOST_STREAMS:
                return OTHERS
            self._streams[stream] = _label(stream)
        return self._streams[stream]


def _label(text: object) -> str:
    """A label that UTF-8 can hold, at most 200 characters."""
    return str(text)[:_LONGEST_LABEL].encode("utf-8", "replace").decode()


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None
    return None
