"""The real thing; runs where there is a GPU."""

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_network import write_untrained

from inference_insitu.device.arrays import device_array
from inference_insitu.device.paths import HANDLE, DevicePath, IpcPath, PinnedPath, PlainPath
from inference_insitu.device.probe import find_capabilities, open_path
from inference_insitu.device.runtime import Driver
from inference_insitu.device.to_device import to_device
from inference_insitu.inference.defects import Defects, example
from inference_insitu.inference.frame import Frame, Variable

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch.cuda.is_available() is False")

SHAPE = (256, 512)
SLOT_BYTES = 256 * 512 * 4
LONG_CYCLES = 100_000_000
"""Of a kernel that is still running when publish returns."""


@pytest.fixture
def region() -> Iterator[np.ndarray]:
    """Shared memory as the ring has it."""
    place = Path(f"/dev/shm/cdi-test-{os.getpid()}")
    with place.open("w+b") as file:
        file.truncate(2 * SLOT_BYTES)
        shared = mmap.mmap(file.fileno(), 2 * SLOT_BYTES)
    yield np.frombuffer(shared, np.uint8)
    place.unlink()


@pytest.fixture
def source() -> Any:
    return torch.zeros(SHAPE, dtype=torch.float32, device="cuda")


def finish(path: DevicePath) -> None:
    deadline = time.monotonic() + 20.0
    while path.poll():
        assert time.monotonic() < deadline, "the slot was never ready"


def held(path: Any, kind: str, slot: Any, runtime: Driver) -> Any:
    """What a full slot holds, or the buffer on the device that stands for it."""
    if kind in ("plain", "pinned"):
        return slot.view(np.float32)
    found = np.zeros(SLOT_BYTES // 4, np.float32)
    runtime.copy(found.ctypes.data, path._held[slot.ctypes.data].pointer, found.nbytes, 1)
    runtime.synchronise(1)
    return found


@pytest.mark.parametrize("default_stream", [True, False], ids=["default stream", "side stream"])
@pytest.mark.parametrize("kind", ["plain", "pinned", "ipc"])
def test_a_ready_slot_holds_what_was_published(kind: str, default_stream: bool, region: Any, source: Any) -> None:
    stream = torch.cuda.default_stream() if default_stream else torch.cuda.Stream()
    runtime = Driver(pointer=source.data_ptr())
    path = {"plain": PlainPath, "ipc": IpcPath}.get(kind, lambda r: PinnedPath(r, region))(runtime)
    slots = np.split(region, 2)
    with torch.cuda.stream(stream):
        for turn in range(6):
            slot, done = slots[turn % 2], []
            torch.cuda._sleep(LONG_CYCLES)
            source.fill_(turn + 1.0)
            array = device_array(source)
            assert array is not None
            assert array.stream == (stream.cuda_stream or 1)
            path.write(array, slot, lambda done=done: done.append(True))
            source.fill_(-1.0)
            assert bool(done) == (kind == "plain")
            finish(path)
            assert done == [True]
            assert (held(path, kind, slot, runtime) == turn + 1.0).all()
    assert path.close(10.0) == 0


@pytest.mark.parametrize("kind", ["plain", "pinned", "ipc"])
def test_cupy_names_the_stream_that_makes_an_array(kind: str, region: Any) -> None:
    """Nothing waits for the host between what makes the array, what is published, and what overwrites it."""
    cupy = pytest.importorskip("cupy")
    with cupy.cuda.Stream(non_blocking=True) as stream:
        source = cupy.zeros(SHAPE, cupy.float32)
        runtime = Driver(pointer=source.data.ptr)
        path = {"plain": PlainPath, "ipc": IpcPath}.get(kind, lambda r: PinnedPath(r, region))(runtime)
        large = cupy.ones((4096, 4096), cupy.float32)
        large @= large  # loads the library, which waits
        for turn in range(3):
            for _ in range(20):
                large = large @ large
            source.fill(turn + 1.0)
            array = device_array(source)
            assert array is not None
            assert array.stream == stream.ptr
            path.write(array, region[:SLOT_BYTES], lambda: None)
            source.fill(-1.0)
            finish(path)
            assert (held(path, kind, region[:SLOT_BYTES], runtime) == turn + 1.0).all()
    assert path.close(10.0) == 0


READER = """
import sys, numpy as np, torch
from inference_insitu.device.runtime import Driver
from inference_insitu.device.to_device import IpcReader
torch.cuda.init()
reader = IpcReader(Driver(0))
view = reader.view({sys.argv[1]: sys.argv[2]}, (256, 512), np.dtype(np.float32))
tensor = torch.as_tensor(view, device="cuda")
assert tensor.data_ptr() == view.pointer, "a copy was taken"
print(float(tensor.double().sum()))
"""


def test_another_process_reads_the_frame_where_it_lies(region: Any, source: Any) -> None:
    source.fill_(2.0)
    array = device_array(source)
    assert array is not None
    said: list[str] = []
    path = open_path("ipc", array, region, "cores", True, said.append)
    attributes = path.write(array, region[:SLOT_BYTES], lambda: None)
    finish(path)
    command = [sys.executable, "-c", READER, HANDLE, attributes[HANDLE]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 2.0 * source.numel()
    assert path.close(10.0) == 0


def test_probes_answer(region: Any, source: Any) -> None:
    found = find_capabilities(Driver(pointer=source.data_ptr()), region, "cores", True)
    assert found.cuda
    assert found.host_register, found.notes
    assert found.ipc is not None


def test_frames_to_the_device() -> None:
    frames = [np.random.default_rng(i).normal(size=(2, 64, 64)).astype(np.float32) for i in range(4)]
    batch = to_device(frames, "cuda")
    assert batch.is_cuda
    assert torch.equal(batch.cpu(), torch.from_numpy(np.stack(frames)))


@pytest.mark.parametrize("options", [{}, {"precision": "bf16", "channels_last": True}], ids=["float32", "bf16"])
def test_a_network_says_the_same_on_the_device(options: dict[str, Any], tmp_path: Path) -> None:
    shape = (32, 32, 32)
    model, frames = (
        str(write_untrained(tmp_path)),
        [Frame("pattern", 0, step, example(shape).counts) for step in (1, 2)],
    )
    answers = []
    for device in ("cpu", "cuda"):
        subject = Defects(model=model, device=device, **(options if device == "cuda" else {}))
        subject.warm_up(Variable("float32", shape))
        answers.append([answer["defect_probability"] for answer in subject.answer(frames)])
    np.testing.assert_allclose(answers[1], answers[0], atol=0.02)
