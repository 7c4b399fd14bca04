"""The answer of one check: whether it holds, what was found, and what to do. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    NO = "no"


@dataclass(frozen=True)
class Verdict:
    """One line of the doctor's report.

    Parameters
    ----------
    name
        What was asked for, as the table shows it.
    level
        ``ok``, ``warning`` (it works and may hurt) or ``no`` (it is not to be had here).
    finding
        What the trial showed, one line.
    advice
        What to do about it, one line; empty where there is nothing to do.
    facts
        The finding as plain values, for programs.
    blocking
        Whether a coupled run cannot start at all.
    """

    name: str
    level: Level
    finding: str
    advice: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    blocking: bool = False

    @property
    def ok(self) -> bool:
        """Whether a coupled run may count on it."""
        return self.level is Level.OK

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON."""
        return {
            "name": self.name,
            "level": self.level.value,
            "finding": self.finding,
            "advice": self.advice,
            "facts": dict(self.facts),
            "blocking": self.blocking,
        }
