"""The ways from an array on the device to a slot of the ring.

A path is used by one thread, the one that publishes.  A slot is the consumer's from ``ready`` on and the path's again
with the next ``write`` into it; between the two, what the path staged for it stays as it is.
"""

import contextlib
import json
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference_insitu.device.arrays import LEGACY_STREAM, DeviceArray
from inference_insitu.device.runtime import DeviceError, Runtime

Slot = NDArray[Any]
HANDLE = "device_handle"
"""The attribute that sends the inference to the device and not to the slot's bytes: a handle in hexadecimal digits."""

_GRAIN_BYTES = 2 << 20  # what is smaller may share a page, and CUDA shares whole pages with other processes
_PAUSE_S = 0.0005


class DevicePath(ABC):
    """Fills slots from arrays on one device."""

    room = 0
    """Bytes of JSON that the attributes which ``write`` gives may take."""

    @property
    def failed(self) -> bool:
        """Whether the device failed: no more can be written, and what was being written may be so still."""
        return False

    @abstractmethod
    def write(self, array: DeviceArray, slot: Slot, ready: Callable[[], None]) -> dict[str, str]:
        """Start to fill ``slot``; call ``ready`` once it is full, now or in a ``poll``; return attributes it needs.

        ValueError if the array does not fit or is on another device, DeviceError if the device refused; after either,
        ``ready`` is not called, and the slot is left alone unless the path has ``failed``.
        """

    def poll(self) -> int:
        """Call ``ready`` of slots that are full by now, oldest first, and return how many are not; never waits.

        DeviceError if the device failed: no slot under way will become ready, and nothing more can be written.
        """
        return 0

    def close(self, timeout_s: float) -> int:
        """Finish what is under way in ``timeout_s`` at most, free everything, and return how many slots are lost.

        To be called after the consumer's end, the ring being mapped still.  Where slots are lost, or the device failed,
        it may be using the memory still, so none is freed.
        """
        return 0


class PlainPath(DevicePath):
    """One copy that publish waits for; without a ``runtime`` it is made by the array's own library."""

    def __init__(self, runtime: Runtime | None) -> None:
        self._runtime = runtime

    def write(self, array: DeviceArray, slot: Slot, ready: Callable[[], None]) -> dict[str, str]:  # noqa: D102
        address = _address(self._runtime, array, slot)
        if self._runtime is None:
            owner = array.owner  # torch's tensors know cpu(), CuPy's arrays get()
            host = np.ascontiguousarray(owner.cpu() if hasattr(owner, "cpu") else owner.get())
            slot.reshape(-1).view(np.uint8)[: array.nbytes] = host.reshape(-1).view(np.uint8)
        else:
            self._runtime.synchronise(_copy_in_order(self._runtime, array, address, LEGACY_STREAM))
        ready()
        return {}


class _Buffer(NamedTuple):
    pointer: int
    nbytes: int


class _Copy(NamedTuple):
    """A slot being filled: what it waits for, and what must live until then."""

    address: int
    event: int
    ready: Callable[[], None]
    owner: object
    buffer: _Buffer


class StagedPath(DevicePath):
    """Copies within the device, in the producing stream's order, into a pooled buffer; here, the slot's own."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._spare: list[_Buffer] = []
        self._events: list[int] = []
        self._held: dict[int, _Buffer] = {}
        self._under_way: deque[_Copy] = deque()
        self._lost: list[_Copy] = []
        self._broken: str | None = None
        self._side = runtime.new_stream()

    @property
    def failed(self) -> bool:  # noqa: D102
        return self._broken is not None

    def write(self, array: DeviceArray, slot: Slot, ready: Callable[[], None]) -> dict[str, str]:  # noqa: D102
        address = _address(self._runtime, array, slot)
        if self._broken is not None:
            raise DeviceError(self._broken)
        buffer = self._reserve(address, array.nbytes)
        attributes = self._attributes(buffer)
        event = self._events.pop() if self._events else self._runtime.new_event()
        try:
            self._runtime.record(event, self._enqueue(array, address, buffer))
        except DeviceError as error:  # part of it may be under way: nothing is used again
            self._broken = f"this path has failed: {error}"
            raise
        self._under_way.append(_Copy(address, event, ready, array.owner, buffer))
        return attributes

    def poll(self) -> int:  # noqa: D102
        while self._under_way:
            try:
                if not self._runtime.done(self._under_way[0].event):
                    break
            except DeviceError as error:
                self._abandon(f"this path has failed: {error}")
                raise
            copy = self._under_way.popleft()
            self._events.append(copy.event)
            self._filled(copy)
            copy.ready()
        return len(self._under_way)

    def close(self, timeout_s: float) -> int:  # noqa: D102
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(DeviceError):
            while self.poll() and time.monotonic() < deadline:
                time.sleep(_PAUSE_S)
            if not self._under_way and self._broken is None:
                self._free()
        self._abandon("this path is closed")
        return len(self._lost)

    def _abandon(self, why: str) -> None:
        self._broken = self._broken or why
        self._lost += self._under_way  # what the device may be reading must live on
        self._under_way.clear()

    def _reserve(self, address: int, nbytes: int) -> _Buffer:
        held = self._held.get(address)
        if held is None or held.nbytes < nbytes:
            self._held[address] = self._take(nbytes)
            self._spare += [held] if held else []
        return self._held[address]

    def _take(self, nbytes: int) -> _Buffer:
        for buffer in sorted(self._spare, key=lambda buffer: buffer.nbytes):
            if buffer.nbytes >= nbytes:
                self._spare.remove(buffer)
                return buffer
        size = -(-nbytes // _GRAIN_BYTES) * _GRAIN_BYTES
        return _Buffer(self._runtime.allocate(size), size)

    def _attributes(self, buffer: _Buffer) -> dict[str, str]:
        return {}

    def _enqueue(self, array: DeviceArray, address: int, buffer: _Buffer) -> int:
        """Give the device its work, and return the stream on which that ends."""
        return _copy_in_order(self._runtime, array, buffer.pointer, self._side)

    def _filled(self, copy: _Copy) -> None:
        """Called before a slot is ready."""

    def _free(self) -> None:
        for buffer in (*self._spare, *self._held.values()):
            self._runtime.free(buffer.pointer)


class PinnedPath(StagedPath):
    """Copies on from the buffer into the slot, on a side stream; the ``region`` of the whole ring is page-locked."""

    def __init__(self, runtime: Runtime, region: NDArray[np.uint8]) -> None:
        super().__init__(runtime)
        self._region, self._start = region, int(region.ctypes.data)
        self._staged = runtime.new_event()
        runtime.register(self._start, region.nbytes)

    def _reserve(self, address: int, nbytes: int) -> _Buffer:
        if not self._start <= address <= address + nbytes <= self._start + self._region.nbytes:
            raise ValueError(f"slot must lie in the page-locked region, got {nbytes} bytes at {address:#x}")
        return self._take(nbytes)

    def _enqueue(self, array: DeviceArray, address: int, buffer: _Buffer) -> int:
        self._runtime.record(self._staged, super()._enqueue(array, address, buffer))
        self._runtime.wait(self._side, self._staged)
        self._runtime.copy(address, buffer.pointer, array.nbytes, self._side)
        return self._side

    def _filled(self, copy: _Copy) -> None:
        self._spare.append(copy.buffer)

    def _free(self) -> None:
        self._runtime.unregister(self._start)
        super()._free()


class IpcPath(StagedPath):
    """The consumer maps the buffer (``IpcReader``); the slot's own bytes are left alone."""

    room = len(json.dumps({HANDLE: "0" * 128}))

    def _attributes(self, buffer: _Buffer) -> dict[str, str]:
        return {HANDLE: self._runtime.share(buffer.pointer).hex()}  # of one buffer always the same


def _address(runtime: Runtime | None, array: DeviceArray, slot: Slot) -> int:
    if not (slot.flags.c_contiguous and slot.flags.writeable):
        raise ValueError("slot must be contiguous and writable, got one that is not")
    if array.nbytes > slot.nbytes:
        raise ValueError(f"array must fit the slot's {slot.nbytes} bytes, got {array.nbytes}")
    device = None if runtime is None else runtime.device_of(array.pointer)
    if runtime is not None and device != runtime.device:
        raise ValueError(f"array must be on device {runtime.device} as the first one was, got {device}")
    return int(slot.ctypes.data)


def _copy_in_order(runtime: Runtime, array: DeviceArray, destination: int, otherwise: int) -> int:
    """Copy on the array's stream; or, of an array without one, on ``otherwise``, waiting before and after."""
    if array.stream is None:
        runtime.synchronise(None)
    stream = array.stream or otherwise
    runtime.copy(destination, array.pointer, array.nbytes, stream)
    if array.stream is None:
        runtime.synchronise(stream)
    return stream
