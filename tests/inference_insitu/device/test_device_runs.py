"""Whole runs under mpiexec whose arrays lie on a device: ranks, keeper, worker and driver are real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from device_run import value_of
from launching import environment

from inference_insitu.watching.events import read_events
from inference_insitu.watching.ledger_files import read_ledger

HERE = Path(__file__).parent
STEPS = 12

WAYS = [
    ("cores", "plain", False, "plain (as configured)"),
    ("cores", "auto", False, "pinned (not ipc:"),
    ("cores", "auto", True, "ipc (the best there is)"),
    ("nodes", "auto", True, "pinned (not ipc:"),
    ("process", "ipc", True, "ipc (as configured)"),
]
BY_CHOICE = [pytest.param(*way, marks=() if way[1] == "auto" else pytest.mark.slow) for way in WAYS]
"""Without a GPU what is chosen is looked at always, what is told only in the slow tests."""

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(240)]


@pytest.mark.parametrize(("placement", "device", "wants_device", "path"), BY_CHOICE)
def test_arrays_on_a_device_reach_the_worker(
    placement: str, device: str, wants_device: bool, path: str, library: Path, tmp_path: Path
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    paths = os.pathsep.join([str(library), os.environ.get("LD_LIBRARY_PATH", "")])
    fake = {"LD_LIBRARY_PATH": paths, "FAKE_CUDA": "opaque", "FAKE_CUDA_FOLDER": str(memory)}
    check(tmp_path, placement, device, wants_device, path, fake)
    assert len(list(memory.iterdir())) == 2, "all device memory but the simulation's own was freed"


@pytest.mark.parametrize(("placement", "device", "wants_device", "path"), WAYS)
def test_arrays_on_a_gpu_reach_the_worker(
    placement: str, device: str, wants_device: bool, path: str, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: torch.cuda.is_available() is False")
    check(tmp_path, placement, device, wants_device, path, {})


@pytest.mark.parametrize(
    ("placement", "device"),
    [("process", "plain"), ("process", "pinned"), ("process", "ipc"), ("cores", "ipc"), ("nodes", "pinned")],
)
def test_tensors_of_a_side_stream_reach_the_worker(placement: str, device: str, tmp_path: Path) -> None:
    """The work before is still running when publish returns; torch reads the frame where it lies on the GPU."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: torch.cuda.is_available() is False")
    output, said = run("tensor_run:Extremes", tmp_path, placement, device, device == "ipc", {})
    assert f"arrays on the device: {device} (as configured)" in said
    answers = answers_of(output)
    assert len(answers) == 2 * STEPS
    for one in answers:
        value = value_of(one["rank"], one["step"])
        assert one["values"] == {"least": value, "most": value, "on_device": device == "ipc"}


def run(
    plugin: str, folder: Path, placement: str, device: str, wants_device: bool, driver: dict[str, str]
) -> tuple[Path, str]:
    """Two ranks of the simulation that stands in the plugin's file: their output, and what they said."""
    pytest.importorskip("mpi4py")
    from inference_insitu.placement.launcher import mpiexec

    output, config = folder / "run", folder / "coupling.yaml"
    told: dict[str, Any] = {
        "streams": {"a": {"analysis": "reads", "steps": STEPS, "policy": {"kind": "drop_newest"}}},
        "analyses": {"reads": {"plugin": plugin, "options": {"wants_device": wants_device}}},
        "placement": {"kind": placement},
        "device": device,
    }
    config.write_text(yaml.safe_dump(told))
    ours = environment() | driver
    ours["PYTHONPATH"] = os.pathsep.join([str(HERE), ours["PYTHONPATH"]])
    ranks = 2 if placement == "process" else 3
    program = HERE / f"{plugin.partition(':')[0]}.py"
    script = [sys.executable, str(program), str(output), str(config), str(STEPS)]
    done = subprocess.run(
        [str(mpiexec()), "-n", str(ranks), *script], env=ours, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return output, done.stderr


def answers_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "results-0.0.jsonl").read_text().splitlines()]


def check(folder: Path, placement: str, device: str, wants_device: bool, path: str, driver: dict[str, str]) -> None:
    """Run and see that every frame of every rank was answered, by ``path``."""
    output, said = run("device_run:Reads", folder, placement, device, wants_device, driver)
    assert said.count("arrays on the device: ") == 1, "one rank says it"
    assert f"arrays on the device: {path}" in said
    assert sum(event.event == "device" for event in read_events(output)) == 2, "each rank's log has it"
    books = json.loads((output / "books.json").read_text())
    assert (books["balanced"], books["published"], books["inferred"]) == (True, 2 * STEPS, 2 * STEPS)
    assert read_ledger(output).fate.counts() == {"inferred": 2 * STEPS}
    answers = answers_of(output)
    for rank in range(2):
        mine = [one for one in answers if one["rank"] == rank]
        assert [one["step"] for one in mine] == list(range(STEPS))
        for one in mine:
            value = value_of(rank, one["step"])
            expected = {"least": value, "most": value, "on_device": path.startswith("ipc"), "told": ["time_ps"]}
            assert one["values"] == expected
