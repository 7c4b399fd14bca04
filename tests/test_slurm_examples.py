"""The SLURM scripts: what they ask the program for, it understands; a signal before the end puts the job back."""

import os
import re
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cdi.main import console_parser

SCRIPTS = sorted((Path(__file__).parents[1] / "examples" / "slurm").glob("*.sh"))
TRAINING = [script for script in SCRIPTS if script.name.startswith("train")]

pytestmark = pytest.mark.timeout(120)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def queue(tmp_path: Path) -> dict[str, str]:
    """A node on which every program writes down how it was called, and launchers start what they are given."""
    call = f'echo "$(basename "$0")" "${{@@Q}}" >> {tmp_path}/calls'
    for name in ("cdi", "python"):
        program(tmp_path / ".venv" / "bin" / name, call)
    program(tmp_path / ".venv" / "bin" / "mpiexec", call + '\nwhile [[ $1 == -* ]]; do shift 2; done; exec "$@"')
    program(tmp_path / "path" / "srun", 'exec "$@"')
    program(tmp_path / "path" / "scontrol", call)
    return {
        "PATH": f"{tmp_path / 'path'}{os.pathsep}{os.environ['PATH']}",
        "CDI_HOME": str(tmp_path), "SLURM_SUBMIT_DIR": "/nowhere", "SLURM_JOB_ID": "77", "SLURM_NTASKS": "12",
        "SLURM_NTASKS_PER_NODE": "6", "SLURM_CPUS_PER_TASK": "4", "SLURM_JOB_NUM_NODES": "2",
    }  # fmt: skip


def calls(folder: Path) -> list[list[str]]:
    return [shlex.split(line) for line in (folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_what_a_script_asks_for_is_understood(script: Path, queue: dict[str, str], tmp_path: Path) -> None:
    """Every call of ``cdi`` parses as a user's would, also with arguments of the user's own."""
    subprocess.run([script], env=queue, check=True, timeout=60)
    asked = [call[1:] for call in calls(tmp_path) if call[0] == "cdi"]
    assert asked
    parser = console_parser()
    for arguments in asked:
        parser.parse_args(arguments)
    text = script.read_text()
    for named in re.findall(r"examples/[\w/.-]+\.(?:ya?ml|py)", text):
        assert (Path(__file__).parents[1] / named).is_file(), named
    assert re.search(r"#SBATCH --nodes=[2-9]", text) or "many" not in script.name


@pytest.mark.parametrize("script", TRAINING, ids=lambda script: script.name)
def test_arguments_reach_the_training(script: Path, queue: dict[str, str], tmp_path: Path) -> None:
    subprocess.run([script, "mine.yaml", "run 2", "epochs=5"], env=queue, check=True, timeout=60)
    first = calls(tmp_path)[0]
    assert first == ["cdi", "train", "mine.yaml", "workers=3", "epochs=5", "--output", "run 2"]


@pytest.mark.parametrize("script", TRAINING, ids=lambda script: script.name)
def test_a_signal_before_the_end_puts_the_job_back(script: Path, queue: dict[str, str], tmp_path: Path) -> None:
    program(tmp_path / ".venv" / "bin" / "cdi", f"touch {tmp_path}/training; exec sleep 60")
    job = subprocess.Popen([script], env=queue, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "training").exists() and time.monotonic() < until:
            time.sleep(0.02)
        job.send_signal(signal.SIGTERM)
        job.wait(60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
    assert calls(tmp_path) == [["scontrol", "requeue", "77"]]
