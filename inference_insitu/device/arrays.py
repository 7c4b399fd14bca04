"""Recognising arrays on a GPU, whoever made them; nothing is imported for it but what made them."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

LEGACY_STREAM = 1
"""The handle that both the array interface and the driver give the legacy default stream."""

_DLPACK_ON_GPU = (2, 10, 13)  # CUDA, ROCm, CUDA managed


@dataclass(frozen=True)
class DeviceArray:
    """A C-contiguous array on a GPU; ``owner`` keeps its memory, ``stream`` (None: not known) is where it is made."""

    owner: Any
    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int | None

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class DeviceView:
    """Device memory that torch, CuPy and mpi4py take without a copy; complete, hence of no stream."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3."""
        kind, place = self.dtype.str, (self.pointer, False)
        return {"shape": self.shape, "typestr": kind, "data": place, "strides": None, "version": 3, "stream": None}


def device_array(value: object) -> DeviceArray | None:
    """The array on a GPU that ``value`` is, or None where it is the host's (or no array).

    ValueError if it is on a GPU but masked, empty, not C-contiguous, or of a dtype that numpy does not have.
    """
    if isinstance(value, np.ndarray):
        return None
    torch = sys.modules.get("torch")  # who never imported it has no tensor
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_torch(torch, value) if value.is_cuda else None
    interface = getattr(value, "__cuda_array_interface__", None)
    if interface is not None:
        return _from_interface(value, interface)
    if hasattr(value, "__dlpack_device__") and int(value.__dlpack_device__()[0]) in _DLPACK_ON_GPU:
        import torch as reader
        from torch.utils.dlpack import from_dlpack

        # Ordered after its maker's stream, but what the maker does next is not ordered after ours.
        return replace(_from_torch(reader, from_dlpack(value)), stream=None)
    return None


def _from_torch(torch: Any, tensor: Any) -> DeviceArray:
    # Not by tensor.__cuda_array_interface__: it names no stream and refuses tensors with a gradient.
    tensor = tensor.detach().resolve_conj().resolve_neg()
    try:
        dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))
    except TypeError:
        raise ValueError(f"dtype must be one of numpy's, got {tensor.dtype}") from None
    strides = [step * dtype.itemsize for step in tensor.stride()]
    stream = int(torch.cuda.current_stream(tensor.device).cuda_stream) or LEGACY_STREAM
    return _checked(DeviceArray(tensor, int(tensor.data_ptr()), tuple(tensor.shape), dtype, stream), strides)


def _from_interface(owner: object, interface: dict[str, Any]) -> DeviceArray:
    if interface.get("mask") is not None:
        raise ValueError(f"array must have no mask, got a masked {type(owner).__name__}")
    stream = interface.get("stream")
    stream = None if stream is None else int(stream) or LEGACY_STREAM
    shape, dtype = tuple(int(size) for size in interface["shape"]), np.dtype(interface["typestr"])
    array = DeviceArray(owner, int(interface["data"][0] or 0), shape, dtype, stream)
    return _checked(array, interface.get("strides"))


def _checked(array: DeviceArray, strides: Sequence[int] | None) -> DeviceArray:
    if array.dtype.kind not in "biufc":
        raise ValueError(f"dtype must be a number's, got {array.dtype}")
    if array.nbytes == 0:
        raise ValueError(f"array must have an element, got shape {array.shape}")
    expected = array.dtype.itemsize
    for size, step in zip(reversed(array.shape), reversed(strides or ()), strict=False):
        if size > 1 and step != expected:
            raise ValueError(f"array must be C-contiguous, got strides {tuple(strides or ())} for shape {array.shape}")
        expected *= size
    return array
