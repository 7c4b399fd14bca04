"""What the simulation does when it is asked to: the same on all ranks, at the same step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from inference_insitu.lammps.folder import snapshot_name
from inference_insitu.lammps.schedule import Schedule
from inference_insitu.steering.commands import Command


class Steered(Protocol):
    """What can be asked of the simulation; every method is collective."""

    def write_snapshot(self, path: Path) -> None:
        """Write all atoms to ``path``."""

    def set_closing_speed(self, speed_A_per_ps: float) -> None:
        """From the present step on the planes close at this speed each."""


class Obedience:
    """Carries commands out.

    Parameters
    ----------
    simulation : Steered
    schedule : told of a new interval.
    output : folder of snapshots.
    """

    def __init__(self, simulation: Steered, schedule: Schedule, output: Path) -> None:
        self._simulation, self._schedule, self._output = simulation, schedule, output
        self.obeyed = 0
        """Commands carried out."""

    def __call__(self, step: int, commands: Sequence[Command]) -> bool:
        """Do what ``commands`` ask for at ``step``; whether the run ends there."""
        for command in commands:
            self.obeyed += 1
            match command.name, command.value:
                case "snapshot", None:
                    self._simulation.write_snapshot(self._output / snapshot_name(step))
                case "interval", float(value):
                    self._schedule.ask(int(value), since=step)
                case "rate", float(value):
                    self._simulation.set_closing_speed(value)
        return any(command.name == "stop" for command in commands)
