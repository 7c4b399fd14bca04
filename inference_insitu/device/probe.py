"""What can be done with device memory here, tried, and the path that follows.  Run as a module, a probe's child."""

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cdi.launched import environment_without_launcher
from inference_insitu.coupling_config import PlacementKind
from inference_insitu.device.arrays import LEGACY_STREAM, DeviceArray
from inference_insitu.device.choice import Capabilities, choose
from inference_insitu.device.paths import DevicePath, IpcPath, PinnedPath, PlainPath
from inference_insitu.device.runtime import DeviceError, Driver, Runtime

TIMEOUT_S = 60.0
_BYTES = 2 << 20  # as CUDA shares memory: whole pages of its own


def open_path(
    wanted: str,
    array: DeviceArray,
    region: NDArray[np.uint8],
    placement: PlacementKind,
    consumer_on_gpu: bool,
    write: Callable[[str], object],
) -> DevicePath:
    """Probe, choose, ``write`` which and open, for the device of ``array`` and slots in ``region``.

    Raises
    ------
    ValueError
        If the ``wanted`` path (``auto`` for the best) is not possible.
    """
    runtime: Driver | None = None
    try:
        runtime = Driver(pointer=array.pointer)
        found = find_capabilities(runtime, region, placement, consumer_on_gpu, wanted)
    except DeviceError as error:
        found = Capabilities(placement=placement, consumer_on_gpu=consumer_on_gpu, notes={"cuda": str(error)})
    choice = choose(found, wanted)
    write(f"arrays on the device: {choice.path} ({choice.why})")
    if runtime is None or choice.path == "plain":
        return PlainPath(runtime)
    return PinnedPath(runtime, region) if choice.path == "pinned" else IpcPath(runtime)


def open_plain(array: DeviceArray) -> PlainPath:
    """The path that needs nothing, for the device of ``array``."""
    try:
        return PlainPath(Driver(pointer=array.pointer))
    except DeviceError:
        return PlainPath(None)


def find_capabilities(
    runtime: Runtime,
    region: NDArray[np.uint8],
    placement: PlacementKind,
    consumer_on_gpu: bool,
    wanted: str = "auto",
) -> Capabilities:
    """Try what the choice depends on here, and no more: a child takes a second."""
    trials: dict[str, Callable[[], None]] = {"host_register": lambda: _lock(runtime, region)}
    if placement in ("cores", "process") and consumer_on_gpu and wanted in ("auto", "ipc"):
        trials["ipc"] = lambda: _share(runtime)
    notes: dict[str, str] = {}
    for name, trial in trials.items():
        try:
            trial()
        except DeviceError as error:
            notes[name] = str(error)
    results = {name: name not in notes for name in trials}
    ipc, lock = (results.get(name) for name in ("ipc", "host_register"))
    return Capabilities(True, ipc, lock, placement, consumer_on_gpu, notes)


def run_child(*arguments: str, timeout_s: float = TIMEOUT_S) -> None:
    """Run this file with ``arguments``, hidden from the rank's launcher; DeviceError unless it proves them."""
    command = [sys.executable, "-m", "inference_insitu.device.probe", *arguments]
    kept = environment_without_launcher()
    try:
        done = subprocess.run(
            command, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"the probe did not answer in {timeout_s:g} s") from None
    except OSError as error:
        raise DeviceError(f"the probe did not start: {error}") from None
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
        run_child(runtime.share(pointer).hex(), sample.hex())
    finally:
        runtime.free(pointer)


def _copy(runtime: Runtime, destination: int, source: int, nbytes: int) -> None:
    runtime.copy(destination, source, nbytes, LEGACY_STREAM)
    runtime.synchronise(LEGACY_STREAM)


def _main(handle: str, sample: str) -> None:
    runtime = Driver()  # as a worker maps what is shared with it, wherever the simulation's device is
    expected = np.frombuffer(bytes.fromhex(sample), np.uint8)
    found = np.zeros_like(expected)
    _copy(runtime, int(found.ctypes.data), runtime.open(bytes.fromhex(handle)), found.nbytes)
    print("proved" if np.array_equal(found, expected) else "what arrived is not what was sent")


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except DeviceError as error:
        sys.exit(str(error))
