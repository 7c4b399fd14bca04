"""Children of the doctor: bounded, killed with their group, and read whatever else they print."""

import os
import sys
import time
from pathlib import Path

import pytest

from inference_insitu.doctor.child import Outcome, child_environment, run
from inference_insitu.doctor.reporting import MARK, SEGMENTS, remove_segments, reports


def python(code: str, *arguments: str, timeout_s: float = 60.0) -> Outcome:
    return run([sys.executable, "-c", code, *arguments], timeout_s=timeout_s)


def ended(process: int) -> bool:
    """Within a bound: gone, or a zombie that nobody has collected yet."""
    for _ in range(200):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_hanging_child_is_killed_with_its_grandchild(tmp_path: Path) -> None:
    """Even where both ignore SIGTERM and the grandchild keeps the output open."""
    code = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "inner = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)'\n"
        "child = subprocess.Popen([sys.executable, '-c', inner])\n"
        "open(sys.argv[1] + '.part', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "os.rename(sys.argv[1] + '.part', sys.argv[1])\n"
        "time.sleep(300)\n"
    )
    place = tmp_path / "processes"
    outcome = python(code, str(place), timeout_s=5.0)
    assert outcome.hung
    assert outcome.ending == "no answer within 5 s"
    assert all(ended(int(process)) for process in place.read_text().split())


def test_a_crash_and_an_exit_code_are_told_apart() -> None:
    assert python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").ending == "killed by SIGSEGV"
    assert python("import sys; sys.exit(3)").ending == "exit code 3"
    assert python("raise OSError('no\\nway')").ending == "exit code 1: way"


def test_a_command_that_is_not_there_is_an_outcome() -> None:
    outcome = run(["/no/such/program"], timeout_s=5.0)
    assert outcome.code == 127
    assert "/no/such/program" in outcome.ending


def test_reports_are_found_in_noise_and_broken_ones_left_out() -> None:
    text = f'warning\n{MARK}{{"a": 1}}{MARK}{{"b": 2}} tail\n{MARK}[3]\n{MARK}{{"c": \n'
    assert reports(text) == [{"a": 1}, {"b": 2}]


def test_an_exception_in_a_probe_is_reported_as_one_line() -> None:
    code = (
        "from inference_insitu.doctor.reporting import run_probe\n"
        "def body(): raise RuntimeError('first\\n second')\n"
        "run_probe(body)\n"
    )
    outcome = python(code)
    assert outcome.code == 1
    assert outcome.reports == [{"error": "RuntimeError: first second"}]


def test_a_probe_that_the_kill_missed_ends_itself() -> None:
    """A rank in a process group of its own outlives the doctor's kill; its alarm does not."""
    code = (
        "import os, subprocess, sys, time\n"
        "inner = 'from inference_insitu.doctor.reporting import run_probe\\nimport time\\n'\n"
        "inner += 'run_probe(lambda: time.sleep(300))'\n"
        "orphan = subprocess.Popen([sys.executable, '-c', inner], start_new_session=True)\n"
        "from inference_insitu.doctor.reporting import report\n"
        "report(orphan=orphan.pid)\n"
        "time.sleep(300)\n"
    )
    outcome = python(code, timeout_s=4.0)
    assert outcome.hung
    assert ended(outcome.reports[0]["orphan"])


def test_a_rank_s_signal_is_read_from_what_the_launcher_tells() -> None:
    mpich = Outcome(11, "YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Segmentation fault (signal 11)\n", "")
    open_mpi = Outcome(
        139, "", "----------\nprterun noticed that process rank 0 exited on\nsignal 11 (fault).\n---------\n"
    )
    assert mpich.ending == open_mpi.ending == "a rank killed by SIGSEGV"


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("first\nAbort: no PMI\n-----------------\nprterun detected\n-----------------\n", "Abort: no PMI"),
        ("-----------------\nThere are not enough slots\nmore\n-----------------\n", "There are not enough slots"),
        ("\n  \n", ""),
    ],
)
def test_the_line_that_tells_most_is_quoted(stderr: str, line: str) -> None:
    assert Outcome(1, "", stderr).complaint == line


def test_a_child_knows_nothing_of_our_own_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMI_RANK", "PMI_FD", "PMIX_NAMESPACE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS"):
        monkeypatch.setenv(name, "1")
    for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_MCA_btl", "PMIX_MCA_gds", "SLURM_JOB_ID"):
        monkeypatch.setenv(name, "kept")
    environment = child_environment()
    assert not [name for name in environment if name.startswith(("PMI_", "OMPI_COMM", "MPI_LOCAL", "PMIX_N"))]
    assert [name for name, value in sorted(environment.items()) if value == "kept"] == [
        "OMPI_ALLOW_RUN_AS_ROOT",
        "OMPI_MCA_btl",
        "PMIX_MCA_gds",
        "SLURM_JOB_ID",
    ]


def test_only_an_mpi_s_own_segments_are_removed(tmp_path: Path) -> None:
    """Whatever a probe may name."""
    other = tmp_path / "mpich_shm_1"
    other.write_text("kept")
    segment = Path(f"/dev/shm/mpich_shm_cdi_doctor_test_{os.getpid()}")
    segment.write_text("left behind")
    remove_segments([{"segments": [str(other), str(segment), "/dev/shm/mpich_shm_not_there"]}, {"rank": 0}])
    assert other.exists()
    assert not segment.exists()
    assert not SEGMENTS.fullmatch("/dev/shm/cdi-run-0")
    assert not SEGMENTS.fullmatch("/dev/shm/mpich_shm_/../../etc/passwd")


def test_ctrl_c_at_the_terminal_does_not_reach_a_child() -> None:
    """It has a process group of its own, which the doctor kills."""
    outcome = python("import os; from inference_insitu.doctor.reporting import report; report(group=os.getpgrp())")
    assert outcome.reports[0]["group"] != os.getpgrp()
