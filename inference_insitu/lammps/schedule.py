"""At which steps a pattern leaves, and at which the simulation stops to look around."""

from inference_insitu.lammps.config import ScheduleConfig


class Schedule:
    """The configured steps, until an interval is asked for while the run goes on."""

    def __init__(self, config: ScheduleConfig, steps: int) -> None:
        self._config, self.steps = config, steps
        self._asked: tuple[int, int] | None = None

    def ask(self, interval: int, *, since: int) -> None:
        """From the step ``since`` on a pattern every ``interval`` steps, whatever the configuration says."""
        self._asked = (interval, since)

    def due(self, step: int) -> bool:
        """Whether a pattern leaves at ``step``."""
        if self._asked is None:
            return self._config.couples(step)
        interval, since = self._asked
        return (step - since) % interval == 0

    def next_stop(self, step: int) -> int:
        """The next step at which there is something to do: a look (multiples of ``poll_every``), a pattern, the end."""
        last = min((step // self._config.poll_every + 1) * self._config.poll_every, self.steps)
        return next((stop for stop in range(step + 1, last) if self.due(stop)), last)
