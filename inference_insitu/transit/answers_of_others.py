"""Answers that a stream engine gave: written, counted and shown to the rules as those of this process are."""

from collections.abc import Mapping
from dataclasses import replace

from inference_insitu.books.outcomes import INFERRED
from inference_insitu.inference.outputs import Outputs, Told
from inference_insitu.ring.region import Region
from inference_insitu.transit.log.records import Alert, Answer


class AnswersOfOthers:
    """Takes answers to, and alerts of, frames of the ranks whose rings are ``regions``."""

    def __init__(self, regions: Mapping[int, Region], outputs: Outputs) -> None:
        self._regions, self._outputs = regions, outputs

    def take(self, answer: Answer) -> Answer:
        """Keep ``answer``; with another outcome where it cannot be kept."""
        stream, rank, step = answer.stream, answer.rank, answer.step
        inferred = answer.outcome == INFERRED
        if inferred:
            told = Told(
                stream, rank, step, answer.analysis, answer.model, answer.published_ns, answer.inferred_s, answer.batch
            )
            try:
                self._outputs.write(told, answer.values)
            except OSError as error:
                inferred, answer = False, replace(answer, outcome="unsaved", detail=str(error), values={})
        self._outputs.settled(stream, rank, step, answer.outcome, answer.detail, answer.published_ns)
        if inferred:
            self._outputs.metrics.said(stream, dict(answer.values))
            self._outputs.consider(self._regions[rank], stream, answer.analysis, rank, step, answer.values)
        return answer

    def heed(self, alert: Alert) -> None:
        """Show ``alert`` to the rules, as an answer of an analysis that has the name of its view."""
        self._outputs.events.log("alert", view=alert.view, stream=alert.stream, step=alert.step, values=alert.values)
        self._outputs.consider(
            self._regions[alert.rank], alert.stream, alert.view, alert.rank, alert.step, alert.values
        )
