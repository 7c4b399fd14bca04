"""Whether MPI takes arrays on a GPU, by sending one. Run as a script it counts GPUs, or is a rank of the trial.

No library tells this reliably: one that was built for CUDA may find its transport lacking, and one that was not
reads the device's address as if it were the host's and crashes, or delivers other bytes. So two ranks in a child
process send short and long arrays both ways and compare them byte by byte. The GPU is reached through its driver
alone (``libcuda``), which costs no import of torch.
"""

import ctypes
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
DRIVER = "libcuda.so.1"
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


class DeviceBytes:
    """Bytes in GPU memory, as the CUDA array interface shows them (v3): what mpi4py takes."""

    def __init__(self, driver: "Driver", size: int) -> None:
        self._driver, self.size = driver, size
        self.address = ctypes.c_uint64()
        driver.call("cuMemAlloc_v2", ctypes.byref(self.address), ctypes.c_size_t(size))

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        pointer = (int(self.address.value), False)
        return {"shape": (self.size,), "typestr": "|u1", "data": pointer, "version": 3, "strides": None}

    def fill(self, content: bytes) -> None:
        """Copy ``content`` to the device and wait for it: MPI knows nothing of streams."""
        self._driver.call("cuMemcpyHtoD_v2", self.address, ctypes.c_char_p(content), ctypes.c_size_t(self.size))
        self._driver.call("cuCtxSynchronize")

    def content(self) -> bytes:
        """The bytes, copied to the host."""
        host = ctypes.create_string_buffer(self.size)
        self._driver.call("cuCtxSynchronize")
        self._driver.call("cuMemcpyDtoH_v2", host, self.address, ctypes.c_size_t(self.size))
        return host.raw


class Driver:
    """The few calls of the CUDA driver that a trial needs."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(DRIVER)
        self.call("cuInit", ctypes.c_uint(0))

    def call(self, name: str, *arguments: Any) -> None:
        """Call ``name`` and raise on any result but 0."""
        code = getattr(self._library, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} of the CUDA driver fails with code {code}")

    def devices(self) -> int:
        """Number of GPUs that this process may use."""
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        return count.value

    def use(self, index: int) -> None:
        """Make the primary context of a device, which torch and MPI libraries use too, current."""
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)


NO_DEVICE = 100
"""``CUDA_ERROR_NO_DEVICE``: a driver without a GPU."""


def _count() -> None:
    try:
        driver = Driver()
    except OSError:
        report(devices=0, driver=False)
        return
    except RuntimeError as error:
        if str(error).endswith(f"code {NO_DEVICE}"):
            report(devices=0, driver=True)
            return
        raise
    report(devices=driver.devices(), driver=True)


def _send() -> None:
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if world.size != RANKS:
        raise RuntimeError(f"{RANKS} ranks expected, got {world.size}")
    driver = Driver()
    driver.use(world.rank % driver.devices())
    buffers = [(DeviceBytes(driver, size), DeviceBytes(driver, size)) for size in SIZES_BYTES]
    world.Barrier()
    report_segments()
    report(ready=world.rank)
    world.Barrier()
    arrived = [_swap(world, *pair) for pair in buffers]
    report(rank=world.rank, arrived=all(arrived))
    time.sleep(0.3)  # the other may still be reading from this process
    leave()


def _swap(world: "MPI.Intracomm", sent: DeviceBytes, received: DeviceBytes) -> bool:
    """Whether what the other rank sends arrives as it is."""
    sent.fill(_pattern(world.rank, sent.size))
    received.fill(bytes(received.size))
    other = 1 - world.rank
    pending: list[Any] = [world.Irecv(received, source=other), world.Isend(sent, dest=other)]
    end_s = time.monotonic() + TRIAL_S
    while pending:
        pending = [request for request in pending if not request.Test()]
        if time.monotonic() > end_s:
            raise RuntimeError(f"an array of {sent.size} bytes does not arrive within {TRIAL_S:.0f} s")
        time.sleep(0.0005)
    return received.content() == _pattern(other, received.size)


def _pattern(rank: int, size: int) -> bytes:
    """No two ranks' alike, no period that divides a page."""
    period = bytes((17 * rank + 31 * index + 1) % 251 for index in range(251))
    return (period * (size // 251 + 1))[:size]


if __name__ == "__main__":
    run_probe(_count if sys.argv[1:] == ["count"] else _send)
