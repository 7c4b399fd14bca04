"""In which state each worker was, from when to when."""

from dataclasses import dataclass

from inference_insitu.watching.run_files import RunFiles
from inference_insitu.watching.worker_events import ENDINGS, STATES, worker_of

MOST_WORKERS = 24


@dataclass(frozen=True)
class Span:
    """``worker`` was in ``state`` from ``start_s`` to ``end_s``, seconds since the run's start."""

    worker: str
    state: str
    start_s: float
    end_s: float


def worker_spans(run: RunFiles) -> list[Span]:
    """Spans of the first ``MOST_WORKERS`` workers; the last one of each lasts until the end of the run."""
    spans: list[Span] = []
    current: dict[str, tuple[str, float]] = {}
    known: set[str] = set()
    for event in run.events:
        worker, now_s = worker_of(event, known), run.seconds(event)
        if worker is None or (worker not in known and len(known) >= MOST_WORKERS):
            continue
        known.add(worker)
        if worker in current:
            state, since_s = current.pop(worker)
            spans.append(Span(worker, state, since_s, now_s))
        if event.event not in ENDINGS:
            current[worker] = (STATES[event.event], now_s)
    spans += [Span(worker, state, since_s, max(run.end_s, since_s)) for worker, (state, since_s) in current.items()]
    return spans
