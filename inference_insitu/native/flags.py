"""How a C or Fortran program is built with the coupling.

    python -m inference_insitu.native.flags --cflags --source --ldflags     the shim compiled into the program
    python -m inference_insitu.native.flags --build DIR                     a shared library, and how to link it

Prints one line of words for the compiler. ``--fortran`` is the source of the Fortran module.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from cdi.errors import RunError
from inference_insitu.doctor.compilers import shared_libpython

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "cdi_couple.c"
FORTRAN_SOURCE = FOLDER / "cdi_couple.f90"
LIBRARY = "libcdi_couple.so"
COMPILE_TIMEOUT_S = 300.0


def cflags() -> list[str]:
    """Where the headers are, and the Python that the program will hold unless ``CDI_PYTHON`` names another."""
    return [
        f"-I{_word(FOLDER)}",
        f"-I{_word(sysconfig.get_paths()['include'])}",
        f"-DCDI_PYTHON_DEFAULT={_word(sys.executable)}",
    ]


def ldflags() -> list[str]:
    """Python's shared library; where it has none, all of its static one, for what extension modules will ask of it."""
    shared = shared_libpython()
    if shared is not None:
        return [_word(shared), f"-Wl,-rpath,{shared.parent}", "-ldl", "-lm"]
    static = _static_libpython()
    system = " ".join(str(sysconfig.get_config_var(name) or "") for name in ("LIBS", "SYSLIBS"))
    return ["-Wl,--whole-archive", _word(static), "-Wl,--no-whole-archive", "-rdynamic", *shlex.split(system)]


def build(folder: Path, compiler: Sequence[str]) -> list[str]:
    """Compile ``folder/libcdi_couple.so``; the words that link a program with it.

    Raises
    ------
    RunError
        If the compiler fails.
    ValueError
        If Python has no shared library.
    """
    if shared_libpython() is None:
        raise ValueError(
            "python must have a shared library for --build, got one without; compile the source into your program "
            "(--cflags --source --ldflags), or use a Python built with --enable-shared"
        )
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-std=c11", "-O2", "-fPIC", "-shared"]
    command = [*compiler, *options, *cflags(), str(SOURCE), *ldflags(), "-o", str(folder / LIBRARY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
    if done.returncode:
        raise RunError(f"{' '.join(compiler)} does not compile {SOURCE.name}:\n{done.stderr.strip()}")
    at = _word(folder.absolute())
    return [f"-L{at}", "-lcdi_couple", f"-Wl,-rpath,{at}"]


def mpi_compiler() -> list[str]:
    """The MPI library's C compiler: ``MPICC``, else the one beside this Python, else the one on PATH.

    Raises
    ------
    ValueError
        If there is none.
    """
    named = os.environ.get("MPICC")
    if named:
        return shlex.split(named)
    beside = Path(sys.executable).parent / "mpicc"
    found = str(beside) if beside.is_file() else shutil.which("mpicc")
    if found is None:
        raise ValueError("mpicc must be beside python, on PATH or named in MPICC, got none")
    return [found]


def _static_libpython() -> Path:
    found = Path(str(sysconfig.get_config_var("LIBPL")), str(sysconfig.get_config_var("LIBRARY")))
    if not found.is_file():
        raise ValueError(f"python must have a library to link with, got neither a shared one nor {found}")
    return found


def _word(path: str | Path) -> str:
    """``path``, which shells and makefiles will split at blanks."""
    if len(str(path).split()) != 1:
        raise ValueError(f"path must be without blanks, got {str(path)!r}")
    return str(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cflags", action="store_true", help="to compile the program and the source")
    parser.add_argument("--source", action="store_true", help="the source to compile with the program")
    parser.add_argument("--fortran", action="store_true", help="the source of the Fortran module")
    parser.add_argument("--ldflags", action="store_true", help="to link where the source was compiled in")
    parser.add_argument("--build", type=Path, metavar="DIR", help="compile the shared library, print how to link it")
    given = parser.parse_args(arguments)
    words: list[str] = []
    try:
        words += cflags() if given.cflags else []
        words += [_word(FORTRAN_SOURCE)] if given.fortran else []
        words += [_word(SOURCE)] if given.source else []
        words += ldflags() if given.ldflags else []
        words += build(given.build, mpi_compiler()) if given.build else []
    except (ValueError, OSError, RunError, subprocess.TimeoutExpired) as error:
        print(f"cdi: {error}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    if not words:
        parser.error("nothing asked for: give --cflags, --source, --fortran, --ldflags or --build DIR")
    print(*words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
