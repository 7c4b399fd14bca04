"""Rules: when results say this, ask the simulation for that. Declared in the configuration, no code of the user's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_insitu.steering.commands import ORIGIN_BYTES, Command, Commands, clipped
from inference_insitu.steering.condition import Condition, UnansweredError


@dataclass(frozen=True)
class RuleConfig:
    """One rule.

    Parameters
    ----------
    when : condition on a result's values, e.g. ``count > 0 and confidence >= 0.9``.
    then : name of the command.
    value : its value, in the command's unit.
    once : fire once in the run, whichever worker sees it first.
    edge : fire when the condition becomes true, not as long as it is. A first result that holds counts as a change.
    hold : the condition must be true of this many consecutive results of one stream, rank and analysis.
    cooldown_steps : after firing, be silent for results less than this many steps later. A change that falls into the
        silence is not made up for.
    analysis, stream : only results of these; empty for any.
    """

    when: str
    then: str
    value: float | None = None
    once: bool = False
    edge: bool = False
    hold: int = 1
    cooldown_steps: int = 0
    analysis: str = ""
    stream: str = ""

    def __post_init__(self) -> None:
        Condition(self.when)
        Command(self.then, self.value)
        if self.hold < 1:
            raise ValueError(f"hold must be at least 1, got {self.hold}")
        if self.cooldown_steps < 0:
            raise ValueError(f"cooldown_steps must be at least 0, got {self.cooldown_steps}")


class Rules:
    """All rules of a run. The same results in the same order give the same commands.

    Parameters
    ----------
    configs : the rules, in the order in which they ask.
    commands : what may be asked for, within which bounds.
    report : told, once for each rule, why a rule could not be asked of a result.

    Raises
    ------
    ValueError
        For a rule whose command is unknown or out of bounds.
    """

    def __init__(
        self,
        configs: Sequence[RuleConfig],
        commands: Commands | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        commands = commands or Commands()
        for number, config in enumerate(configs, 1):
            reason = commands.refusal(Command(config.then, config.value))
            if reason:
                raise ValueError(f"steering.rules: rule {number}: {reason}")
        self._rules = [_Rule(number, config) for number, config in enumerate(configs, 1)]
        self._report = report

    def consider(
        self, values: Mapping[str, Any], *, stream: str, analysis: str, step: int, rank: int = 0
    ) -> list[Command]:
        """The commands that a result asks for.

        Parameters
        ----------
        values : the result, name to number, text, truth value or array; arrays cannot be compared.
        stream, analysis, rank : where it comes from; consecutive means consecutive within these.
        step : the simulation's step that it is of.
        """
        fired = []
        for rule in self._rules:
            if not rule.concerns(stream, analysis):
                continue
            try:
                true = rule.condition.holds(values)
            except UnansweredError as error:
                true = False
                if not rule.reported:
                    rule.reported = True
                    self._report(f"{rule.origin}: {error} (stream {stream!r}, analysis {analysis!r}, step {step})")
            if rule.fires((stream, analysis, rank), step, true=true):
                fired.append(Command(rule.config.then, rule.config.value, step, rule.origin, rule.config.once))
        return fired


class _Rule:
    """A rule and what it has seen."""

    def __init__(self, number: int, config: RuleConfig) -> None:
        self.config = config
        self.condition = Condition(config.when)
        self.origin = clipped(f"rule {number}: {config.when}", ORIGIN_BYTES)
        self.reported = False
        self._streaks: dict[tuple[str, str, int], int] = {}  # results in a row that held, by source
        self._fired_at: int | None = None

    def concerns(self, stream: str, analysis: str) -> bool:
        return self.config.stream in ("", stream) and self.config.analysis in ("", analysis)

    def fires(self, source: tuple[str, str, int], step: int, *, true: bool) -> bool:
        streak = self._streaks[source] = self._streaks.get(source, 0) + 1 if true else 0
        due = streak == self.config.hold if self.config.edge else streak >= self.config.hold
        if not due or self._silent(step):
            return False
        self._fired_at = step
        return True

    def _silent(self, step: int) -> bool:
        if self._fired_at is None:
            return False
        return self.config.once or step - self._fired_at < self.config.cooldown_steps
