"""Compilers, each tried on a program, and whether a C program can run this very Python inside itself."""

import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from inference_insitu.doctor.child import Outcome, run
from inference_insitu.doctor.verdict import Level, Verdict

C_COMPILERS = ("cc", "gcc", "clang", "icx", "nvc")
FORTRAN_COMPILERS = ("gfortran", "ftn", "ifx", "flang-new", "flang", "nvfortran", "ifort")

C_PROGRAM = "int main(void) { return 0; }\n"
FORTRAN_PROGRAM = "program trial\n  use, intrinsic :: iso_c_binding\n  integer(c_int) :: n\n  n = 0\nend program\n"
EMBEDDING_PROGRAM = """#include <Python.h>
int main(void) {
    Py_Initialize();
    int failed = PyRun_SimpleString("import json");
    return Py_FinalizeEx() || failed;
}
"""


def compilers(timeout_s: float) -> list[Verdict]:
    """A C compiler, a Fortran compiler, and the embedding of Python."""
    c, c_command = _compiler("C compiler", os.environ.get("CC", ""), C_COMPILERS, (C_PROGRAM, ".c"), timeout_s)
    fortran, _ = _compiler(
        "Fortran compiler", os.environ.get("FC", ""), FORTRAN_COMPILERS, (FORTRAN_PROGRAM, ".f90"), timeout_s
    )
    return [c, fortran, embedding(c_command, timeout_s)]


def _compiler(
    name: str, wanted: str, known: Sequence[str], program: tuple[str, str], timeout_s: float
) -> tuple[Verdict, list[str]]:
    """The first of the compilers that is there, tried; with the command that calls it, empty if it is no good."""
    language = name.split()[0]
    candidates = [shlex.split(wanted)] if wanted else [[candidate] for candidate in known]
    command = next((candidate for candidate in candidates if shutil.which(candidate[0])), None)
    if command is None:
        finding = f"none of {', '.join(candidate[0] for candidate in candidates)}"
        package = "gcc" if language == "C" else "gfortran"
        advice = f"to couple a {language} program, install one (apt install {package}, or module load)"
        return Verdict(name, Level.NO, finding, advice, {"command": None}), []
    outcome = build_and_run(command, *program, timeout_s=timeout_s)
    facts = {"command": " ".join(command), "path": shutil.which(command[0])}
    if outcome.code == 0:
        return Verdict(name, Level.OK, f"{facts['path']} builds a program that runs", facts=facts), command
    finding = f"{facts['path']} is there, but a trivial program fails: {outcome.ending}"
    variable = "CC" if language == "C" else "FC"
    return Verdict(name, Level.WARNING, finding, f"mend it, or name another in {variable}", facts), []


def embedding(compiler: Sequence[str], timeout_s: float) -> Verdict:
    """Whether a C program, hence the C interface, can hold this Python."""
    library, header = shared_libpython(), Path(sysconfig.get_paths()["include"]) / "Python.h"
    facts = {"libpython": str(library) if library else None, "header": str(header) if header.is_file() else None}
    name = "libpython"
    another = "use a Python built with --enable-shared (uv python install, conda, or the distribution's python3-dev)"
    if library is None:
        finding = "this Python has no shared library: C and Fortran cannot embed it"
        return Verdict(name, Level.NO, finding, another, facts)
    if not header.is_file():
        return Verdict(name, Level.WARNING, f"{library}, but no {header}", "install python3-dev", facts)
    if not compiler:
        return Verdict(name, Level.WARNING, f"{library}, not tried for want of a C compiler", "see C compiler", facts)
    flags = [f"-I{header.parent}", str(library), f"-Wl,-rpath,{library.parent}"]
    outcome = build_and_run(compiler, EMBEDDING_PROGRAM, ".c", flags=flags, timeout_s=timeout_s)
    if outcome.code != 0:
        return Verdict(name, Level.WARNING, f"{library} does not run in a C program: {outcome.ending}", another, facts)
    return Verdict(name, Level.OK, f"{library} runs in a C program", facts=facts)


def shared_libpython() -> Path | None:
    """The shared library of this interpreter, wherever its distribution puts it."""
    variable = sysconfig.get_config_var
    named = (str(variable(key) or "") for key in ("INSTSONAME", "LDLIBRARY"))
    names = {name for name in named if ".so" in name or ".dylib" in name}
    libraries = str(variable("LIBDIR") or "")
    folders = [Path(sys.base_prefix) / "lib", Path(libraries), Path(libraries) / str(variable("MULTIARCH") or "")]
    return next((folder / name for folder in folders for name in sorted(names) if (folder / name).is_file()), None)


def build_and_run(
    compiler: Sequence[str], program: str, suffix: str, *, flags: Sequence[str] = (), timeout_s: float
) -> Outcome:
    """How the built program ended, or the compiler where it failed."""
    with tempfile.TemporaryDirectory(prefix="cdi-doctor-") as folder:
        source, built = Path(folder, f"trial{suffix}"), Path(folder, "trial")
        source.write_text(program)
        outcome = run([*compiler, str(source), *flags, "-o", str(built)], timeout_s=timeout_s)
        return run([str(built)], timeout_s=timeout_s) if outcome.code == 0 else outcome
