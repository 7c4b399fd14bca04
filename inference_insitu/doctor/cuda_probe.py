"""Whether MPI takes arrays on a GPU, by sending one. Run as a script it counts GPUs, or is a rank of the trial.

No library tells this reliably: one that was built for CUDA may find its transport lacking, and one that was not
reads the device's address as if it were the host's and crashes, or delivers other bytes. So two ranks in a child
process send short and long arrays both ways and compare them byte by byte. The GPU is reached through its driver
alone (``libcuda``), which costs no import of torch.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference_insitu.device.arrays import LEGACY_STREAM, DeviceView
from inference_insitu.device.runtime import Driver, device_count
from inference_insitu.doctor.child import Outcome, launch_command, probe_command, run
from inference_insitu.doctor.launch_probe import find_launcher
from inference_insitu.doctor.reporting import leave, report, report_segments, run_probe
from inference_insitu.doctor.verdict import Level, Verdict

if TYPE_CHECKING:
    from mpi4py import MPI

NAME = "CUDA-aware MPI"
RANKS = 2
SIZES_BYTES = (1 << 10, 8 << 20)
"""Sent at once, and by rendezvous: libraries treat them by different code."""
TRIAL_S = 15.0
"""After which a rank stops waiting for the other's bytes."""
ADVICE = "frames travel through host memory; Cray MPICH: MPICH_GPU_SUPPORT_ENABLED=1, else an MPI built for CUDA"


def cuda_aware_mpi(launcher: Path | None = None, timeout_s: float = 60.0) -> Verdict:
    """Send arrays between two ranks from and to GPU memory.

    ``facts["aware"]`` is True, False, or None where there was nothing to try with. Never raises, and takes no
    longer than ``timeout_s`` for each of two child processes.
    """
    counted = run(probe_command("cuda_probe", "count"), timeout_s=timeout_s)
    devices = next((int(said["devices"]) for said in counted.reports if "devices" in said), None)
    if devices is None:
        return _untried(f"the CUDA driver does not answer: {_error(counted)}", "look at nvidia-smi", None)
    if devices == 0:
        return Verdict(NAME, Level.NO, "no GPU to try with", facts={"aware": None, "devices": 0})
    launcher = launcher or find_launcher()
    if launcher is None:
        return _untried("no mpiexec to try with", "pip install 'crystal-defects-insitu[mpi]'", devices)
    return judge(run(launch_command(launcher, RANKS, "cuda_probe", "send"), timeout_s=timeout_s), devices)


def judge(outcome: Outcome, devices: int) -> Verdict:
    """The verdict on what both ranks of the trial said, or on how it ended."""
    said = outcome.reports
    ready = [entry for entry in said if "ready" in entry]
    if len(ready) < RANKS:
        return _untried(f"could not be tried: {_error(outcome)}", "see the lines on MPI and GPU", devices)
    arrived = [entry for entry in said if "arrived" in entry]
    facts = {"aware": False, "devices": devices}
    if len(arrived) == RANKS and all(entry["arrived"] for entry in arrived):
        return Verdict(NAME, Level.OK, "arrays on the GPU arrive whole, both ways", facts=facts | {"aware": True})
    if any(not entry["arrived"] for entry in arrived):
        return Verdict(NAME, Level.NO, "arrays on the GPU arrive with other bytes", ADVICE, facts)
    return Verdict(NAME, Level.NO, f"MPI does not take arrays on the GPU: {_error(outcome)}", ADVICE, facts)


def _untried(finding: str, advice: str, devices: int | None) -> Verdict:
    return Verdict(NAME, Level.WARNING, finding, advice, {"aware": None, "devices": devices})


def _error(outcome: Outcome) -> str:
    return next((str(said["error"]) for said in outcome.reports if "error" in said), outcome.ending)


def _count() -> None:
    count = device_count()
    report(devices=count or 0, driver=count is not None)


def _send() -> None:
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if world.size != RANKS:
        raise RuntimeError(f"{RANKS} ranks expected, got {world.size}")
    driver = Driver(world.rank % (device_count() or 1))
    driver.make_current()
    buffers = [(_bytes(driver, size), _bytes(driver, size)) for size in SIZES_BYTES]
    world.Barrier()
    report_segments()
    report(ready=world.rank)
    world.Barrier()
    arrived = [_swap(world, driver, *pair) for pair in buffers]
    report(rank=world.rank, arrived=all(arrived))
    time.sleep(0.3)  # the other may still be reading from this process
    leave()


def _bytes(driver: Driver, size: int) -> DeviceView:
    return DeviceView(driver.allocate(size), (size,), np.dtype(np.uint8))


def _swap(world: "MPI.Intracomm", driver: Driver, sent: DeviceView, received: DeviceView) -> bool:
    """Whether what the other rank sends arrives as it is."""
    (size,) = sent.shape
    content = _pattern(world.rank, size)
    for view, given in ((sent, content), (received, np.zeros(size, np.uint8))):
        _copy(driver, view.pointer, int(given.ctypes.data), size)
    other = 1 - world.rank
    pending: list[Any] = [world.Irecv(received, source=other), world.Isend(sent, dest=other)]
    end_s = time.monotonic() + TRIAL_S
    while pending:
        pending = [request for request in pending if not request.Test()]
        if time.monotonic() > end_s:
            raise RuntimeError(f"an array of {size} bytes does not arrive within {TRIAL_S:.0f} s")
        time.sleep(0.0005)
    found = np.zeros(size, np.uint8)
    _copy(driver, int(found.ctypes.data), received.pointer, size)
    return np.array_equal(found, _pattern(other, size))


def _copy(driver: Driver, destination: int, source: int, size: int) -> None:
    """Done when it returns: MPI knows nothing of streams."""
    driver.synchronise(None)
    driver.copy(destination, source, size, LEGACY_STREAM)
    driver.synchronise(LEGACY_STREAM)


def _pattern(rank: int, size: int) -> NDArray[np.uint8]:
    """No two ranks' alike, no period that divides a page."""
    return np.resize((17 * rank + 31 * np.arange(251) + 1) % 251, size).astype(np.uint8)


if __name__ == "__main__":
    run_probe(_count if sys.argv[1:] == ["count"] else _send)
