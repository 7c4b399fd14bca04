"""How many partitions an engine deals with at once, by how far it is behind.

An engine that scales stops with a savepoint and starts from it with another parallelism: its partitions, their offsets
and states are spread anew by the engine itself, and frames wait in the log meanwhile.
"""

from dataclasses import dataclass

from cdi.requirements import require, require_positive


@dataclass(frozen=True)
class ScalingConfig:
    """When the parallelism is doubled or halved.

    Parameters
    ----------
    least, most : bounds of the parallelism; the same number never scales. More than all partitions is of no use.
    behind : it is doubled once so many frames have waited in the log for ``for_s``.
    ahead : it is halved once no more than so many have for as long.
    for_s, pause_s : how long either must hold, and how long after a change nothing changes.
    """

    least: int = 1
    most: int = 1
    behind: int = 100
    ahead: int = 0
    for_s: float = 30.0
    pause_s: float = 120.0

    def __post_init__(self) -> None:
        require(
            1 <= self.least <= self.most <= 256, "least and most", "lie in order in [1, 256]", (self.least, self.most)
        )
        require(0 <= self.ahead < self.behind, "ahead", f"lie in [0, behind) = [0, {self.behind})", self.ahead)
        require(self.for_s >= 0, "for_s", "be at least 0", self.for_s)
        require_positive(self, "pause_s")


class Scaling:
    """Says when the parallelism is to change."""

    def __init__(self, config: ScalingConfig, parallelism: int, now_s: float) -> None:
        self._config = config
        self.parallelism = min(max(parallelism, config.least), config.most)
        self._since_s: float | None = None
        self._direction = 0
        self._changed_s = now_s

    def due(self, waiting: int, now_s: float) -> int | None:
        """The parallelism to change to, where ``waiting`` frames have no answer; None for no change."""
        config = self._config
        direction = int(waiting >= config.behind) - int(waiting <= config.ahead)
        if direction != self._direction:
            self._direction, self._since_s = direction, now_s
        wanted = min(max(self.parallelism * 2 if direction > 0 else self.parallelism // 2, config.least), config.most)
        held = self._since_s is not None and now_s - self._since_s >= config.for_s
        if not direction or not held or wanted == self.parallelism or now_s - self._changed_s < config.pause_s:
            return None
        self.parallelism, self._changed_s, self._since_s = wanted, now_s, now_s
        return wanted
