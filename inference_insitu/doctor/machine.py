"""The interpreter, the cores, and what a launcher or batch system has told this process."""

import os
import platform
import sys
from pathlib import Path

from cdi.launched import available_cores
from inference_insitu.doctor.verdict import Level, Verdict

LAUNCHER_VARIABLES = (
    *("PMI_RANK", "PMI_SIZE", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS"),
    *("SLURM_JOB_ID", "SLURM_NNODES", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "SLURM_PROCID", "SLURM_GPUS_ON_NODE"),
    *("PBS_JOBID", "PBS_NODEFILE", "PBS_NP", "PALS_RANKID", "LSB_JOBID", "LSB_DJOB_NUMPROC"),
    *("FLUX_JOB_ID", "FLUX_JOB_SIZE", "COBALT_JOBID"),
)
CGROUP = Path("/sys/fs/cgroup")


def python() -> Verdict:
    """The interpreter that runs the ranks."""
    version, kind = platform.python_version(), platform.python_implementation()
    facts = {"version": version, "implementation": kind, "executable": sys.executable}
    return Verdict("python", Level.OK, f"{kind} {version} ({sys.executable})", facts=facts)


def cores(cgroup: Path = CGROUP) -> Verdict:
    """Cores that this process may run on, by affinity and by the container's quota."""
    count, quota = available_cores(), cpu_quota(cgroup)
    facts = {"affinity": count, "machine": os.cpu_count(), "quota": quota}
    finding = f"{count} of {os.cpu_count()}"
    if quota is not None and quota < count:
        advice = f"start at most {max(1, int(quota))} busy ranks: the container's quota is less than it shows cores"
        return Verdict("cores", Level.WARNING, f"{finding}, held to {quota:g} by the container", advice, facts)
    if count < 2:
        advice = "simulation and inference share it: expect both to slow down"
        return Verdict("cores", Level.WARNING, finding, advice, facts)
    return Verdict("cores", Level.OK, finding, facts=facts)


def cpu_quota(cgroup: Path = CGROUP) -> float | None:
    """CPU time per time that control groups grant (v2, then v1), None where they grant all."""
    try:
        granted, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            granted = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not granted.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(granted) / int(period)


def launcher_variables() -> Verdict:
    """What the environment says of a job that this process is part of."""
    seen = {name: os.environ[name] for name in LAUNCHER_VARIABLES if name in os.environ}
    finding = ", ".join(f"{name}={value}" for name, value in seen.items()) or "none seen"
    return Verdict("launcher variables", Level.OK, finding, facts={"seen": seen})
