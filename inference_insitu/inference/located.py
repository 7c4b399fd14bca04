"""From claimed slots to frames, wherever their arrays lie."""

from collections.abc import Callable
from functools import partial

from inference_insitu.device.paths import HANDLE
from inference_insitu.device.runtime import Driver, Runtime
from inference_insitu.device.to_device import IpcReader
from inference_insitu.inference.frame import Frame
from inference_insitu.ring.consumer import Claimed


class FrameMaker:
    """Makes frames; ``open_runtime`` is called for the first that lies on a GPU: the first one that is seen here."""

    def __init__(self, open_runtime: Callable[[], Runtime] = Driver) -> None:
        self._open_runtime = open_runtime
        self._reader: IpcReader | None = None
        self._lent = False

    def frame(self, claimed: Claimed, *, on_device: bool) -> Frame:
        """The frame in ``claimed``; where its array lies on a GPU it stays there if ``on_device``.

        Raises
        ------
        RuntimeError, ValueError
            If it cannot be reached.
        """
        given = claimed.stream, claimed.rank, claimed.step
        if HANDLE not in claimed.attributes:
            return Frame(*given, claimed.array, claimed.attributes, claimed.published_ns)
        reader = self._reader = self._reader or IpcReader(self._open_runtime())
        view = reader.view(claimed.attributes, claimed.array.shape, claimed.array.dtype)
        told = {name: value for name, value in claimed.attributes.items() if name != HANDLE}
        if not on_device:
            return Frame(*given, reader.copy(view), told, claimed.published_ns)
        self._lent = True
        return Frame(*given, partial(reader.copy, view), told, claimed.published_ns, view)

    def finish(self) -> None:
        """Nobody uses the frames any more; to be called before their slots are given back.

        Raises
        ------
        RuntimeError
            If the device failed meanwhile.
        """
        if self._lent and self._reader is not None:
            self._lent = False
            self._reader.finish()
