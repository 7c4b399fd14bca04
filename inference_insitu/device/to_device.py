"""The inference's side: frames of the ring as one batch on its device, or where they lie on the simulation's."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference_insitu.device.arrays import LEGACY_STREAM, DeviceView
from inference_insitu.device.paths import HANDLE
from inference_insitu.device.runtime import Runtime

if TYPE_CHECKING:
    import torch


class IpcReader:
    """Frames that ``IpcPath`` left on the device; what it maps stays mapped until the process ends."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._opened: dict[str, int] = {}

    def view(self, attributes: Mapping[str, str], shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceView:
        """The frame where it lies: ``torch.as_tensor(view, device="cuda")`` takes no copy.

        The device must be done with it before the slot is given back: copy it, or synchronise.
        """
        handle = attributes[HANDLE]
        if handle not in self._opened:
            self._opened[handle] = self._runtime.open(bytes.fromhex(handle))
        return DeviceView(self._opened[handle], shape, dtype)

    def copy(self, view: DeviceView) -> NDArray[Any]:
        """What ``view`` shows, in the host's memory."""
        array = np.empty(view.shape, view.dtype)
        self._runtime.copy(int(array.ctypes.data), view.pointer, array.nbytes, LEGACY_STREAM)
        self.finish()
        return array

    def finish(self) -> None:
        """Wait until the device has done all that this process gave it."""
        self._runtime.synchronise(None)


def to_device(frames: Sequence[NDArray[Any]], device: "torch.device | str") -> "torch.Tensor":
    """Stack ``frames`` of one shape and dtype into a tensor ``(n, *shape)``; once this returns their slots may go.

    To a GPU they go through page-locked memory, which torch keeps and reuses, and over the bus while the host goes on.

    Raises
    ------
    ValueError
        If frames are not of one shape and dtype.
    """
    import torch

    kinds = sorted({f"{frame.dtype}{list(frame.shape)}" for frame in frames})
    if len(kinds) != 1:
        raise ValueError(f"frames must be of one shape and dtype, got {', '.join(kinds) or 'none'}")
    on_gpu = torch.device(device).type == "cuda"
    kind = torch.from_numpy(np.empty(0, frames[0].dtype.newbyteorder("="))).dtype
    staged = torch.empty((len(frames), *frames[0].shape), dtype=kind, pin_memory=on_gpu)
    np.stack(list(frames), out=staged.numpy())
    return staged.to(device, non_blocking=on_gpu)
