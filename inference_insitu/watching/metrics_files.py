"""Reading back what workers wrote in ``metrics-<worker>.prom``."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from inference_insitu.watching.metrics import PATTERN

_GREATEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class WorkerNumbers:
    """The newest metrics of one worker; ``confidence`` by stream."""

    worker: str
    queue: int | None = None
    batches: int = 0
    batch_frames: float | None = None
    """Mean size of a batch."""
    batch_seconds: float | None = None
    """Mean duration of a batch."""
    restarts: int = 0
    confidence: dict[str, float] = field(default_factory=dict)
    written_s: float | None = None
    """Seconds since the epoch."""


def read_metrics(folder: str | Path) -> list[WorkerNumbers]:
    """Numbers of every worker in ``folder`` whose file can be read."""
    return [numbers for path in sorted(Path(folder).glob(PATTERN)) if (numbers := _read(path)) is not None]


def _read(path: Path) -> WorkerNumbers | None:
    try:
        if path.stat().st_size > _GREATEST_BYTES:
            return None
        samples = list(_samples(path.read_text(encoding="utf-8", errors="replace")))
    except (OSError, ValueError, KeyError, IndexError):
        return None
    # A NaN or an infinity is no count; a damaged file must not stop who reads it.
    samples = [sample for sample in samples if math.isfinite(sample[2])]
    single = {name: value for name, labels, value in samples if set(labels) == {"worker"}}
    workers = [labels["worker"] for _, labels, _ in samples if "worker" in labels]
    if not workers:
        return None
    batches = single.get("cdi_batches_total", 0.0)
    queue = single.get("cdi_queue_frames")
    return WorkerNumbers(
        worker=workers[0],
        queue=None if queue is None else int(queue),
        batches=int(batches),
        batch_frames=single.get("cdi_batch_frames_sum", 0.0) / batches if batches else None,
        batch_seconds=single.get("cdi_batch_seconds_sum", 0.0) / batches if batches else None,
        restarts=int(single.get("cdi_worker_restarts_total", 0.0)),
        confidence={labels.get("stream", ""): value for name, labels, value in samples if name == "cdi_confidence"},
        written_s=single.get("cdi_written_timestamp_seconds"),
    )


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, dict(sample.labels), float(sample.value)
