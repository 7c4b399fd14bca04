"""Configuration of steering. What only the simulation knows, its own commands, is checked when it attaches."""

from dataclasses import dataclass

from inference_insitu.steering.commands import CommandSpec
from inference_insitu.steering.rules import RuleConfig


@dataclass(frozen=True)
class SteeringConfig:
    """What results may ask of the simulation, and how.

    Parameters
    ----------
    lag : calls between a proposal and its application; 0 makes every rank wait for all others at every call.
    rules : when to ask for what.
    bounds : minimum and maximum of commands' values, within what the simulation allows.
    replay : path of a ``steering.jsonl``: its commands are applied at its steps, and nothing else.
    timeout_s : the longest wait of a simulation rank for the others, in seconds.
    """

    lag: int = 1
    rules: tuple[RuleConfig, ...] = ()
    bounds: tuple[CommandSpec, ...] = ()
    replay: str | None = None
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.lag <= 1000:
            raise ValueError(f"lag must lie in [0, 1000], got {self.lag}")
        if not 0 < self.timeout_s <= 86400:
            raise ValueError(f"timeout_s must lie in (0, 86400], got {self.timeout_s}")
        if self.replay == "":
            raise ValueError("replay must be the path of a steering log, or null, got ''")
        names = [spec.name for spec in self.bounds]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"bounds must name each command once, got {name!r} twice")
