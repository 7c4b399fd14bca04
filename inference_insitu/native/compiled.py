"""The lane (``lane.c``), compiled at first use and kept in the user's cache; where it cannot be, Python publishes.

``CDI_PUBLISH=python`` in the environment does without it, ``CDI_PUBLISH=compiled`` insists on it.
"""

import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import numpy as np

from cdi.errors import RunError
from inference_insitu.books.outcomes import CODES, INFERRED
from inference_insitu.doctor.compilers import C_COMPILERS
from inference_insitu.ring.lane import Said
from inference_insitu.ring.layout import Row, Side, State, Word

VARIABLE = "CDI_PUBLISH"
CHOICES = ("auto", "compiled", "python")
NAME = "cdi_lane"
SOURCE = Path(__file__).with_name("lane.c")
INCLUDED = ("lane_payload.h", "lane_blocks.h", "lane_ledger.h", "lane_staging.h")
COMPILE_TIMEOUT_S = 60.0

_WORDS = (
    (Word.PUBLISHED, Word.SEQUENCE, Word.SUPERVISOR_STATE),
    tuple(Row),
    (State.FREE, State.WRITING, State.READY, State.DONE, Side.FAILED, CODES[INFERRED]),
    tuple(Said),
)
"""What the source has written out of ``ring``."""


def lane_type() -> Any:
    """The class of compiled lanes; None where Python publishes.

    Raises
    ------
    ValueError
        If ``CDI_PUBLISH`` is no choice.
    RunError
        If it insists on what cannot be had.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in CHOICES:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(CHOICES)}, got {choice!r}")
    if choice == "python":
        return None
    found, why = lane_or_reason()
    if found is None and choice == "compiled":
        raise RunError(f"{VARIABLE}=compiled, but {why}")
    return found


@cache
def lane_or_reason() -> tuple[Any, str]:
    """The class and the file it is from, or None and why; asked once a process."""
    try:
        path = built(cache_folder())
        return loaded(path), str(path)
    except (OSError, RuntimeError, RunError, ImportError, subprocess.SubprocessError) as error:
        return None, " ".join(str(error).split())


def cache_folder() -> Path:
    """A folder that nobody else can write to, made where it is not there.

    Raises
    ------
    RunError
        If there is none: what is loaded from it runs as this user.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = (named if named.is_absolute() else Path.home() / ".cache") / "cdi"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = folder.resolve()
    _own(folder)
    for above in folder.parents:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise RunError(f"{folder} must not lie where everybody writes, got {above}")
    return folder


def built(folder: Path) -> Path:
    """The compiled lane in ``folder`` for this source, Python, numpy and machine.

    Processes that come at once each compile their own; the last one's stays, and all are the same.

    Raises
    ------
    RunError
        If there is no compiler, or it fails.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise RunError("this Python has no global lock, which the compiled way relies on")
    path = folder / f"{NAME}-{_key()}.so"
    if path.is_file():
        return path
    compiler = _compiler()
    descriptor, name = tempfile.mkstemp(prefix=f"{NAME}-", suffix=".part", dir=folder)
    os.close(descriptor)
    try:
        includes = [f"-I{sysconfig.get_paths()['include']}", f"-I{np.get_include()}"]
        command = [*compiler, "-std=c11", "-O3", "-fPIC", "-shared", *includes, str(SOURCE), "-o", name]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or [""]
            raise RunError(f"{compiler[0]} does not compile {SOURCE.name}: {said[0].strip()}")
        os.chmod(name, 0o700)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path


def loaded(path: Path) -> Any:
    """The class in the compiled file at ``path``.

    Raises
    ------
    RunError
        If others can write to it, or it speaks of another ring.
    ImportError
        If it cannot be loaded.
    """
    _own(path)
    loader = ExtensionFileLoader(NAME, str(path))
    spec = spec_from_loader(NAME, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    if module.WORDS != _WORDS:
        raise RunError(f"{SOURCE.name} must have the words {_WORDS} of the ring, got {module.WORDS}")
    return module.Lane


def _own(path: Path) -> None:
    status = path.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RunError(f"{path} must be this user's and nobody else's to write to")


def _key() -> str:
    of = (sys.implementation.name, sys.version, np.__version__, platform.machine(), *platform.libc_ver())
    source = b"".join(SOURCE.with_name(name).read_bytes() for name in (SOURCE.name, *INCLUDED))
    return hashlib.sha256(source + "\n".join(of).encode()).hexdigest()[:24]


def _compiler() -> list[str]:
    named = shlex.split(os.environ.get("CC", ""))
    if named:
        return named
    found = next((path for name in C_COMPILERS if (path := shutil.which(name))), None)
    if found is None:
        raise RunError(f"there is no C compiler (none of {', '.join(C_COMPILERS)}, and CC names none)")
    return [found]
