"""Migrations that nobody asks for: rules over what a worker sees of itself."""

from collections.abc import Mapping, Sequence

from inference_insitu.steering.condition import Condition
from inference_insitu.transit.migration.config import MigrationRule
from inference_insitu.transit.migration.protocol import Site


class Rules:
    """Says when a rule has held for long enough."""

    def __init__(self, rules: Sequence[MigrationRule]) -> None:
        self._rules = [(rule, Condition(rule.when)) for rule in rules]
        self._since_s: dict[int, float] = {}
        self._fired_s = float("-inf")

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._rules)

    def fired(self, figures: Mapping[str, float], site: Site, now_s: float) -> MigrationRule | None:
        """The first rule that is due, of those that lead away from ``site``; None for none."""
        for number, (rule, condition) in enumerate(self._rules):
            if rule.to == site or not condition.holds(figures):
                self._since_s.pop(number, None)
                continue
            since_s = self._since_s.setdefault(number, now_s)
            if now_s - since_s >= rule.for_s and now_s - self._fired_s >= rule.pause_s:
                self._fired_s = now_s
                self._since_s.clear()
                return rule
        return None
