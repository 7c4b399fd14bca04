"""All checks in their order. One that fails becomes a line of its own and never ends the others."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from inference_insitu.doctor import compilers, machine, packages
from inference_insitu.doctor.cuda_probe import cuda_aware_mpi
from inference_insitu.doctor.death_probe import death_of_a_rank
from inference_insitu.doctor.gpu_probe import gpu
from inference_insitu.doctor.launch_probe import find_launcher, launch, no_launcher
from inference_insitu.doctor.library_probe import library
from inference_insitu.doctor.port_probe import two_jobs_by_a_port
from inference_insitu.doctor.publishing import publishing
from inference_insitu.doctor.shared_memory import shared_memory
from inference_insitu.doctor.verdict import Level, Verdict

Answer = Verdict | list[Verdict]


def examine(timeout_s: float) -> Iterator[Verdict]:
    """Yield verdicts as they come; no child waits longer than ``timeout_s`` seconds."""
    yield from guarded("python", machine.python)
    yield from guarded("cores", machine.cores)
    yield from guarded("launcher variables", machine.launcher_variables)
    yield from guarded("shared memory", lambda: shared_memory(timeout_s))
    yield from _mpi(timeout_s)
    yield from guarded("GPU", lambda: gpu(timeout_s))
    yield from guarded("compilers", lambda: compilers.compilers(timeout_s))
    yield from guarded("publish", publishing)
    yield from guarded("packages", packages.optional_groups)


def guarded(name: str, check: Callable[[], Answer]) -> list[Verdict]:
    """The verdicts of ``check``; an exception is a verdict too."""
    try:
        answer = check()
    except Exception as error:  # a doctor who faints helps nobody
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return [Verdict(name, Level.WARNING, f"the check itself failed: {why}", "please report this line")]
    return answer if isinstance(answer, list) else [answer]


def _mpi(timeout_s: float) -> Iterator[Verdict]:
    """The library first: without it the launcher is not asked, and without two ranks nothing that needs them."""
    (found,) = guarded("MPI library", lambda: library(timeout_s))
    yield found
    if not found.ok:
        return
    launched = guarded("MPI launcher", lambda: _launch(found.facts, timeout_s))
    yield from launched
    if launched[0].ok:
        yield from _ranks(Path(launched[0].facts["path"]), str(found.facts["vendor"]), timeout_s)


def _launch(library_facts: Mapping[str, Any], timeout_s: float) -> list[Verdict]:
    launcher = find_launcher()
    return launch(launcher, library_facts, timeout_s) if launcher else [no_launcher()]


def _ranks(launcher: Path, vendor: str, timeout_s: float) -> Iterator[Verdict]:
    """What needs several ranks."""
    yield from guarded("CUDA-aware MPI", lambda: cuda_aware_mpi(launcher, timeout_s))
    yield from guarded("death of a rank", lambda: death_of_a_rank(launcher, vendor, timeout_s))
    yield from guarded("two jobs by a port", lambda: two_jobs_by_a_port(launcher, timeout_s))
