"""A rank's life: agree that all is well, simulate or infer, and at the end report.

The communicator is handed in. Until step 0 every problem is gathered, told once by rank 0, and
all ranks leave together with exit code 2 and no output; after it a failure ends the whole job.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from cdi.config import write_config
from cdi.errors import MissingDependencyError, RunError
from data.molecular_dynamics.potential import find_potential
from inference_insitu import folder, mpi
from inference_insitu.books import percentiles
from inference_insitu.checks import check
from inference_insitu.config import InsituConfig, PatternConfig
from inference_insitu.coupling import Coupler, partial_amplitude
from inference_insitu.lammps_simulation import LammpsCompression, rotation
from inference_insitu.launcher import TERMINAL_VARIABLE, launched_rank, launched_size
from inference_insitu.progress import ProgressLine
from inference_insitu.publisher import Publisher
from inference_insitu.results import ResultsFile, results_name
from inference_insitu.service import Predictor, serve
from inference_insitu.simulation import Timing, TruthWriter, run_coupled

SETUP_TIMEOUT_S = 600.0
"""How long ranks wait for one another's preparation: importing torch from a cold disk takes a while."""
REPORT_TIMEOUT_S = 7200.0

T = TypeVar("T")
PredictorLoader = Callable[[str, int], Predictor]


@dataclass(frozen=True)
class Session:
    """What is run, where it writes, and who loads the network."""

    config: InsituConfig
    output: Path
    overwrite: bool
    load_predictor: PredictorLoader


def run_rank(build: Callable[[], Session], world: Any) -> None:
    """Take part in a coupled run as one rank of ``world``; ``build`` reads what is to be run.

    Raises
    ------
    ValueError
        On rank 0, where a rank found a problem before step 0; the others leave with code 2.
    """
    _check_launcher(world)
    session = _agree(world, lambda: _checked(build(), world.size))
    own, infers = mpi.split(world, session.config.inference.ranks)
    side: _InferenceSide | _SimulationSide = (_InferenceSide if infers else _SimulationSide)(session, world, own)
    _agree(world, side.prepare)
    _agree(world, lambda: _create_output(session) if world.rank == 0 else None)
    if world.rank == 0:
        _announce(session.config, world, side)
    try:
        side.run()
        mpi.wait_for_all(world, timeout_s=REPORT_TIMEOUT_S)
    except KeyboardInterrupt:
        os._exit(130)  # every rank is interrupted at once; the launcher says so
    except BaseException as error:
        kind = "inference" if infers else "simulation"
        mpi.abort(f"rank {world.rank} ({kind}): {error or type(error).__name__}", 1)


def load_predictor(model: str, threads: int) -> Predictor:
    """The trained network by checkpoint name or path. Imports torch."""
    import torch

    from models.predictor import Predictor as TrainedPredictor

    torch.set_num_threads(threads)
    predictor: Predictor = TrainedPredictor.load(model)
    return predictor


class _SimulationSide:
    def __init__(self, session: Session, world: Any, own: Any) -> None:
        self._session, self._world = session, world
        self._group = mpi.MpiGroup(own)

    @property
    def description(self) -> str:
        return (
            f"LAMMPS {self._lammps.version}, {self._lammps.atom_count} atoms of {self._session.config.crystal.element}"
        )

    def prepare(self) -> None:
        """Build and minimise the crystal; the first amplitude also loads the tables it needs."""
        config = self._session.config
        potential = find_potential(config.crystal.potential, config.crystal.element)
        self._lammps = LammpsCompression(config.crystal, config.load, potential, self._group.communicator)
        G = 2 * np.pi / potential.lattice_constant * np.asarray(config.pattern.reflection, np.float64)
        self._coupler = Coupler(
            self._group,
            element=config.crystal.element,
            reflection_vector=rotation(config.crystal.axis) @ G,
            extent_A=2 * config.crystal.radius_A,
            detector=config.pattern,
        )
        self._coupler.intensity(self._lammps.local_positions())

    def run(self) -> None:
        """Simulate; at the root also keep the books and report."""
        config, output = self._session.config, self._session.output
        self._lammps.write_log(output / folder.LOG)
        publisher = self._publisher() if self._group.is_root else None
        with folder.LoadCurve(output / folder.LOAD if self._group.is_root else Path(os.devnull)) as curve:
            timing = run_coupled(
                self._lammps,
                self._coupler,
                publisher,
                steps=config.load.steps,
                coupling=config.coupling,
                on_reading=curve.add,
                on_atoms=TruthWriter(output, self._world.rank) if config.truth.dxa else _ignore,
            )
        timing.added_s = self._group.largest(np.asarray(timing.added_s)).tolist()
        self._lammps.close()
        mpi.wait_for_all(self._group.communicator, timeout_s=SETUP_TIMEOUT_S)
        if publisher is not None:
            self._report(publisher, timing)

    def _publisher(self) -> Publisher:
        config = self._session.config
        simulation_ranks = self._group.communicator.size
        links = [mpi.MpiLink(self._world, simulation_ranks + index) for index in range(config.inference.ranks)]
        publisher = Publisher(links, heartbeat_s=config.coupling.heartbeat_s)
        publisher.connect(timeout_s=config.coupling.drain_timeout_s)
        return publisher

    def _report(self, publisher: Publisher, timing: Timing) -> None:
        from inference_insitu.report import finish_run

        config = self._session.config
        books = publisher.finish(timeout_s=config.coupling.drain_timeout_s)
        summary = books.summary() | {"added_step_time": added_step_time(timing)}
        line, problems = finish_run(self._session.output, config, summary, books.fate, timing)
        print(json.dumps(line), flush=True)
        if problems:
            raise RunError("; ".join(problems))
        if publisher.unanswering:
            raise RunError(
                f"{publisher.unanswering} inference rank(s) did not answer within "
                f"{config.coupling.drain_timeout_s:g} s (coupling.drain_timeout_s); the results so far are kept"
            )
        if books.published and not books.inferred:
            raise RunError(f"no frame was inferred out of {books.published}: {dict(books.dropped)}")


class _InferenceSide:
    def __init__(self, session: Session, world: Any, own: Any) -> None:
        self._session, self._world, self._own = session, world, own

    def prepare(self) -> None:
        """Load the network and run it once, so that a model that does not fit is told before step 0."""
        config = self._session.config
        self._predictor = self._session.load_predictor(config.inference.model, config.inference.threads)
        try:
            self._predictor.predict([_example(config.pattern)])
        except Exception as error:
            raise ValueError(
                f"model {config.inference.model!r} must accept patterns of shape {config.pattern.shape}, got: {error}"
            ) from error

    def run(self) -> None:
        """Answer frames until the end."""
        config = self._session.config
        results = ResultsFile(self._session.output / results_name(self._own.rank))
        progress = ProgressLine(config.load.steps, terminal=os.environ.get(TERMINAL_VARIABLE) == "1")
        serve(
            mpi.MpiLink(self._world, 0),
            self._predictor,
            [results, progress],
            detector=config.pattern,
            silence_timeout_s=config.coupling.silence_timeout_s,
        )


def added_step_time(timing: Timing) -> dict[str, float | None]:
    """What the coupling added to the simulation, in seconds a coupling step and as a fraction of its own time."""
    found = percentiles(timing.added_s, (50, 95, 100))
    return {
        "median_s": found["p50"],
        "p95_s": found["p95"],
        "max_s": found["max"],
        "simulation_s": round(timing.simulation_s, 3),
        "fraction": round(sum(timing.added_s) / timing.simulation_s, 5) if timing.simulation_s else None,
    }


def _checked(session: Session, ranks: int) -> Session:
    check(session.config, session.output, ranks, overwrite=session.overwrite)
    return session


def _agree(world: Any, task: Callable[[], T]) -> T:
    """Do ``task`` on every rank; where one cannot, rank 0 raises its line and all the others leave with it."""
    problem, result = None, None
    try:
        result = task()
    except (ValueError, OSError, MissingDependencyError, RunError) as error:
        problem = str(error) or type(error).__name__
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    try:
        told = mpi.first_problem(world, problem, timeout_s=SETUP_TIMEOUT_S)
    except RunError as error:
        mpi.abort(f"rank {world.rank}: {problem or error}", 1)
    if told is not None:
        raise ValueError(told) if world.rank == 0 else SystemExit(2)
    return cast(T, result)


def _check_launcher(world: Any) -> None:
    launched = launched_size()
    if launched is not None and launched != world.size:
        if launched_rank() != 0:
            raise SystemExit(2)
        raise ValueError(
            f"the launcher and the MPI library must be of one kind: the launcher started {launched} ranks, "
            f"{mpi.library()} sees {world.size}; use the mpiexec beside {sys.executable}"
        )


def _create_output(session: Session) -> None:
    folder.prepare(session.output)
    write_config(session.config, session.output / folder.CONFIG)


def _announce(config: InsituConfig, world: Any, side: Any) -> None:
    inference = config.inference.ranks
    print(
        f"cdi: {world.size} ranks ({world.size - inference} simulation, {inference} inference), {mpi.library()}, "
        f"{side.description}, model {config.inference.model}",
        file=sys.stderr,
        flush=True,
    )


def _example(detector: PatternConfig) -> Any:
    """An exposure of the configured shape: a small perfect crystal's peak."""
    from cdi.detector.counting import photon_counts
    from cdi.grid import QGrid
    from cdi.pattern import Exposure

    grid = QGrid.orthogonal([0, 0, 3.0], [20.0] * 3, detector.oversampling, detector.shape)
    points = np.stack(np.meshgrid(*[np.arange(-2.0, 3.0) * 4] * 3, indexing="ij"), -1).reshape(-1, 3)
    intensity = np.abs(partial_amplitude("Cu", points, grid, energy_keV=9.0)) ** 2
    generator = np.random.default_rng(0)
    return Exposure(photon_counts(intensity, peak_counts=detector.peak_counts, generator=generator), grid)


def _ignore(step: int, positions: Any) -> None:
    """Without DXA nobody wants the atoms."""
