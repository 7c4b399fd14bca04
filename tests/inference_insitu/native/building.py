"""Compiling programs with the coupling, where the machine can."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inference_insitu.doctor.compilers import shared_libpython
from inference_insitu.native import flags

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[2] / "examples" / "coupling"
COMPILE_TIMEOUT_S = 240


def require(*programs: str) -> list[str]:
    """The MPI library's C compiler; skips where it, ``programs`` or a shared libpython are missing."""
    pytest.importorskip("mpi4py")
    if shared_libpython() is None:
        pytest.skip("this Python has no shared library to embed")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    try:
        return flags.mpi_compiler()
    except ValueError as error:
        pytest.skip(str(error))


def run(command: list[str]) -> str:
    """What ``command`` prints; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def example(language: str, folder: Path) -> Path:
    """The stencil in ``language``, built into ``folder`` with its own makefile, as a user does."""
    compiler = require("make", "cc", *(["gfortran"] if language == "fortran" else []))
    # OUT keeps what is built out of the repository.
    values = [f"PYTHON={sys.executable}", f"MPICC={' '.join(compiler)}", f"OUT={folder}", "MPIFC="]
    run(["make", "-s", "-C", str(EXAMPLES / language), *values])
    return folder / "stencil"


def probe(folder: Path) -> Path:
    """``probe.c``, linked with the shared library."""
    compiler = require("cc")
    link = run([sys.executable, "-m", "inference_insitu.native.flags", "--build", str(folder)]).split()
    options = ["-std=gnu11", "-Wall", "-Werror", "-pthread", f"-I{flags.FOLDER}"]
    run([*compiler, *options, str(HERE / "probe.c"), *link, "-o", str(folder / "probe")])
    return folder / "probe"
