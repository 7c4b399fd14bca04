"""Answers that a stream engine gave: written, counted and shown to the rules as those of this process are."""

import time
from collections.abc import Mapping
from typing import Any

from inference_insitu.books.outcomes import INFERRED
from inference_insitu.inference.service import Outputs, Propose
from inference_insitu.ring.region import Region
from inference_insitu.transit.log.records import Alert, Answer


class AnswersOfOthers:
    """Takes answers to, and alerts of, frames of the ranks whose rings are ``regions``."""

    def __init__(self, regions: Mapping[int, Region], outputs: Outputs, propose: Propose) -> None:
        self._regions, self._outputs, self._propose = regions, outputs, propose

    def take(self, answer: Answer) -> None:
        """Keep ``answer``, and leave what rules propose on it in the rank's ring.

        Raises
        ------
        OSError
            If the disk does not take it.
        """
        stream, rank, step = answer.stream, answer.rank, answer.step
        latency_s = (time.monotonic_ns() - answer.published_ns) * 1e-9
        inferred = answer.outcome == INFERRED
        self._outputs.metrics.settled(stream, answer.outcome, latency_s if inferred else None, step=step)
        if not inferred:
            self._outputs.events.first(
                "drop", answer.outcome, stream=stream, rank=rank, step=step, reason=answer.outcome, detail=answer.detail
            )
            return
        self._outputs.answers.write(
            {
                "stream": stream,
                "rank": rank,
                "step": step,
                "analysis": answer.analysis,
                "values": dict(answer.values),
                "queued_s": round(latency_s - answer.inferred_s, 6),
                "inferred_s": round(answer.inferred_s, 6),
                "batch": answer.batch,
                "model": answer.model,
            }
        )
        self._outputs.metrics.said(stream, dict(answer.values))
        self._leave(stream, answer.analysis, rank, step, answer.values)

    def heed(self, alert: Alert) -> None:
        """Show ``alert`` to the rules, as an answer of an analysis that has the name of its view."""
        self._outputs.events.log("alert", view=alert.view, stream=alert.stream, step=alert.step, values=alert.values)
        self._leave(alert.stream, alert.view, alert.rank, alert.step, alert.values)

    def _leave(self, stream: str, analysis: str, rank: int, step: int, values: Mapping[str, Any]) -> None:
        """What rules propose goes into the rank's ring."""
        for record in self._propose(stream, analysis, rank, step, values):
            if not self._regions[rank].leave(record):
                self._outputs.events.first("proposal_lost", stream, stream=stream, step=step)
