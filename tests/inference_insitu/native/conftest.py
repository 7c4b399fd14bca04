import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from launching import Completed, environment


@pytest.fixture(scope="session")
def mpirun_program() -> Callable[..., Completed]:
    """Run a program that is not Python on ``ranks`` ranks."""
    pytest.importorskip("mpi4py")
    from inference_insitu.placement.launcher import mpiexec

    def run(ranks: int, *command: str | Path, timeout_s: float = 120.0, **variables: str) -> Completed:
        words = [str(mpiexec()), "-n", str(ranks), *map(str, command)]
        return subprocess.run(words, env=environment() | variables, capture_output=True, text=True, timeout=timeout_s)

    return run
