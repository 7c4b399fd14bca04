"""A rank's life: agree that all is well, attach, simulate, and at the end report.

The communicator is handed in. Until step 0 every problem is gathered, told once by rank 0, and
all ranks leave together with exit code 2 and no output; after it a failure ends the whole job.
Ranks that are given up for inference live within ``attach``.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from cdi.config import write_config
from cdi.errors import RunError
from cdi.launched import INTERRUPTED, launched_rank, launched_size
from inference_insitu.attach import attach
from inference_insitu.books.ledger import percentiles
from inference_insitu.coupling import Coupling
from inference_insitu.lammps import dxa, folder
from inference_insitu.lammps.checks import check
from inference_insitu.lammps.config import InsituConfig
from inference_insitu.lammps.coupled import commands, coupling_config, variables
from inference_insitu.lammps.loop import Hooks, Timing, run_coupled
from inference_insitu.lammps.prepared import Prepared, prepare
from inference_insitu.lammps.schedule import Schedule
from inference_insitu.lammps.steered import Obedience
from inference_insitu.placement import mpi, mpi_parting

if TYPE_CHECKING:
    from mpi4py import MPI

SETUP_TIMEOUT_S = 600.0
"""How long ranks wait for one another's preparation."""
REPORT_TIMEOUT_S = 7200.0

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """What is run, and where it writes."""

    config: InsituConfig
    output: Path
    overwrite: bool = False


def run_rank(build: Callable[[], Session], world: "MPI.Intracomm") -> None:
    """Take part in a coupled run as one rank of ``world``; ``build`` reads what is to be run.

    Raises
    ------
    ValueError
        On rank 0, where a rank found a problem before step 0; the others leave with code 2.
    """
    _check_launcher(world)
    session = _agree(world, lambda: _checked(build(), world.size))
    _agree(world, lambda: _create_output(session) if world.rank == 0 else None)
    try:
        coupling = _attached(session, world)
        prepared = _prepared(session, coupling)
        try:
            _run(session, coupling, prepared)
        except Exception as error:
            coupling.abandon(error)
            raise
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)  # every rank is interrupted at once; the launcher says so
    except _NotBegunError as error:
        raise ValueError(str(error)) if world.rank == 0 else SystemExit(2) from None
    except Exception as error:
        mpi_parting.abort(f"rank {world.rank}: {error or type(error).__name__}", 1)


class _NotBegunError(Exception):
    """A problem before step 0, that all ranks know of."""


def _attached(session: Session, world: "MPI.Intracomm") -> Coupling:
    """The coupling, with inference ready; ranks given up do not return."""
    config = session.config
    try:
        coupling = attach(
            world,
            coupling_config(config),
            variables=variables(config),
            output=session.output,
            commands=commands(config),
        )
    except ValueError as error:
        _discard(session, root=world.rank == 0)
        raise _NotBegunError(str(error)) from error
    # Who wants the simulation whatever becomes of inference says ``continue``.
    wanted = config.on_inference_failure.action != "continue"
    if wanted and mpi.anywhere(coupling.simulation_comm, coupling.inference_failed, timeout_s=SETUP_TIMEOUT_S):
        _leave(session, coupling, "inference cannot start, the lines above say why; nothing was simulated")
    return coupling


def _prepared(session: Session, coupling: Coupling) -> Prepared:
    """Crystal and detector on the simulation's ranks."""
    config, communicator = session.config, coupling.simulation_comm
    try:
        prepared = mpi.agreed(communicator, lambda: prepare(config, communicator), timeout_s=SETUP_TIMEOUT_S)
    except ValueError as error:
        _leave(session, coupling, str(error))
    if communicator.rank == 0:
        lammps = prepared.lammps
        print(
            f"cdi: LAMMPS {lammps.version}, {lammps.atom_count} atoms of {config.crystal.element}, "
            f"model {config.inference.model}",
            file=sys.stderr,
            flush=True,
        )
    return prepared


def _run(session: Session, coupling: Coupling, prepared: Prepared) -> None:
    """Simulate; at the root also report."""
    config, output, lammps = session.config, session.output, prepared.lammps
    communicator = mpi.duplicated(coupling.simulation_comm)  # outlives the coupling
    group, rank = mpi.MpiGroup(communicator), communicator.rank
    lammps.write_log(output / folder.LOG)
    schedule = Schedule(config.coupling, config.load.steps)
    obedience = Obedience(lammps, schedule, output)
    with folder.LoadCurve(output / folder.LOAD if group.is_root else Path(os.devnull)) as curve:
        hooks = Hooks(
            on_reading=curve.add,
            on_atoms=lambda step, positions: (
                dxa.write_atoms(output, step, rank, positions) if config.truth.dxa else None
            ),
            obey=obedience,
            share=group.share,
        )
        timing = run_coupled(lammps, prepared.detector, coupling, schedule, hooks)
    figures = {
        "steps": lammps.step,
        "steered": obedience.obeyed,
        "added_step_time": added_step_time(timing, group.largest(np.asarray(timing.added_s))),
    }
    lammps.close()
    coupling.close()
    if group.is_root:
        _report(session, figures)
    # Asleep: MPI's own end would spin on a core that the analysis can use.
    mpi.wait_for_all(communicator, timeout_s=REPORT_TIMEOUT_S)


def _report(session: Session, figures: dict[str, Any]) -> None:
    from inference_insitu.lammps.report import finish_run

    line, problems = finish_run(session.output, session.config, figures)
    print(json.dumps(line), flush=True)
    if problems:
        raise RunError("; ".join(problems))


def added_step_time(timing: Timing, added_s: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, float | None]:
    """What the coupling added, in seconds a coupling step and as a fraction of the simulation's own time.

    ``added_s`` is the largest over the ranks, for each coupling step.
    """
    found = percentiles(added_s.tolist(), (50, 95, 100))
    return {
        "median_s": found["p50"],
        "p95_s": found["p95"],
        "max_s": found["max"],
        "simulation_s": round(timing.simulation_s, 3),
        "fraction": round(float(added_s.sum()) / timing.simulation_s, 5) if timing.simulation_s else None,
    }


def _checked(session: Session, ranks: int) -> Session:
    check(session.config, session.output, ranks, overwrite=session.overwrite)
    return session


def _agree(world: "MPI.Intracomm", task: Callable[[], T]) -> T:
    """Do ``task`` on every rank; where one cannot, rank 0 raises its line and all the others leave with it."""
    try:
        return mpi.agreed(world, task, timeout_s=SETUP_TIMEOUT_S)
    except RunError as error:
        mpi_parting.abort(f"rank {world.rank}: {error}", 1)
    except ValueError:
        if world.rank == 0:
            raise
        raise SystemExit(2) from None


def _check_launcher(world: "MPI.Intracomm") -> None:
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


def _leave(session: Session, coupling: Coupling, why: str) -> NoReturn:
    """Part from inference before step 0, and leave nothing behind."""
    root = coupling.simulation_comm.rank == 0
    coupling.close()
    _discard(session, root=root)
    raise _NotBegunError(why)


def _discard(session: Session, *, root: bool) -> None:
    if root:
        folder.discard(session.output)
