"""The simulation ranks' loop: advance, at coupling steps hand a pattern over, and do what is asked for.

``Simulation`` is what the loop needs of a code; LAMMPS is one of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference_insitu.coupling import Coupling
from inference_insitu.lammps.compression import LoadReading
from inference_insitu.lammps.coupled import STREAM
from inference_insitu.lammps.pattern import Detector
from inference_insitu.lammps.schedule import Schedule
from inference_insitu.steering.commands import Command

Array = NDArray[np.float64]


class Simulation(Protocol):
    """A distributed simulation; every method is collective over its ranks."""

    @property
    def step(self) -> int:
        """Time step reached."""

    def advance(self, steps: int) -> None:
        """Integrate ``steps`` time steps."""

    def local_positions(self) -> Array:
        """Positions ``(n_local, 3)`` in Å of this rank's own atoms."""

    def reading(self) -> LoadReading:
        """Load and gap at the present step."""


@dataclass
class Timing:
    """Wall times of this rank in seconds: of the simulation itself, and what each coupling step added."""

    simulation_s: float = 0.0
    added_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Hooks:
    """What else happens: ``on_reading`` sees the load at every stop, ``on_atoms`` this rank's atoms at coupling steps.

    ``obey`` does on all ranks what was asked for at a step, and says whether the run ends there. ``share`` gives the
    root's array to every rank.
    """

    on_reading: Callable[[LoadReading], None]
    on_atoms: Callable[[int, Array], None]
    obey: Callable[[int, Sequence[Command]], bool]
    share: Callable[[Array], Array]


def run_coupled(
    simulation: Simulation, detector: Detector, coupling: Coupling, schedule: Schedule, hooks: Hooks
) -> Timing:
    """Run to the schedule's end, or until a command ends the run."""
    timing = Timing()
    added_s = 0.0
    while True:
        step = simulation.step
        reading = simulation.reading()
        hooks.on_reading(reading)
        started = time.perf_counter()
        positions = _publish(simulation, detector, coupling, hooks, reading) if schedule.due(step) else None
        coupling.end_step(step)
        commands = coupling.poll_steering()
        added_s += time.perf_counter() - started
        if positions is not None:
            timing.added_s.append(added_s)
            added_s = 0.0
            hooks.on_atoms(step, positions)
        if hooks.obey(step, commands) or step >= schedule.steps:
            return timing
        started = time.perf_counter()
        simulation.advance(schedule.next_stop(step) - step)
        timing.simulation_s += time.perf_counter() - started


def _publish(
    simulation: Simulation, detector: Detector, coupling: Coupling, hooks: Hooks, reading: LoadReading
) -> Array:
    positions = simulation.local_positions()
    attributes = detector.attributes() | {"time_ps": reading.time_ps, "load_nN": reading.load_nN}
    coupling.publish(STREAM, detector.partial(positions), reading.step, attributes)
    detector.follow(coupling.reduced(STREAM), hooks.share)
    return positions
