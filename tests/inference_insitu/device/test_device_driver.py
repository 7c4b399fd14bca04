"""Calls of the driver and the probes' children, against a driver of files compiled here from the real header."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference_insitu.device.arrays import DeviceArray
from inference_insitu.device.paths import PlainPath
from inference_insitu.device.probe import open_path, run_child
from inference_insitu.device.runtime import DeviceError, Driver

HERE = Path(__file__).parent
Scenario = Callable[..., dict[str, Any]]


@pytest.fixture
def scenario(library: Path, tmp_path: Path) -> Scenario:
    def run(wanted: str, placement: str, consumer: str, fake: str = "", code: int = 0) -> dict[str, Any]:
        paths = os.pathsep.join([str(library), os.environ.get("LD_LIBRARY_PATH", "")])
        # As a rank sees it: its launcher's traces must not reach the child.
        traces = {"PMI_RANK": "3", "PMI_FD": "99", "PMI_SIZE": "8", "OMPI_COMM_WORLD_RANK": "3"}
        ours = {"LD_LIBRARY_PATH": paths, "FAKE_CUDA": fake, "FAKE_CUDA_FOLDER": str(tmp_path), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE / "driver_scenario.py"), wanted, placement, consumer]
        environment = {**os.environ, **traces, **ours, "PYTHONPATH": str(HERE.parents[2])}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        if code:
            return {"error": done.stderr.strip().splitlines()[-1]}
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    return run


@pytest.mark.parametrize("wanted", ["plain", "pinned", "ipc"])
@pytest.mark.parametrize("fake", ["opaque", "opaque pool"])
def test_each_path_through_the_driver(scenario: Scenario, wanted: str, fake: str, tmp_path: Path) -> None:
    result = scenario(wanted, "cores", "gpu", fake)
    assert result["said"] == [f"arrays on the device: {wanted} (as configured)"]
    assert result["right"] == [True] * 5
    assert result["lost"] == 0
    assert len(result["handles"]) == (2 if wanted == "ipc" else 0)
    assert len(list(tmp_path.iterdir())) == 1, "all memory but the simulation's own was freed"


@pytest.mark.parametrize(
    ("placement", "consumer", "fake", "said"),
    [
        ("cores", "gpu", "opaque", "ipc (the best there is)"),
        ("nodes", "gpu", "opaque", "pinned (not ipc: the inference is not on this node)"),
        ("process", "cpu", "opaque", "not ipc: the inference does not run on a GPU)"),
        (
            "cores",
            "gpu",
            "opaque no_ipc",
            "map device memory (the probe: cuIpcOpenMemHandle_v2 failed: CUDA_ERROR_MAP_FAILED))",
        ),
        ("cores", "gpu", "opaque corrupt_ipc", "map device memory (the probe: what arrived is not what was sent))"),
        ("job", "gpu", "opaque no_register", "page-locked (cuMemHostRegister_v2 failed: CUDA_ERROR_NOT_SUPPORTED))"),
    ],
)
def test_probes_decide(scenario: Scenario, placement: str, consumer: str, fake: str, said: str) -> None:
    result = scenario("auto", placement, consumer, fake)
    assert said in result["said"][0]
    assert result["right"] == [True] * 5


def test_a_forced_path_that_is_not_possible_ends_in_one_line(scenario: Scenario) -> None:
    result = scenario("ipc", "cores", "gpu", "opaque no_ipc", code=1)
    assert result["error"].startswith(
        "ValueError: path must be possible here (pinned, plain), got 'ipc': another process"
    )
    assert "CUDA_ERROR_MAP_FAILED" in result["error"]


def test_a_driver_without_a_device_is_named(scenario: Scenario) -> None:
    result = scenario("auto", "cores", "gpu", "no_device", code=1)
    assert result["error"].endswith("DeviceError: cuInit failed: CUDA_ERROR_NO_DEVICE")


# Without any driver.


@pytest.fixture
def no_driver() -> None:
    try:
        Driver()
    except DeviceError:
        return
    pytest.skip("there is a driver here")


class OnAGpu:
    def get(self) -> np.ndarray:
        return np.arange(4.0)


@pytest.mark.usefixtures("no_driver")
def test_without_a_driver_the_path_is_plain_and_says_so() -> None:
    said: list[str] = []
    array = DeviceArray(OnAGpu(), 64, (4,), np.dtype(np.float64), None)
    region = np.zeros(32, np.uint8)
    path = open_path("auto", array, region, "cores", True, said.append)
    assert isinstance(path, PlainPath)
    assert path.write(array, region, lambda: None) == {}
    np.testing.assert_array_equal(region.view(np.float64), np.arange(4.0))
    for again in said:
        assert "plain" in again
        assert "no CUDA here" in again
    for wanted in ("ipc", "pinned"):
        with pytest.raises(ValueError, match=rf"path must be possible here \(plain\), got '{wanted}'"):
            open_path(wanted, array, region, "cores", True, said.append)  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_driver")
def test_a_probe_that_fails_says_its_last_line() -> None:
    with pytest.raises(DeviceError, match=r"the probe: .*libcuda"):
        run_child("00", "00")


def test_a_probe_that_hangs_is_ended() -> None:
    with pytest.raises(DeviceError, match=r"the probe did not answer in 0\.001 s"):
        run_child("00", "00", timeout_s=0.001)


def test_a_probe_that_cannot_start_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(DeviceError, match="the probe did not start: "):
        run_child("00", "00")
