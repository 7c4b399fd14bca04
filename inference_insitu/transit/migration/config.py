"""When a migration takes place, and how long its parts may take. Free of brokers and engines."""

from dataclasses import dataclass
from typing import Literal

from cdi.requirements import require, require_positive
from inference_insitu.steering.condition import Condition
from inference_insitu.transit.migration.protocol import Site

SiteName = Literal["in_situ", "in_transit"]
"""A ``Site`` as configurations have it."""
FIGURES = ("queue", "oldest_s", "late", "memory_mb", "in_log")
"""What a rule may ask of a worker: frames that wait in its rings and the age of the oldest; frames whose deadline has
passed since it was last asked; its resident memory; frames that lie in the log unanswered."""


@dataclass(frozen=True)
class MigrationRule:
    """Frames are to be answered ``to`` a site once ``when`` has held for ``for_s``; not again within ``pause_s``.

    ``when`` is a condition on ``FIGURES``, as those of steering are: ``queue >= 3 or late > 0``. Any worker may ask;
    where several do, the first request holds.
    """

    when: str
    to: SiteName
    for_s: float = 1.0
    pause_s: float = 10.0

    def __post_init__(self) -> None:
        require(self.to in tuple(Site), "to", f"be one of {', '.join(Site)}", self.to)
        unknown = sorted(Condition(self.when).names - set(FIGURES))
        require(not unknown, "when", f"ask for {', '.join(FIGURES)}", ", ".join(unknown))
        require(self.for_s >= 0, "for_s", "be at least 0", self.for_s)
        require_positive(self, "pause_s")


@dataclass(frozen=True)
class MigrationConfig:
    """How the running query moves.

    Parameters
    ----------
    margin : steps that workers go on beyond the last one they have met before the cut.
    timeout_s : a migration that takes longer is aborted.
    idle_s : how long after the cut a rank that publishes nothing is waited for.
    rules : migrations that nobody needs to ask for.
    """

    margin: int = 2
    timeout_s: float = 300.0
    idle_s: float = 2.0
    rules: tuple[MigrationRule, ...] = ()

    def __post_init__(self) -> None:
        require(0 <= self.margin <= 10**6, "margin", "lie in [0, 1000000]", self.margin)
        require_positive(self, "timeout_s", "idle_s")
