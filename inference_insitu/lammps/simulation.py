"""The simulation ranks' loop: advance, and at coupling steps hand a pattern over.

``Simulation`` is what the loop needs of a code; LAMMPS is one of them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference_insitu import dxa
from inference_insitu.config import CouplingConfig
from inference_insitu.coupling import Coupler
from inference_insitu.frame import Frame
from inference_insitu.lammps_simulation import LoadReading
from inference_insitu.publisher import Publisher

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
    truth_s: float = 0.0
    steps: list[int] = field(default_factory=list)
    added_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class TruthWriter:
    """Writes this rank's own atoms at coupling steps, for DXA after the run."""

    folder: Path
    rank: int

    def __call__(self, step: int, positions: Array) -> None:
        """Write ``positions`` (n, 3) Å of ``step``."""
        dxa.write_atoms(self.folder, step, self.rank, positions)


def run_coupled(
    simulation: Simulation,
    coupler: Coupler,
    publisher: Publisher | None,
    *,
    steps: int,
    coupling: CouplingConfig,
    on_reading: Callable[[LoadReading], None],
    on_atoms: Callable[[int, Array], None],
) -> Timing:
    """Run to ``steps``; ``publisher`` is given on the root alone.

    ``on_reading`` sees the load every ``coupling.poll_every`` steps, ``on_atoms`` this rank's
    atoms at each coupling step.
    """
    timing = Timing()
    polled_s = 0.0
    while True:
        step = simulation.step
        reading = simulation.reading()
        on_reading(reading)
        if coupling.couples(step):
            started = time.perf_counter()
            positions = _couple(simulation, coupler, publisher, reading)
            timing.steps.append(step)
            timing.added_s.append(time.perf_counter() - started + polled_s)
            polled_s = 0.0
            started = time.perf_counter()
            on_atoms(step, positions)
            timing.truth_s += time.perf_counter() - started
        if step >= steps:
            return timing
        started = time.perf_counter()
        simulation.advance(next_stop(step, steps, coupling) - step)
        advanced = time.perf_counter()
        timing.simulation_s += advanced - started
        if publisher is not None:
            publisher.poll()
        polled_s += time.perf_counter() - advanced


def next_stop(step: int, steps: int, coupling: CouplingConfig) -> int:
    """The next step at which there is something to do: a poll, a pattern, or the end."""
    last = min(step + coupling.poll_every, steps)
    return next((stop for stop in range(step + 1, last) if coupling.couples(stop)), last)


def _couple(simulation: Simulation, coupler: Coupler, publisher: Publisher | None, reading: LoadReading) -> Array:
    positions = simulation.local_positions()
    pattern = coupler.intensity(positions)
    if publisher is not None and pattern is not None:
        intensity, grid = pattern
        publisher.publish(
            Frame(simulation.step, intensity.astype(np.float32), grid, time_ps=reading.time_ps, load_nN=reading.load_nN)
        )
    return positions
