"""A simulation publishes and overwrites at once; whatever the order of work, a ready slot holds what was published."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_device import FakeRuntime

from inference_insitu.device.arrays import DeviceArray, DeviceView
from inference_insitu.device.paths import DevicePath, IpcPath, PinnedPath, PlainPath, StagedPath
from inference_insitu.device.runtime import DeviceError
from inference_insitu.device.to_device import IpcReader

SHAPE = (4, 5)
SLOT_BYTES = 200
SLOTS = 3
STREAM = 7
SEEDS = range(40)
PATHS = ["plain", "pinned", "ipc"]


class Scene:
    """A ring, a device, a path and a simulation of one array."""

    def __init__(self, kind: str, stream: int | None = STREAM, runtime: FakeRuntime | None = None) -> None:
        self.runtime = runtime or FakeRuntime()
        self.runtime.pageable_allowed = kind == "plain"
        self.runtime.streams.setdefault(STREAM, type(self.runtime.streams[1])())
        self.region = np.zeros(SLOTS * SLOT_BYTES, np.uint8)
        self.slots = [self.region[i * SLOT_BYTES : (i + 1) * SLOT_BYTES] for i in range(SLOTS)]
        self.source = np.zeros(SHAPE)
        self.array = DeviceArray(self, self.runtime.adopt(self.source), SHAPE, self.source.dtype, stream)
        self.path = self.open(kind)
        self.attributes: dict[int, dict[str, str]] = {}
        self.published: dict[int, float] = {}
        self.ready: set[int] = set()

    def open(self, kind: str) -> DevicePath:
        if kind == "pinned":
            return PinnedPath(self.runtime, self.region)
        return {"plain": PlainPath, "ipc": IpcPath}[kind](self.runtime)

    def publish(self, slot: int, value: float) -> None:
        """Compute on the stream, publish, and overwrite by the next thing that the simulation does."""
        self.published[slot] = value
        self.runtime.give(STREAM, lambda: self.source.fill(value))
        self.attributes[slot] = self.path.write(self.array, self.slots[slot], lambda: self.ready.add(slot))
        if self.array.stream is None:
            self.source.fill(-1.0)  # by whoever: no order is known, so none may be needed
        else:
            self.runtime.give(STREAM, lambda: self.source.fill(-1.0))

    def content(self, slot: int) -> np.ndarray:
        """What a consumer finds."""
        view: DeviceView | None = None
        if isinstance(self.path, IpcPath):
            view = IpcReader(self.runtime).view(self.attributes[slot], SHAPE, self.source.dtype)
        held = self.slots[slot] if view is None else self.runtime.memory[view.pointer]
        return held[: self.array.nbytes].view(np.float64)

    def play(self, seed: int, rounds: int = 25) -> None:
        """Publish, work, poll and consume in an order of the seed's; every ready slot is looked at early and late."""
        chance = self.runtime.random = random.Random(seed)
        free, value = list(range(SLOTS)), 0.0
        for _ in range(rounds):
            if free and chance.random() < 0.7:
                value += 1.0
                self.publish(free.pop(chance.randrange(len(free))), value)
            for _ in range(chance.randrange(6)):
                self.runtime.step()
            before = set(self.ready)
            self.path.poll()
            for slot in self.ready - before:
                assert (self.content(slot) == self.published[slot]).all(), "a slot was ready too early"
            for slot in [slot for slot in self.ready if chance.random() < 0.4]:
                assert (self.content(slot) == self.published[slot]).all(), "a slot changed while it was the consumer's"
                self.ready.remove(slot)
                free.append(slot)
        self.runtime.eager = chance
        under_way = SLOTS - len(free) - len(self.ready)
        assert self.path.close(timeout_s=10.0) == 0
        assert under_way == 0 or len(self.ready) >= under_way


@pytest.mark.parametrize("stream", [STREAM, None], ids=["known stream", "unknown stream"])
@pytest.mark.parametrize("kind", PATHS)
def test_a_ready_slot_holds_what_was_published(kind: str, stream: int | None) -> None:
    for seed in SEEDS:
        scene = Scene(kind, stream)
        scene.play(seed)
        assert scene.runtime.locked == {}
        assert list(scene.runtime.memory) == [scene.array.pointer], "the path kept memory"


class NoWait(FakeRuntime):
    def wait(self, stream: int, event: int) -> None:
        pass


class EverDone(FakeRuntime):
    def done(self, event: int) -> bool:
        return True


class NoSynchronise(FakeRuntime):
    def synchronise(self, stream: int | None) -> None:
        pass


class Unstaged(PinnedPath):
    def _enqueue(self, array: DeviceArray, address: int, buffer: Any) -> int:
        self._runtime.record(self._staged, array.stream or self._side)
        self._runtime.wait(self._side, self._staged)
        self._runtime.copy(address, array.pointer, array.nbytes, self._side)
        return self._side


def play_all(kind: str, stream: int | None, runtime: type[FakeRuntime]) -> None:
    for seed in SEEDS:
        Scene(kind, stream, runtime()).play(seed)


@pytest.mark.parametrize(
    ("runtime", "kind", "stream"),
    [
        (NoWait, "pinned", STREAM),
        *[(EverDone, kind, STREAM) for kind in PATHS[1:]],
        (NoSynchronise, "plain", STREAM),
        *[(NoSynchronise, kind, None) for kind in PATHS],
    ],
)
def test_an_order_violated_is_found(runtime: type[FakeRuntime], kind: str, stream: int | None) -> None:
    """The tests above can fail: without one of the steps of a path, they do."""
    with pytest.raises(AssertionError, match=r"slot|needs|not page-locked"):
        play_all(kind, stream, runtime)


def test_a_copy_without_staging_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_unstaged(scene: Scene, kind: str) -> DevicePath:
        return Unstaged(scene.runtime, scene.region)

    monkeypatch.setattr(Scene, "open", open_unstaged)
    with pytest.raises(AssertionError, match="slot"):
        play_all("pinned", STREAM, FakeRuntime)


def finish(scene: Scene) -> None:
    while scene.runtime.step():
        pass
    assert scene.path.poll() == 0


@pytest.mark.parametrize("kind", PATHS[1:])
def test_publish_waits_for_nothing_and_the_source_lives_until_ready(kind: str) -> None:
    scene = Scene(kind)
    scene.publish(0, 3.0)
    assert scene.runtime.streams[STREAM], "the device has not begun"
    assert scene.path.poll() == 1
    assert isinstance(scene.path, StagedPath)
    assert scene.path._under_way[0].owner is scene
    assert not scene.ready
    finish(scene)
    assert scene.ready == {0}


def test_plain_is_ready_when_write_returns() -> None:
    scene = Scene("plain")
    scene.publish(1, 3.0)
    assert scene.ready == {1}
    assert (scene.content(1) == 3.0).all()
    assert scene.path.poll() == scene.path.close(0.0) == 0


def test_a_slots_handle_stays_the_same() -> None:
    scene = Scene("ipc")
    seen: dict[int, set[str]] = {0: set(), 1: set()}
    for value in range(6):
        scene.publish(value % 2, float(value))
        seen[value % 2].add(scene.attributes[value % 2]["device_handle"])
        finish(scene)
    assert len(seen[0]) == len(seen[1]) == 1
    assert seen[0] != seen[1]
    assert not scene.region.any(), "the slot's own bytes are left alone"


def test_pinned_stages_in_one_buffer_where_one_copy_is_under_way() -> None:
    scene = Scene("pinned")
    for value in range(6):
        scene.publish(value % SLOTS, float(value))
        finish(scene)
    assert scene.runtime.allocations == 1


@pytest.mark.parametrize("kind", PATHS[1:])
def test_a_larger_array_in_a_slot_gets_a_larger_buffer(kind: str) -> None:
    scene = Scene(kind)
    big = np.full(3 << 20, 9, np.uint8)
    array = DeviceArray(None, scene.runtime.adopt(big), big.shape, big.dtype, STREAM)
    scene.region = np.zeros(4 << 20, np.uint8)
    scene.slots = [scene.region[:], scene.region[:SLOT_BYTES]]
    scene.path = scene.open(kind)
    scene.publish(0, 1.0)
    finish(scene)
    scene.path.write(array, scene.slots[0], lambda: None)
    finish(scene)
    assert scene.path.close(1.0) == 0
    assert len(scene.runtime.memory) == 2


@pytest.mark.parametrize("kind", PATHS)
def test_what_does_not_fit_is_refused_in_one_line(kind: str) -> None:
    scene = Scene(kind)
    elsewhere = DeviceArray(None, 0x10, SHAPE, scene.source.dtype, STREAM)
    still = scene.slots[0][:]
    still.flags.writeable = False
    cases: list[tuple[DeviceArray, np.ndarray, str]] = [
        (scene.array, scene.slots[0][:8], "array must fit the slot's 8 bytes, got 160"),
        (scene.array, still, "slot must be contiguous and writable"),
        (elsewhere, scene.slots[0], "array must be on device 0 as the first one was, got 1"),
    ]
    if kind == "pinned":
        cases.append((scene.array, np.zeros(SLOT_BYTES, np.uint8), "slot must lie in the page-locked region"))
    for array, slot, message in cases:
        with pytest.raises(ValueError, match=message):
            scene.path.write(array, slot, lambda: pytest.fail("it was refused"))
    scene.publish(0, 1.0)  # a refusal leaves the path as it was
    finish(scene)
    assert (scene.content(0) == 1.0).all()


@pytest.mark.parametrize("kind", PATHS[1:])
def test_no_memory_on_the_device_fails_one_publication(kind: str) -> None:
    scene = Scene(kind)
    scene.runtime.failing = {"allocate"}
    with pytest.raises(DeviceError, match="allocate"):
        scene.publish(0, 1.0)
    scene.runtime.failing = set()
    scene.publish(0, 2.0)
    finish(scene)
    assert scene.ready == {0}


@pytest.mark.parametrize("kind", PATHS[1:])
@pytest.mark.parametrize("what", ["done", "record", "copy"])
def test_a_failed_device_makes_no_slot_ready(kind: str, what: str) -> None:
    scene = Scene(kind)
    scene.publish(0, 1.0)
    scene.runtime.failing = {what}
    call: Callable[[], object] = scene.path.poll if what == "done" else lambda: scene.publish(1, 2.0)
    with pytest.raises(DeviceError, match="CUDA_ERROR_OF_A_TEST"):
        call()
    with pytest.raises(DeviceError, match="this path has failed"):
        scene.publish(2, 3.0)
    lost = 1 if what == "done" else 0  # what was whole before goes on
    scene.runtime.eager = random.Random(0)
    assert scene.path.close(5.0) == lost
    assert scene.ready == ({0} if lost == 0 else set())


@pytest.mark.parametrize("kind", PATHS[1:])
def test_close_gives_up_in_time_and_frees_nothing_that_is_in_use(kind: str) -> None:
    scene = Scene(kind)
    scene.publish(0, 1.0)
    assert scene.path.close(timeout_s=0.01) == 1
    while scene.runtime.step():  # the device comes to it at last, in memory that is still there
        pass
    assert scene.path.poll() == 0
    assert not scene.ready, "a lost slot does not become ready"
    with pytest.raises(DeviceError, match="this path is closed"):
        scene.publish(1, 1.0)


class OfALibrary:
    def __init__(self, name: str, host: np.ndarray) -> None:
        setattr(self, name, lambda: host)


@pytest.mark.parametrize("name", ["cpu", "get"])
def test_plain_without_a_driver_asks_the_arrays_own_library(name: str) -> None:
    host = np.arange(20.0).reshape(SHAPE)
    array = DeviceArray(OfALibrary(name, host), 0, SHAPE, host.dtype, None)
    slot = np.zeros(SLOT_BYTES, np.uint8)
    called: list[bool] = []
    assert PlainPath(None).write(array, slot, lambda: called.append(True)) == {}
    assert called == [True]
    np.testing.assert_array_equal(slot[:160].view(np.float64).reshape(SHAPE), host)
