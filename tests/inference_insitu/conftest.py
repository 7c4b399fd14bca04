import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the scenarios run as scripts too, and import each other by plain name

from launching import Completed, environment


@pytest.fixture(scope="session")
def mpirun() -> Callable[..., Completed]:
    """Run python with the given arguments on ``ranks`` ranks."""
    pytest.importorskip("mpi4py")
    from inference_insitu.placement.launcher import mpiexec

    def run(ranks: int, *arguments: str | Path, timeout_s: float = 120.0) -> Completed:
        command = [str(mpiexec()), "-n", str(ranks), sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout_s)

    return run


@pytest.fixture
def cdi_here(capfd: pytest.CaptureFixture[str]) -> Callable[..., Completed]:
    """Run ``cdi`` in this process, which has imported what takes a second each time: for what starts nothing."""
    from cdi.main import main

    def run(*arguments: str | Path) -> Completed:
        capfd.readouterr()
        code = main([*map(str, arguments)])
        return Completed(arguments, code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def cdi() -> Callable[..., Completed]:
    """Run ``cdi`` without a launcher of our own."""

    def run(*arguments: str | Path, timeout_s: float = 180.0) -> Completed:
        command = [sys.executable, "-m", "cdi", *map(str, arguments)]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout_s)

    return run
