"""What can be said of a run before it is started: free of MPI, LAMMPS and torch."""

from importlib.util import find_spec
from pathlib import Path

from cdi.errors import MissingDependencyError
from data.molecular_dynamics.potential import find_potential
from inference_insitu import folder
from inference_insitu.config import InsituConfig


def check(config: InsituConfig, output: Path, ranks: int, *, overwrite: bool) -> None:
    """Raise unless ``config`` can run on ``ranks`` ranks and write to ``output``.

    Raises
    ------
    ValueError, MissingDependencyError
        With one line that says what is wrong and how to mend it.
    """
    needed = config.inference.ranks + 1
    if ranks < needed:
        enough = max(4, needed)
        raise ValueError(
            f"ranks must be at least {needed} (one for the simulation, {config.inference.ranks} for the inference), "
            f"got {ranks}: use mpiexec -n {enough} cdi insitu, or cdi insitu run --ranks {enough}"
        )
    _require_package("mpi4py", "md", "a coupled run", "")
    _require_package("lammps", "md", "the simulation", "")
    if config.truth.dxa:
        _require_package("ovito", "dxa", "dislocation analysis", "; or run without it: --no-dxa")
    find_potential(config.crystal.potential, config.crystal.element)
    folder.check_free(output, overwrite=overwrite)


def _require_package(package: str, group: str, purpose: str, otherwise: str) -> None:
    if find_spec(package) is None:
        raise MissingDependencyError(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'crystal-defects-insitu[{group}]'{otherwise}"
        )
