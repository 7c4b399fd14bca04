"""Whether an MPI launcher started this process, by the environment alone, and what it leaves there. Free of MPI."""

import os

TERMINAL_VARIABLE = "CDI_INSITU_TERMINAL"
"""Set for the ranks when the launcher's own stderr is a terminal: theirs is always a pipe."""
INTERRUPTED = 130
"""Exit code of what SIGINT ended, as shells count."""

_LAUNCHER_PREFIXES = ("PMI_", "PMIX_", "OMPI_", "HYDRA_", "MPI_", "PRTE_", "PALS_")
_JOB_PREFIXES = ("PMI_", "PMIX_", "OMPI_COMM_WORLD_", "OMPI_UNIVERSE_", "OMPI_FIRST_", "OMPI_APP_", "MPI_LOCAL")
_SETTINGS_PREFIX = "PMIX_MCA_"
_SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
_RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK")


def launched_size() -> int | None:
    """Number of ranks that a launcher says it started, or None where there is no launcher."""
    return next((int(os.environ[name]) for name in _SIZE_VARIABLES if os.environ.get(name, "").isdigit()), None)


def launched_rank() -> int:
    """This process's rank as the launcher names it; 0 where there is no launcher."""
    return next((int(os.environ[name]) for name in _RANK_VARIABLES if os.environ.get(name, "").isdigit()), 0)


def environment_without_launcher(*, keep_settings: bool = False) -> dict[str, str]:
    """This process's environment, without what would make a child believe that a launcher started it as a rank.

    With ``keep_settings`` what a user set for MPI libraries stays: for a child that launches ranks itself.
    """
    if keep_settings:
        return {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_JOB_PREFIXES) or name.startswith(_SETTINGS_PREFIX)
        }
    return {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHER_PREFIXES)}


def share_cores() -> None:
    """Make MPICH give up a core while it waits, where this node has more ranks than cores.

    Its ranks spin in every wait, which starves the one they wait for: 2900 atoms on three ranks
    and two cores took 28 to 47 ms a step, and 8 to 10 ms with these settings (which cost nothing
    measurable where each rank has a core). To be called before MPI starts; a user's own setting stays.
    """
    ranks_here = int(os.environ.get("MPI_LOCALNRANKS") or launched_size() or 1)
    if ranks_here > available_cores():
        os.environ.setdefault("MPIR_CVAR_CH4_PROGRESS_THROTTLE", "1")
        os.environ.setdefault("MPIR_CVAR_CH4_PROGRESS_THROTTLE_NO_PROGRESS_COUNT", "8")


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
