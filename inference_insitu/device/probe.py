"""What can be done with device memory here, tried, and the path that follows.  Run as a module: the child of a probe.

An MPI that knows nothing of GPUs dies of a device pointer, hence the child.  It sends a buffer to itself: that proves
that this MPI reads device memory, not that it does so over every network.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference_insitu.device.arrays import LEGACY_STREAM, DeviceArray, DeviceView
from inference_insitu.device.choice import Capabilities, DeviceConfig, Placement, announce, choose
from inference_insitu.device.paths import DevicePath, IpcPath, MpiPath, PinnedPath, PlainPath
from inference_insitu.device.runtime import DeviceError, Driver, Runtime

TIMEOUT_S = 60.0
_SHARED = "/dev/shm/"
_BYTES = 2 << 20  # more than MPI sends eagerly
_LAUNCHER = ("PMI", "OMPI_", "PRTE_", "MPI_LOCAL", "HYDRA_", "PALS_", "SLURM_")
_MPI_SETTINGS = ("OMPI_MCA_opal_", "OMPI_MCA_accelerator", "OMPI_MCA_pml", "OMPI_MCA_btl")


def open_path(
    config: DeviceConfig,
    array: DeviceArray,
    region: NDArray[np.uint8],
    placement: Placement,
    consumer_on_gpu: bool,
    write: Callable[[str], object] = print,
    *,
    relay_reads_device: bool = False,
) -> DevicePath:
    """Probe, choose, say so and open, for the device of ``array`` and slots in ``region``; ValueError of ``choose``.

    ``relay_reads_device``: whoever sends frames by MPI asks the path for what is ``outgoing``.
    """
    runtime: Driver | None = None
    try:
        runtime = Driver(pointer=array.pointer)
        found = find_capabilities(runtime, region, placement, consumer_on_gpu, config.path, relay_reads_device)
    except DeviceError as error:
        notes = {"cuda": str(error)}
        found = Capabilities(
            placement=placement, consumer_on_gpu=consumer_on_gpu, relay_reads_device=relay_reads_device, notes=notes
        )
    choice = choose(found, config.path)
    announce(choice, write)
    if runtime is None or choice.path == "plain":
        return PlainPath(runtime)
    if choice.path == "pinned":
        return PinnedPath(runtime, region)
    return MpiPath(runtime) if choice.path == "mpi" else IpcPath(runtime)


def open_plain(array: DeviceArray) -> PlainPath:
    """The path that needs nothing, for the device of ``array``."""
    try:
        return PlainPath(Driver(pointer=array.pointer))
    except DeviceError:
        return PlainPath(None)


def find_capabilities(
    runtime: Runtime,
    region: NDArray[np.uint8],
    placement: Placement,
    consumer_on_gpu: bool,
    wanted: str = "auto",
    relay_reads_device: bool = False,
) -> Capabilities:
    """Try what the choice depends on here, and no more: a child takes a second."""
    trials: dict[str, Callable[[], None]] = {"host_register": lambda: _lock(runtime, region)}
    if placement == "nodes" and relay_reads_device and wanted in ("auto", "mpi"):
        trials["mpi_cuda_aware"] = lambda: run_child("mpi", str(runtime.device))
    if placement in ("cores", "process") and consumer_on_gpu and wanted in ("auto", "ipc"):
        trials["ipc"] = lambda: _share(runtime)
    notes: dict[str, str] = {}
    for name, trial in trials.items():
        try:
            trial()
        except DeviceError as error:
            notes[name] = str(error)
    results = {name: name not in notes for name in trials}
    mpi, ipc, lock = (results.get(name) for name in ("mpi_cuda_aware", "ipc", "host_register"))
    return Capabilities(True, mpi, ipc, lock, placement, consumer_on_gpu, relay_reads_device, notes)


def run_child(*arguments: str, timeout_s: float = TIMEOUT_S) -> None:
    """Run this file with ``arguments``, hidden from the rank's launcher; DeviceError unless it proves them."""
    kept = {k: v for k, v in os.environ.items() if k.startswith(_MPI_SETTINGS) or not k.startswith(_LAUNCHER)}
    command = [sys.executable, "-m", "inference_insitu.device.probe", *arguments]
    try:
        done = subprocess.run(
            command, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"the probe did not answer in {timeout_s:g} s") from None
    except OSError as error:
        raise DeviceError(f"the probe did not start: {error}") from None
    if done.returncode:
        for place in (word for word in done.stdout.split() if word.startswith(_SHARED)):
            Path(place).unlink(missing_ok=True)  # a dead MPI leaves its shared memory behind
    if done.returncode or "proved" not in done.stdout.split():
        said = (done.stdout + done.stderr).strip().splitlines()
        reason = f"died of signal {-done.returncode}" if done.returncode < 0 else (said or ["nothing"])[-1]
        raise DeviceError(f"the probe: {reason}")


def _lock(runtime: Runtime, region: NDArray[np.uint8]) -> None:
    runtime.register(int(region.ctypes.data), region.nbytes)
    runtime.unregister(int(region.ctypes.data))


def _share(runtime: Runtime) -> None:
    sample, pointer = os.urandom(64), runtime.allocate(_BYTES)
    try:
        _copy(runtime, pointer, int(np.frombuffer(sample, np.uint8).ctypes.data), len(sample))
        run_child("ipc", str(runtime.device), runtime.share(pointer).hex(), sample.hex())
    finally:
        runtime.free(pointer)


def _copy(runtime: Runtime, destination: int, source: int, nbytes: int) -> None:
    runtime.copy(destination, source, nbytes, LEGACY_STREAM)
    runtime.synchronise(LEGACY_STREAM)


def _shared_memory() -> set[str]:
    words = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    return {word for word in words if word.startswith(_SHARED)}


def _main(what: str, device: str, handle: str = "", sample: str = "") -> None:
    runtime = Driver(int(device))
    if what == "ipc":
        pointer, expected = runtime.open(bytes.fromhex(handle)), np.frombuffer(bytes.fromhex(sample), np.uint8)
    else:
        # By name: who only reads this file's neighbours must not meet MPI.
        before = _shared_memory()
        itself = importlib.import_module("mpi4py.MPI").COMM_SELF
        print(*_shared_memory() - before, flush=True)
        expected = (np.arange(_BYTES) % 251).astype(np.uint8)
        source, pointer = runtime.allocate(_BYTES), runtime.allocate(_BYTES)
        _copy(runtime, source, int(expected.ctypes.data), _BYTES)
        sent, received = (DeviceView(place, expected.shape, expected.dtype) for place in (source, pointer))
        itself.Sendrecv(sent, dest=0, recvbuf=received, source=0)
    found = np.zeros_like(expected)
    _copy(runtime, int(found.ctypes.data), pointer, found.nbytes)
    print("proved" if np.array_equal(found, expected) else "what arrived is not what was sent")


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except DeviceError as error:
        sys.exit(str(error))
