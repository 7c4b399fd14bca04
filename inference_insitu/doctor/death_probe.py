"""Whether a job outlives the death of one of its ranks, by killing one. Run as a script it is a rank.

Three ranks; the last kills itself. The others must go on well after the launcher has buried it, shake hands
over MPI and leave without its finalisation, which can wait for the dead. Whether they are told of the death
(ULFM) is noted.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference_insitu.doctor.child import Outcome, launch_command, run
from inference_insitu.doctor.reporting import leave, report, report_segments, run_probe
from inference_insitu.doctor.verdict import Level, Verdict

if TYPE_CHECKING:
    from mpi4py import MPI

NAME = "death of a rank"
RANKS = 3
ULFM_OPTIONS = ("--with-ft", "ulfm")
AFTER_DEATH_S = 1.5
"""How long the survivors work on: launchers end a job within milliseconds (MPICH) or a second of a death."""
BURIAL_S = 5.0
WORKER_SURVIVES = "analyses run in worker processes, whose deaths any MPI survives"


def death_of_a_rank(launcher: Path, vendor: str, timeout_s: float) -> Verdict:
    """Kill one of three ranks and see what becomes of the others."""
    options = ULFM_OPTIONS if vendor == "Open MPI" else ()
    return judge(run(launch_command(launcher, RANKS, "death_probe", options=options), timeout_s=timeout_s), options)


def judge(outcome: Outcome, options: tuple[str, ...] = ()) -> Verdict:
    """The verdict on what the ranks said before and after the death."""
    started = sum("ready" in said for said in outcome.reports)
    alive = [said for said in outcome.reports if said.get("alive")]
    how = " ".join(("mpiexec", *options))
    facts = {
        "survived": len(alive) == RANKS - 1 if started == RANKS else None,
        "options": list(options),
        "noticed_s": max((said["noticed_s"] or 0.0 for said in alive), default=0.0) or None,
    }
    if started < RANKS:
        why = next((said["error"] for said in outcome.reports if "error" in said), outcome.ending)
        finding = f"could not be tried: {RANKS} ranks do not start with {how}: {why}"
        return Verdict(NAME, Level.WARNING, finding, f"count on the job's end; {WORKER_SURVIVES}", facts)
    if len(alive) == RANKS - 1:
        noticed = facts["noticed_s"]
        told = f"noticed after {noticed:.2f} s" if noticed else "not told to the others"
        advice = f"start runs with {how}" if options else ""
        return Verdict(NAME, Level.OK, f"survived by the other ranks under {how}, {told}", advice, facts)
    finding = f"the other ranks hang under {how}" if outcome.hung else f"{how} ends the whole job"
    advice = f"{WORKER_SURVIVES}; to survive a rank's: Open MPI 5, mpiexec {' '.join(ULFM_OPTIONS)}"
    return Verdict(NAME, Level.NO, finding, WORKER_SURVIVES if options else advice, facts)


def _probe() -> None:
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    world.Set_errhandler(MPI.ERRORS_RETURN)
    if world.size != RANKS:
        raise RuntimeError(f"{RANKS} ranks expected, got {world.size}")
    victim = world.bcast(os.getpid(), root=RANKS - 1)
    report_segments()
    report(ready=world.rank)
    world.Barrier()
    if world.rank == RANKS - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    noticed_s = _live_on(world, victim)
    if not _exchange(world, 1 - world.rank, tag=2):
        raise RuntimeError("no handshake between the survivors")
    report(alive=True, rank=world.rank, noticed_s=noticed_s)
    time.sleep(0.3)  # the other's last message is on its way
    leave()


def _live_on(world: "MPI.Intracomm", victim: int) -> float | None:
    """Drive MPI until well after the burial.

    Returns the seconds until a receive from the dead failed, None if it never did.
    """
    from mpi4py import MPI

    started_s = time.monotonic()
    noticed_s = None
    from_the_dead: Any = None
    try:
        from_the_dead = world.Irecv(bytearray(1), source=RANKS - 1, tag=1)
    except MPI.Exception:
        noticed_s = time.monotonic() - started_s
    end_s = started_s + BURIAL_S + AFTER_DEATH_S
    buried = False
    while time.monotonic() < end_s:
        if not buried and not _exists(victim):
            buried, end_s = True, time.monotonic() + AFTER_DEATH_S
        if noticed_s is None:
            try:
                from_the_dead.Test()
            except MPI.Exception:
                noticed_s = time.monotonic() - started_s
        time.sleep(0.01)
    return noticed_s


def _exchange(world: "MPI.Intracomm", other: int, *, tag: int) -> bool:
    """A byte there and one back, never waiting longer than the burial may take the other."""
    received = bytearray(1)
    pending: list[Any] = [world.Isend(b"x", dest=other, tag=tag), world.Irecv(received, source=other, tag=tag)]
    end_s = time.monotonic() + BURIAL_S + AFTER_DEATH_S
    while pending and time.monotonic() < end_s:
        pending = [request for request in pending if not request.Test()]
        time.sleep(0.001)
    return not pending and received == b"x"


def _exists(process: int) -> bool:
    """Whether the process is there, a zombie included: it is gone once the launcher has taken note."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    run_probe(_probe)
    sys.exit(0)
