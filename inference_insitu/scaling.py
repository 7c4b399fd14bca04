"""How many share a work, by how much of it waits: tasks of a stream engine, workers beside a simulation."""

from dataclasses import dataclass

from cdi.requirements import require, require_positive


@dataclass(frozen=True)
class ScalingConfig:
    """When their number is doubled or halved.

    Parameters
    ----------
    least, most : bounds of the number; the same number never scales. More than there is to share is of no use.
    behind : it is doubled once so many frames have waited for ``for_s``.
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
    """Says when their number, ``count``, is to change."""

    def __init__(self, config: ScalingConfig, count: int, now_s: float) -> None:
        self._config = config
        self.count = min(max(count, config.least), config.most)
        self._since_s: float | None = None
        self._direction = 0
        self._changed_s = now_s

    def due(self, waiting: int, now_s: float) -> int | None:
        """The number to change to, where ``waiting`` frames have no answer; None for no change."""
        config = self._config
        direction = int(waiting >= config.behind) - int(waiting <= config.ahead)
        if direction != self._direction:
            self._direction, self._since_s = direction, now_s
        wanted = min(max(self.count * 2 if direction > 0 else self.count // 2, config.least), config.most)
        held = self._since_s is not None and now_s - self._since_s >= config.for_s
        if not direction or not held or wanted == self.count or now_s - self._changed_s < config.pause_s:
            return None
        self.changed(wanted, now_s)
        return wanted

    def changed(self, count: int, now_s: float) -> None:
        """There are ``count`` of them from now on."""
        self.count, self._changed_s, self._since_s = count, now_s, now_s
