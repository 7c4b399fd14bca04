"""A simulation whose arrays lie on the device that ``libcuda.so.1`` is here, and its analysis; run under mpiexec.

device_run.py OUTPUT CONFIG STEPS
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Frame

SHAPE = (8, 16)
LEGACY = 1


def value_of(rank: int, step: int) -> float:
    return step + 0.25 * rank


class Reads(Analysis):
    """Says what a frame holds, and whether it stayed on the device."""

    def __init__(self, wants_device: bool = False) -> None:
        self.wants_device = wants_device

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        return [
            {
                "least": float(frame.array.min()),
                "most": float(frame.array.max()),
                "on_device": frame.device is not None,
                "told": list(frame.attributes),
            }
            for frame in frames
        ]


class Field:
    """An array on the device, as a library shows it."""

    def __init__(self) -> None:
        from inference_insitu.device.runtime import Driver

        self._driver = Driver(0)
        self._host = np.zeros(SHAPE)
        self._pointer = self._driver.allocate(self._host.nbytes)
        self.__cuda_array_interface__ = {
            "shape": SHAPE, "typestr": "<f8", "data": (self._pointer, False), "version": 3, "strides": None,
            "stream": LEGACY,
        }  # fmt: skip

    def fill(self, value: float) -> None:
        self._host.fill(value)
        self._driver.copy(self._pointer, int(self._host.ctypes.data), self._host.nbytes, LEGACY)
        self._driver.synchronise(LEGACY)


def main(output: Path, config: str, steps: int) -> None:
    from mpi4py import MPI

    from inference_insitu import Variable, attach

    with attach(MPI.COMM_WORLD, config, variables={"a": Variable("float64", SHAPE)}, output=output) as coupling:
        field, rank = Field(), coupling.simulation_comm.rank
        for step in range(steps):
            field.fill(value_of(rank, step))
            coupling.publish("a", field, step, {"time_ps": 0.5})
            field.fill(-1.0)
            coupling.end_step(step)
            time.sleep(0.01)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
