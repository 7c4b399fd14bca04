"""A device whose streams do their work only when told, in any order that CUDA allows; a wrong order shows in the data.

Memory is the host's own, at its own addresses. What CUDA would leave undefined is an ``AssertionError`` here: an event
never recorded, an asynchronous copy to memory that is not page-locked, memory freed while a stream still needs it.
"""

import ctypes
import random
from collections import deque
from collections.abc import Callable

import numpy as np

from inference_insitu.device.runtime import DeviceError

Operation = tuple[str, tuple[int, ...], Callable[[], None]]


class FakeRuntime:
    device = 0

    def __init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.locked: dict[int, int] = {}
        self.streams: dict[int, deque[Operation]] = {1: deque()}
        self.recorded: dict[int, int] = {}
        self.happened: dict[int, int] = {}
        self.allocations = 0
        self.pageable_allowed = False
        self.eager: random.Random | None = None
        self.failing: set[str] = set()
        self.random = random.Random(0)

    # What a simulation does with its device.
    def adopt(self, array: np.ndarray) -> int:
        self.memory[array.ctypes.data] = array.reshape(-1).view(np.uint8)
        return int(array.ctypes.data)

    def give(self, stream: int, work: Callable[[], None]) -> None:
        self.streams.setdefault(stream, deque()).append(("work", (), work))

    # What the device does in its own time.
    def step(self) -> bool:
        able = [queue for queue in self.streams.values() if queue and self._may_start(queue[0])]
        if able:
            self.random.choice(able).popleft()[2]()
        return bool(able)

    def _may_start(self, operation: Operation) -> bool:
        kind, about, _ = operation
        return kind != "wait" or self.happened.get(about[0], 0) >= about[1]

    # The protocol.
    def device_of(self, pointer: int) -> int:
        self._try("device_of")
        return 0 if self._within(pointer, 1, self.memory) else 1

    def new_stream(self) -> int:
        self.streams[number := 100 + len(self.streams)] = deque()
        return number

    def new_event(self) -> int:
        self.recorded[number := 1000 + len(self.recorded)] = 0
        return number

    def record(self, event: int, stream: int) -> None:
        self._try("record")
        self.recorded[event] += 1
        turn = self.recorded[event]
        self.streams[stream].append(("record", (event,), lambda: self.happened.__setitem__(event, turn)))

    def wait(self, stream: int, event: int) -> None:
        assert self.recorded[event], "a stream waits for an event that was never recorded"
        self.streams[stream].append(("wait", (event, self.recorded[event]), lambda: None))

    def done(self, event: int) -> bool:
        self._try("done")
        assert self.recorded[event], "an event was never recorded"
        if self.eager is not None:
            self.step()
        return self.happened.get(event, 0) >= self.recorded[event]

    def synchronise(self, stream: int | None) -> None:
        while any(self.streams.values()) if stream is None else self.streams[stream]:
            assert self.step(), "the streams wait for each other"

    def copy(self, destination: int, source: int, nbytes: int, stream: int) -> None:
        self._try("copy")
        assert self._within(source, nbytes, self.memory), "a copy from nowhere"
        on_device = self._within(destination, nbytes, self.memory)
        locked = any(start <= destination and destination + nbytes <= start + n for start, n in self.locked.items())
        assert on_device or locked or self.pageable_allowed, "an asynchronous copy to memory that is not page-locked"
        work: Callable[[], None] = lambda: ctypes.memmove(destination, source, nbytes) and None  # noqa: E731
        self.streams[stream].append(("copy", (destination, source), work))

    def allocate(self, nbytes: int) -> int:
        self._try("allocate")
        self.allocations += 1
        return self.adopt(np.full(nbytes, 0xEE, np.uint8))

    def free(self, pointer: int) -> None:
        self._require_unused(pointer, self.memory.pop(pointer).nbytes)

    def register(self, address: int, nbytes: int) -> None:
        self._try("register")
        self.locked[address] = nbytes

    def unregister(self, address: int) -> None:
        self._require_unused(address, self.locked.pop(address))

    def share(self, pointer: int) -> bytes:
        return pointer.to_bytes(64, "little")

    def open(self, handle: bytes) -> int:
        return int.from_bytes(handle, "little")

    def _try(self, name: str) -> None:
        if name in self.failing:
            raise DeviceError(f"{name} failed: CUDA_ERROR_OF_A_TEST")

    def _require_unused(self, start: int, nbytes: int) -> None:
        for queue in self.streams.values():
            for kind, addresses, _ in queue:
                used = kind == "copy" and any(start <= address < start + nbytes for address in addresses)
                assert not used, "memory is let go while a stream needs it"

    def _within(self, pointer: int, nbytes: int, memory: dict[int, np.ndarray]) -> bool:
        return any(start <= pointer and pointer + nbytes <= start + held.nbytes for start, held in memory.items())
