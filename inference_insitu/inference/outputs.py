"""Where answers and what becomes of frames are told, whoever answered: file, metrics, events, proposals."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_insitu.books.outcomes import INFERRED
from inference_insitu.inference.sinks import AnswersFile
from inference_insitu.ring.region import Region
from inference_insitu.watching.events import EventLog
from inference_insitu.watching.metrics import Metrics

Propose = Callable[[str, str, int, int, Mapping[str, Any]], Sequence[bytes]]
"""Steering: encoded commands for an answer (stream, analysis, rank, step, values), or none."""


@dataclass(frozen=True)
class Told:
    """What answered a frame, and how long it took; ``published_ns`` is ``time.monotonic_ns`` of its publication."""

    stream: str
    rank: int
    step: int
    analysis: str
    model: str
    published_ns: int
    inferred_s: float
    batch: int


@dataclass(frozen=True)
class Outputs:
    """``propose`` is asked about every answer; what it proposes goes into the ring of the answer's rank."""

    answers: AnswersFile
    events: EventLog
    metrics: Metrics
    propose: Propose = lambda stream, analysis, rank, step, values: ()

    def write(self, told: Told, values: Mapping[str, Any]) -> None:
        """Append an answer.

        Raises
        ------
        OSError
            If the disk does not take it.
        """
        self.answers.write(
            {
                "stream": told.stream,
                "rank": told.rank,
                "step": told.step,
                "analysis": told.analysis,
                "values": dict(values),
                "queued_s": round(_since_s(told.published_ns) - told.inferred_s, 6),
                "inferred_s": round(told.inferred_s, 6),
                "batch": told.batch,
                "model": told.model,
            }
        )

    def settled(self, stream: str, rank: int, step: int, outcome: str, detail: str, published_ns: int) -> None:
        """Count how a frame ended, and tell of the first one that ended so."""
        inferred = outcome == INFERRED
        self.metrics.settled(stream, outcome, _since_s(published_ns) if inferred else None, step=step)
        if not inferred:
            self.events.first("drop", outcome, stream=stream, rank=rank, step=step, reason=outcome, detail=detail)

    def consider(
        self, region: Region, stream: str, analysis: str, rank: int, step: int, values: Mapping[str, Any]
    ) -> None:
        """Leave in ``region`` what rules propose on ``values``."""
        for record in self.propose(stream, analysis, rank, step, values):
            if not region.leave(record):
                self.events.first("proposal_lost", stream, stream=stream, step=step)


def _since_s(published_ns: int) -> float:
    return (time.monotonic_ns() - published_ns) * 1e-9
