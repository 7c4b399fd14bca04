"""A simulation whose tensors are made on a side stream and never waited for, and its analysis; run under mpiexec.

tensor_run.py OUTPUT CONFIG STEPS
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference_insitu.inference.analysis import Analysis
from inference_insitu.inference.frame import Frame

SHAPE = (256, 512)
WORK_CYCLES = 20_000_000
"""Of the kernel before each array: publish returns while it runs."""


def value_of(rank: int, step: int) -> float:
    return step + 0.25 * rank


class Extremes(Analysis):
    """By torch on the GPU where the frame lies there, else by numpy."""

    def __init__(self, wants_device: bool = False) -> None:
        self.wants_device = wants_device

    def answer(self, frames: Sequence[Frame]) -> Sequence[Mapping[str, Any]]:
        return [self._answer(frame) for frame in frames]

    def _answer(self, frame: Frame) -> Mapping[str, Any]:
        if frame.device is None:
            return {"least": float(frame.array.min()), "most": float(frame.array.max()), "on_device": False}
        import torch

        tensor = torch.as_tensor(frame.device, device="cuda")
        if tensor.data_ptr() != frame.device.pointer:
            raise RuntimeError("torch took a copy of the frame")
        return {"least": float(tensor.min()), "most": float(tensor.max()), "on_device": True}


def main(output: Path, config: str, steps: int) -> None:
    import torch
    from mpi4py import MPI

    from inference_insitu import Variable, attach

    with attach(MPI.COMM_WORLD, config, variables={"a": Variable("float32", SHAPE)}, output=output) as coupling:
        rank = coupling.simulation_comm.rank
        stream = torch.cuda.Stream()
        field = torch.empty(SHAPE, device="cuda")
        with torch.cuda.stream(stream):
            for step in range(steps):
                torch.cuda._sleep(WORK_CYCLES)
                field.fill_(value_of(rank, step))
                coupling.publish("a", field, step)
                field.fill_(-1.0)  # ordered after what was published, on its stream
                coupling.end_step(step)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
