"""Which MPI library mpi4py loads, and with which binary interface. Run as a script it is the probe itself."""

import sys
from pathlib import Path
from typing import Any

from inference_insitu.doctor.child import Outcome, probe_command, run
from inference_insitu.doctor.reporting import report, run_probe
from inference_insitu.doctor.verdict import Level, Verdict

NAME = "MPI library"
INSTALL = "pip install 'crystal-defects-insitu[mpi]'"


def library(timeout_s: float) -> Verdict:
    """The library behind ``mpi4py.MPI``, loaded in a child and not initialised."""
    return judge(run(probe_command("library_probe"), timeout_s=timeout_s))


def judge(outcome: Outcome) -> Verdict:
    """The verdict on what the probe said, or on how it ended."""
    said: dict[str, Any] = next(iter(outcome.reports), {})
    if not said:
        slow = f"a first import can be slow: cdi doctor --timeout {2 * outcome.bound_s:g}"
        advice = slow if outcome.hung else INSTALL
        return Verdict(NAME, Level.NO, f"mpi4py does not load: {outcome.ending}", advice, blocking=True)
    if "error" in said:
        if "No module named 'mpi4py'" in said["error"]:
            return Verdict(NAME, Level.NO, "mpi4py is not installed", INSTALL, said, blocking=True)
        advice = f"{INSTALL}; or show the loader the library (module load, LD_LIBRARY_PATH, MPI4PY_LIBMPI)"
        return Verdict(NAME, Level.NO, f"mpi4py finds no MPI library: {said['error']}", advice, said, blocking=True)
    standard = ".".join(str(part) for part in said["standard"])
    finding = f"{said['vendor']} {said['version']}, MPI {standard}, ABI {said['abi']}, mpi4py {said['mpi4py']}"
    if said["path"]:
        finding += f" ({said['path']})"
    return Verdict(NAME, Level.OK, finding, facts=said)


def _probe() -> None:
    import mpi4py

    mpi4py.rc.initialize = False
    from mpi4py import MPI

    vendor, version = MPI.get_vendor()
    report(
        vendor=vendor,
        version=".".join(str(part) for part in version),
        full_version=MPI.Get_library_version().strip(),
        standard=list(MPI.Get_version()),
        abi=_abi(MPI.__file__),
        mpi4py=mpi4py.__version__,
        path=_loaded_library(),
    )


def _abi(extension: str) -> str:
    """mpi4py's wheels name their extension by the ABI, ``MPI.mpich.cpython-…``; a build of one's own has one only."""
    parts = Path(extension).name.split(".")
    return parts[1] if len(parts) > 3 else "as mpi4py was built"


def _loaded_library() -> str:
    """Path of the libmpi in this process; empty where the system does not tell."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return ""
    paths = {line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines() if "/libmpi" in line}
    return next(iter(sorted(paths)), "")


if __name__ == "__main__":
    run_probe(_probe)
    sys.exit(0)
