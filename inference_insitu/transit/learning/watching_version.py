"""Held-out frames since a version took over: what it answered to them, and what the one before would have.

Of crystals that are never trained on, for a crystal may come again.
"""

from collections.abc import Mapping
from typing import Any

from inference_insitu.books.outcomes import INFERRED
from inference_insitu.transit.learning.config import RuleConfig
from inference_insitu.transit.learning.examples import Example
from inference_insitu.transit.learning.judgement import Compared, compared
from inference_insitu.transit.learning.scoring import NOTHING, Scoring
from inference_insitu.transit.log.records import Answer

MOST_ANSWERS = 4096
"""That wait for their frame to be seen here, and frames for their answer."""

Key = tuple[str, int, int]
"""Stream, rank and step."""


class WatchedVersion:
    """``version`` took over from ``before`` at step ``cut``.

    Attributes
    ----------
    cut : the first step that it answers.
    """

    def __init__(self, version: int, before: int, cut: int, rule: RuleConfig) -> None:
        self.version, self.before, self.cut = version, before, cut
        self._rule = rule
        self._frames: dict[Key, Example] = {}
        self._answers: dict[Key, tuple[str, Mapping[str, Any]]] = {}
        self._pairs: list[tuple[Example, float]] = []
        self._judged = 0

    def see(self, one: Example) -> None:
        """A frame with truth has come."""
        if one.step >= self.cut and len(self._pairs) + len(self._frames) < self._rule.regression_frames:
            self._frames[one.stream, one.rank, one.step] = one

    def hear(self, answer: Answer) -> None:
        """A frame has been answered."""
        if answer.step >= self.cut:
            self._answers[answer.stream, answer.rank, answer.step] = answer.outcome, answer.values
            while len(self._answers) > MOST_ANSWERS:
                self._answers.pop(next(iter(self._answers)))

    def since(self, scoring: Scoring) -> Compared | None:
        """The comparison, where there are frames that it has not been made with; None where there are none.

        Raises
        ------
        ValueError, RunError
            If the version before cannot be loaded.
        """
        for key in self._frames.keys() & self._answers.keys():
            one, (outcome, values) = self._frames.pop(key), self._answers.pop(key)
            self._pairs.append((one, scoring.worth(values, one.truth) if outcome == INFERRED else NOTHING))
        if len(self._pairs) < max(self._rule.least, self._judged + 1):
            return None
        self._judged = len(self._pairs)
        examples = [one for one, _ in self._pairs]
        old = scoring.scores(self.before, examples)
        return compared(old, [new for _, new in self._pairs], [one.group for one in examples], self._rule)
