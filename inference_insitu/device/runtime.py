"""What the paths ask of CUDA (``Runtime``), and the driver that does it (``Driver``).

The driver's library is where a GPU is, whatever toolkit the simulation was built with, and its calls used here have
kept their binary form since CUDA 11.  Streams of the runtime library, of torch and of CuPy are the driver's own.
"""
# ruff: noqa: D102 - the protocol says what its methods do

import contextlib
import ctypes
from typing import Any, Protocol

LIBRARY = "libcuda.so.1"
_NO_DEVICE, _NOT_READY = 100, 600
_CONTEXT, _DEVICE_ORDINAL = 1, 9
_NON_BLOCKING, _NO_TIMING, _PORTABLE, _PEER_ACCESS = 1, 2, 1, 1


class DeviceError(RuntimeError):
    """A call to the device failed; the message names it."""


class Runtime(Protocol):
    """A device, whose streams, events and memory are integers; every call may raise DeviceError.

    ``record``: the event happens when all that the stream has been given is done.  ``wait``: what the stream is given
    from now on is held until the event has happened.  ``synchronise``: the host is held until the stream, or every one
    (None), is done.  ``copy``: in the order of the stream, between any addresses.  ``register``: page-lock memory of
    the host.  ``share``: the handle by which another process can ``open``, until it ends, memory of ``allocate``.
    """

    device: int

    def device_of(self, pointer: int) -> int: ...
    def new_stream(self) -> int: ...
    def new_event(self) -> int: ...
    def record(self, event: int, stream: int) -> None: ...
    def wait(self, stream: int, event: int) -> None: ...
    def done(self, event: int) -> bool: ...
    def synchronise(self, stream: int | None) -> None: ...
    def copy(self, destination: int, source: int, nbytes: int, stream: int) -> None: ...
    def allocate(self, nbytes: int) -> int: ...
    def free(self, pointer: int) -> None: ...
    def register(self, address: int, nbytes: int) -> None: ...
    def unregister(self, address: int) -> None: ...
    def share(self, pointer: int) -> bytes: ...
    def open(self, handle: bytes) -> int: ...


class _Handle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_char * 64),)


def device_count() -> int | None:
    """GPUs that this process may use; None without a driver. DeviceError where it does not answer."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    count = ctypes.c_int()
    for name, argument in (("cuInit", ctypes.c_uint(0)), ("cuDeviceGetCount", ctypes.byref(count))):
        code = int(getattr(library, name)(argument))
        if code == _NO_DEVICE:
            return 0
        if code:
            raise _failure(library, name, code)
    return count.value


def _failure(library: ctypes.CDLL, call: str, code: int) -> DeviceError:
    text = ctypes.c_char_p()
    library.cuGetErrorName(code, ctypes.byref(text))
    return DeviceError(f"{call} failed: {(text.value or str(code).encode()).decode()}")


class Driver:
    """The device of ``pointer``, in its context, or device ``device``, in the primary one; DeviceError if none."""

    def __init__(self, device: int = 0, *, pointer: int | None = None) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise DeviceError(str(error)) from None
        self._context = 0
        self._call("cuInit", 0)
        self.device = device if pointer is None else self.device_of(pointer)
        own = 0
        if pointer is not None:
            # Memory of stream-ordered pools has no context: its makers use the primary one.
            with contextlib.suppress(DeviceError):
                own = self._get("cuPointerGetAttribute", _CONTEXT, pointer)
        self._context = own or self._get("cuDevicePrimaryCtxRetain", self._get("cuDeviceGet", self.device))

    def _call(self, name: str, *arguments: Any, accept: int = 0) -> int:
        # 64 bits each: a callee that takes fewer reads the lower half of the register.
        wide = (ctypes.c_uint64(value) if isinstance(value, int) else value for value in arguments)
        # The thread may have another context, or none: ours is put on top for the call.
        used = self._context and self._library.cuCtxPushCurrent_v2(ctypes.c_uint64(self._context)) == 0
        try:
            code = int(getattr(self._library, name)(*wide))
        finally:
            if used:
                self._library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_uint64()))
        if code not in (0, accept):
            raise _failure(self._library, name, code)
        return code

    def _get(self, name: str, *arguments: Any) -> int:
        result = ctypes.c_uint64(0)  # narrower results lie in its lower bytes
        self._call(name, ctypes.byref(result), *arguments)
        return result.value

    def make_current(self) -> None:
        """For a library that wants a context of the thread before it touches device memory."""
        code = int(self._library.cuCtxSetCurrent(ctypes.c_uint64(self._context)))
        if code:
            raise _failure(self._library, "cuCtxSetCurrent", code)

    def device_of(self, pointer: int) -> int:
        return self._get("cuPointerGetAttribute", _DEVICE_ORDINAL, pointer)

    def new_stream(self) -> int:
        return self._get("cuStreamCreate", _NON_BLOCKING)

    def new_event(self) -> int:
        return self._get("cuEventCreate", _NO_TIMING)

    def record(self, event: int, stream: int) -> None:
        self._call("cuEventRecord", event, stream)

    def wait(self, stream: int, event: int) -> None:
        self._call("cuStreamWaitEvent", stream, event, 0)

    def done(self, event: int) -> bool:
        return self._call("cuEventQuery", event, accept=_NOT_READY) == 0

    def synchronise(self, stream: int | None) -> None:
        self._call("cuCtxSynchronize") if stream is None else self._call("cuStreamSynchronize", stream)

    def copy(self, destination: int, source: int, nbytes: int, stream: int) -> None:
        self._call("cuMemcpyAsync", destination, source, nbytes, stream)

    def allocate(self, nbytes: int) -> int:
        return self._get("cuMemAlloc_v2", nbytes)

    def free(self, pointer: int) -> None:
        self._call("cuMemFree_v2", pointer)

    def register(self, address: int, nbytes: int) -> None:
        self._call("cuMemHostRegister_v2", address, nbytes, _PORTABLE)

    def unregister(self, address: int) -> None:
        self._call("cuMemHostUnregister", address)

    def share(self, pointer: int) -> bytes:
        handle = _Handle()
        self._call("cuIpcGetMemHandle", ctypes.byref(handle), pointer)
        return bytes(handle)

    def open(self, handle: bytes) -> int:
        return self._get("cuIpcOpenMemHandle_v2", _Handle.from_buffer_copy(handle), _PEER_ACCESS)
