"""Publish from the device through the driver that ``libcuda.so.1`` is here; prints what was said and how it went."""

import json
import sys
import time
from typing import Any

import numpy as np

from inference_insitu.device.arrays import DeviceView, device_array
from inference_insitu.device.paths import HANDLE, IpcPath
from inference_insitu.device.probe import open_path
from inference_insitu.device.runtime import Driver

ROUNDS = 5


def main(wanted: Any, placement: Any, consumer_on_gpu: bool) -> None:
    driver = Driver(0)
    values = np.arange(1000.0)

    def upload() -> None:
        driver.copy(pointer, values.ctypes.data, values.nbytes, 1)
        driver.synchronise(1)

    def read(address: int) -> list[float]:
        found = np.zeros_like(values)
        driver.copy(found.ctypes.data, address, found.nbytes, 1)
        driver.synchronise(1)
        return list(found)

    pointer = driver.allocate(values.nbytes)
    array = device_array(DeviceView(pointer, values.shape, values.dtype))
    assert array is not None
    region = np.zeros(2 * values.nbytes, np.uint8)
    slots = np.split(region, 2)
    said: list[str] = []
    path = open_path(wanted, array, region, placement, consumer_on_gpu, said.append)
    right, handles = [], set()
    for turn in range(ROUNDS):
        values += 1.0
        upload()
        slot, done = slots[turn % 2], []
        attributes = path.write(array, slot, lambda done=done: done.append(True))
        expected = list(values)
        deadline = time.monotonic() + 10.0
        while path.poll() and time.monotonic() < deadline:
            pass
        if isinstance(path, IpcPath):
            handles.add(attributes[HANDLE])
            found = read(path._held[slot.ctypes.data].pointer)
        else:
            found = list(slot.view(np.float64))
        right.append(done == [True] and found == expected)
    print(json.dumps({"said": said, "right": right, "handles": sorted(handles), "lost": path.close(5.0)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "gpu")
