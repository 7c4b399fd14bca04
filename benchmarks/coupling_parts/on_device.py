"""One rank whose arrays lie on a GPU: each way to publish them, and bare copies of the same bytes, in turns in one job.

Every way has its own coupling (placement ``process``) and all of them live through the whole run. An array is made on
a side stream and complete before the clock starts.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ladder import WARM_UP, attached
from mpi4py import MPI

from inference_insitu import Coupling
from inference_insitu.watching.events import read_events
from inference_insitu.watching.ledger_files import read_ledger


def main(given: dict[str, Any]) -> None:
    device, output = torch.device(given["device"]), Path(given["output"])
    side = round((given["bytes"] / 4) ** (1 / 3))
    array = torch.rand((side,) * 3, device=device)
    couplings = {
        name: attached(MPI.COMM_WORLD, config, name, tuple(array.shape), output)
        for name, config in given["arms"].items()
    }
    ways: dict[str, Callable[[int], object]] = copies(array)
    ways |= {name: publishing(coupling, array) for name, coupling in couplings.items()}
    stream = torch.cuda.Stream() if device.type == "cuda" else None
    calls: dict[str, list[float]] = {name: [] for name in ways}
    whole: dict[str, list[float]] = {name: [] for name in ways}
    number = 0
    with torch.cuda.stream(stream):
        for coupling in couplings.values():  # the first array opens a way: seconds that no later one takes
            coupling.publish("pattern", shown(array), 0)
        for _ in range(given["blocks"]):
            for name, way in ways.items():
                for index in range(WARM_UP + given["block_steps"]):
                    time.sleep(given["step_s"])
                    number += 1
                    array.fill_(number)
                    finish(stream)
                    began = time.perf_counter()
                    way(number)
                    called = time.perf_counter()
                    finish(stream)
                    if index >= WARM_UP:
                        calls[name].append(called - began)
                        whole[name].append(time.perf_counter() - began)
    for coupling in couplings.values():
        coupling.close()
    told = {name: said(output / name) for name in couplings}
    Path(given["result"]).write_text(json.dumps({"calls": calls, "whole": whole, "told": told}))


def copies(array: torch.Tensor) -> dict[str, Callable[[int], object]]:
    """To memory that is taken anew each time, and to one page-locked place."""
    pinned = torch.empty(array.shape, pin_memory=array.is_cuda)
    return {"copy": lambda step: array.to("cpu", copy=True), "copy, page-locked": lambda step: pinned.copy_(array)}


def publishing(coupling: Coupling, array: torch.Tensor) -> Callable[[int], object]:
    def publish(step: int) -> None:
        coupling.publish("pattern", shown(array), step)
        coupling.end_step(step)

    return publish


def shown(array: torch.Tensor) -> object:
    return array if array.is_cuda else array.numpy()


def finish(stream: torch.cuda.Stream | None) -> None:
    if stream is not None:
        stream.synchronize()


def said(output: Path) -> dict[str, Any]:
    """Which way was taken and why, and what became of the frames."""
    lines = [event.fields.get("line", "") for event in read_events(output) if event.event.startswith("device")]
    return {"path": lines, "fates": read_ledger(output).fate.counts()}


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
