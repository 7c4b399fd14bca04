"""Where ranks meet and one is late, missing or slow: ``mpiexec -n 2 python meetings.py FOLDER``."""

import json
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mpi4py import MPI

from cdi.config import read_object
from cdi.errors import RunError
from inference_insitu import CouplingConfig, Variable, attach
from inference_insitu.placement import mpi
from inference_insitu.ring.layout import Side
from inference_insitu.watching.events import EventLog

LATE_S = 0.6
SIZE = 8


class OnGpu:
    """An array of a GPU that is not here."""

    __cuda_array_interface__ = {"shape": (SIZE,), "typestr": "<f8", "data": (1 << 40, False), "version": 3}  # noqa: RUF012


class Slow:
    """A carrier whose worker takes its time on rank 1."""

    def __init__(self, rank: int) -> None:
        self._ready_s = time.monotonic() + LATE_S * rank

    def progress(self) -> None:
        pass

    @property
    def state(self) -> Side:
        return Side.READY if time.monotonic() > self._ready_s else Side.STARTING


def answer(frame: Any) -> dict[str, float]:
    """As slow as the frame asks for."""
    time.sleep(frame.attributes.get("takes_s", 0.0))
    return {"sum": float(frame.array.sum())}


def waits_are_bounded(world: MPI.Intracomm) -> list[str]:
    """What a rank says of one that comes later than it may."""
    said = []
    for meet in (partial(mpi.anywhere, here=False, timeout_s=0.1), partial(mpi.gathered, data=b"x", timeout_s=0.1)):
        own = mpi.duplicated(world)
        time.sleep(LATE_S * world.rank)
        try:
            meet(own)
        except RunError as error:
            said.append(str(error))
        world.Barrier()
    return said


def a_slow_worker_is_no_late_rank(world: MPI.Intracomm) -> bool:
    """Whether all begin together."""
    starting = sys.modules["inference_insitu.attach"]
    patience_s, starting.AGREE_TIMEOUT_S = starting.AGREE_TIMEOUT_S, LATE_S / 3
    placement = SimpleNamespace(wait_ready=True, ready_timeout_s=60.0)
    config = SimpleNamespace(placement=placement, on_inference_failure=SimpleNamespace(action="restart"))
    starting._wait_ready(SimpleNamespace(config=config, own=world), Slow(world.rank), EventLog(None, ""))
    starting.AGREE_TIMEOUT_S = patience_s
    return True


def configuration(**steering: Any) -> CouplingConfig:
    summed = {"analysis": "slow", "operators": [{"kind": "sum_to_root"}]}
    given = {
        "streams": {"summed": summed, "own": {"analysis": "slow"}},
        "analyses": {"slow": {"plugin": "meetings:answer"}},
        "placement": {"kind": "process", "node_ranks": 1},
        "steering": {"timeout_s": 1.0} | steering,
    }
    return read_object(CouplingConfig, given, origin="meetings")


def a_start_that_fails(world: MPI.Intracomm, output: Path) -> dict[str, Any]:
    """What is said, how many communicators are given back and what is left, where a log to be replayed is none."""
    freed: list[Any] = []
    free = mpi.free
    mpi.free = lambda *given: (freed.extend(given), free(*given))
    (output.parent / "bad.jsonl").write_text("{}\n")
    try:
        attach(world, configuration(replay=str(output.parent / "bad.jsonl")), variables=variables(), output=output)
    except ValueError as error:
        said = str(error)
    finally:
        mpi.free = free
    world.Barrier()
    left = sorted(path.name for path in output.iterdir() if not path.name.startswith("events-"))
    return {"said": said, "freed": len(freed), "left": left}


def variables() -> dict[str, Variable]:
    return {name: Variable("float64", (SIZE,)) for name in ("summed", "own")}


def one_part_is_missing_and_one_rank_drains_late(world: MPI.Intracomm, output: Path) -> list[str]:
    """What became of the publications of ``summed``; the other stream's last frame is slow on rank 1 alone."""
    said = []
    with attach(world, configuration(), variables=variables(), output=output) as coupling:
        for step in range(3):
            missing = step == 1 and world.rank == 1
            part = OnGpu() if missing else np.full(SIZE, 1.0 + world.rank)
            said.append(coupling.publish("summed", part, step).status)
            coupling.end_step(step)
            coupling.poll_steering()
        coupling.publish("own", np.ones(SIZE), 3, {"takes_s": 2.5 * world.rank})
        coupling.end_step(3)
    return said


def main(folder: Path) -> None:
    world = MPI.COMM_WORLD
    output = folder / "run"
    found = {
        "bounded": waits_are_bounded(world),
        "together": a_slow_worker_is_no_late_rank(world),
        "failed": a_start_that_fails(world, output),
        "summed": one_part_is_missing_and_one_rank_drains_late(world, output),
    }
    (folder / f"said-{world.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
