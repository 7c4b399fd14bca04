"""Arrays on a GPU become frames of the ring, each by the path that the first of them shows to be the best.

What needs numpy goes to the host by a plain copy first, which publish waits for: arrays of streams with operators, and
frames that the policy makes coarser or spills.
"""

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_insitu.coupling_config import PlacementKind
from inference_insitu.device.arrays import DeviceArray
from inference_insitu.device.paths import DevicePath, PlainPath
from inference_insitu.device.runtime import DeviceError
from inference_insitu.ring.filling import FillingProducer
from inference_insitu.ring.layout import Word
from inference_insitu.ring.processes import runs
from inference_insitu.ring.producer import ACCEPTED, Publication, encode_attributes
from inference_insitu.ring.region import Slot
from inference_insitu.waiting import wait_until
from inference_insitu.watching.events import EventLog

_kept: list[DevicePath] = []
"""Paths whose device may be using memory still: neither is given back before the process ends."""


class DevicePublisher:
    """Publishes by ``producer``, in its thread.

    Parameters
    ----------
    producer : FillingProducer, or None where arrays only go to the host.
    wanted : which path, or ``auto``.
    placement : of inference.
    rank : of the simulation; rank 0 says which path was chosen.
    """

    def __init__(
        self,
        producer: FillingProducer | None,
        wanted: str,
        placement: PlacementKind,
        events: EventLog,
        rank: int,
    ) -> None:
        self._producer, self._wanted, self._placement = producer, wanted, placement
        self._events, self._rank = events, rank
        self._path: DevicePath | None = None
        self._plain: PlainPath | None = None
        self._impossible = ""
        self._told = False

    def publish(self, name: str, array: DeviceArray, step: int, attributes: Mapping[str, Any] | None) -> Publication:
        """Start to fill a slot with ``array``.

        Raises
        ------
        ValueError
            As ``Producer.publish``, and where the configured path is not possible.
        """
        producer = self._producer
        assert producer is not None
        self.poll()
        path = self._way(array)
        host = partial(self.host, array)
        slot = producer.reserve(name, array, step, attributes, room=path.room, host=host)
        if isinstance(slot, Publication):
            return slot
        try:
            more = path.write(array, np.frombuffer(slot.payload, np.uint8), partial(producer.commit, slot))
        except Exception as error:
            return self._refused(path, slot, error)
        if more:
            slot.write_attributes(encode_attributes({**(attributes or {}), **more}))
        return ACCEPTED

    def host(self, array: DeviceArray) -> NDArray[Any]:
        """A copy in the host's memory.

        Raises
        ------
        RuntimeError, ValueError
            If the device does not give it.
        """
        copy = np.empty(array.shape, array.dtype)
        self._plain_way(array).write(array, copy.reshape(-1).view(np.uint8), lambda: None)
        return copy

    @property
    def filling(self) -> bool:
        """Whether slots may become full without this process's doing."""
        return self._path is not None

    def poll(self) -> bool:
        """Hand over slots that are full by now; whether none is being filled. Never waits."""
        if self._path is None:
            return True
        try:
            return self._path.poll() == 0
        except DeviceError as error:
            assert self._producer is not None
            self._producer.fail_unfilled(str(error))
            self._tell_once(error)
            return True

    def close(self, timeout_s: float) -> None:
        """Give all back; to be called after the consumer's end, the ring being mapped still.

        Where a consumer that maps the device's memory is not gone, or the device does not end, within ``timeout_s``, it
        stays until this process ends.
        """
        path, self._path = self._path, None
        if path is not None:
            shared = path.room > 0 and not wait_until(self._consumer_gone, timeout_s=timeout_s)
            if shared or path.close(timeout_s) or path.failed:
                _kept.append(path)
        self._producer = None  # which refers to us: the ring's memory goes with the last reference to it

    def _consumer_gone(self) -> bool:
        assert self._producer is not None
        words = self._producer.region.words
        return not runs(words[Word.CONSUMER_PID], words[Word.CONSUMER_STARTED])

    def _way(self, array: DeviceArray) -> DevicePath:
        if self._impossible:
            raise ValueError(self._impossible)
        if self._path is None:
            self._path = self._opened(array)
        return self._plain_way(array) if self._path.failed else self._path

    def _opened(self, array: DeviceArray) -> DevicePath:
        from inference_insitu.device.probe import open_path  # its child runs it as a script

        assert self._producer is not None
        region = self._producer.region
        try:
            path = open_path(
                self._wanted,
                array,
                np.frombuffer(region.bytes, np.uint8),
                self._placement,
                bool(region.words[Word.ON_DEVICE]),
                self._say,
            )
        except ValueError as error:  # once: trying takes a second
            self._impossible = str(error)
            raise
        except DeviceError as error:
            self._tell_once(error)
            return self._plain_way(array)
        self._producer.look_after(self.poll)
        return path

    def _plain_way(self, array: DeviceArray) -> PlainPath:
        from inference_insitu.device.probe import open_plain

        self._plain = self._plain or open_plain(array)
        return self._plain

    def _refused(self, path: DevicePath, slot: Slot, error: Exception) -> Publication:
        assert self._producer is not None
        reason = " ".join(str(error).split())
        self._producer.fail(slot, reason, again=not path.failed)
        if path.failed:
            self._tell_once(error)
        return Publication("failed", reason)

    def _tell_once(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            line = f"arrays on the device go by a plain copy from now on: {error}"
            self._events.log("device_failed", line=line)
            print(f"cdi: simulation rank {self._rank}: {line}", file=sys.stderr, flush=True)

    def _say(self, line: str) -> None:
        self._events.log("device", line=line)
        if self._rank == 0:
            print(f"cdi: {line}", file=sys.stderr, flush=True)
