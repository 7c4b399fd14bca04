"""What can be said of a run before it is started: free of MPI, LAMMPS and torch."""

from importlib.util import find_spec
from pathlib import Path

from cdi.errors import MissingDependencyError
from data.molecular_dynamics.potential import find_potential
from inference_insitu.lammps import folder
from inference_insitu.lammps.config import InsituConfig
from inference_insitu.lammps.coupled import check_steering, least_ranks, ranks_given_up
from models.checkpoint import resolve


def check(config: InsituConfig, output: Path, ranks: int, *, overwrite: bool) -> None:
    """Raise unless ``config`` can run on ``ranks`` ranks and write to ``output``.

    Raises
    ------
    ValueError, OSError, MissingDependencyError
        With one line that says what is wrong and how to mend it.
    """
    needed, given_up = least_ranks(config), ranks_given_up(config)
    if ranks < needed:
        enough = max(4, needed)
        raise ValueError(
            f"ranks must be at least {needed} (one for the simulation, {given_up} for the inference), "
            f"got {ranks}: use mpiexec -n {enough} cdi insitu, or cdi insitu run --ranks {enough}"
        )
    _require_package("mpi4py", "md", "a coupled run", "")
    _require_package("lammps", "md", "the simulation", "")
    if config.truth.dxa:
        _require_package("ovito", "dxa", "dislocation analysis", "; or run without it: --no-dxa")
    find_potential(config.crystal.potential, config.crystal.element)
    resolve(config.inference.model)
    check_steering(config)
    folder.check_free(output, overwrite=overwrite)
    log = config.steering.replay
    if log is not None and Path(log).resolve().parent == output.resolve():
        raise ValueError(f"steering.replay must lie outside the output that the run overwrites, got {log}")


def _require_package(package: str, group: str, purpose: str, otherwise: str) -> None:
    found = find_spec(package)
    if found is None or found.origin is None:  # a mere folder of that name is no package
        raise MissingDependencyError(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'crystal-defects-insitu[{group}]'{otherwise}"
        )
