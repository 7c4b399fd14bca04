"""Heat in a square on strips of rows: under mpiexec, coupled as a plan says, and without a coupling.

    mpiexec -n 3 python fault_simulation.py PLAN.json

A plan is a list of episodes, played one after another by all ranks; each has a folder, a configuration (or none) and
what the simulation itself does wrong. What it computes does not depend on how many ranks share the rows, nor on what
becomes of inference: ``state`` is the same, bit by bit.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS, COLUMNS, HALO = 60, 32, 2
PATIENCE_S = 60.0
"""Longest wait for inference between two steps of an episode that waits."""


def initial(first: int, last: int) -> np.ndarray:
    """Rows ``first`` to ``last`` of the start, with a row of the cold outside around."""
    rows = np.arange(first - 1, last + 1)[:, None]
    columns = np.arange(COLUMNS)[None]
    field = np.sin(0.37 * rows * (columns + 1)) * 100
    field[(rows < 0)[:, 0] | (rows >= ROWS)[:, 0]] = 0
    return field


def advance(strip: np.ndarray) -> None:
    inner = strip[1:-1, 1:-1]
    inner += 0.1 * (strip[:-2, 1:-1] + strip[2:, 1:-1] + strip[1:-1, :-2] + strip[1:-1, 2:] - 4 * inner)


def expected(steps: int) -> np.ndarray:
    """The final state as one process computes it, without MPI."""
    field = initial(0, ROWS)
    for _ in range(steps):
        advance(field)
    return field[1:-1]


def compute(comm: Any, coupling: Any, episode: dict[str, Any], folder: Path) -> None:
    share = ROWS // comm.size
    strip = initial(comm.rank * share, (comm.rank + 1) * share)
    above, below = comm.rank - 1 if comm.rank else -1, comm.rank + 1 if comm.rank + 1 < comm.size else -1
    fault = episode.get("fault", {})
    for step in range(episode["steps"]):
        exchange(comm, strip, above, below)
        advance(strip)
        if coupling is not None:
            mine = fault if fault.get("rank") in (comm.rank, "all") and fault.get("step") == step else {}
            couple(coupling, episode["streams"], strip[1:-1], step, mine, folder)
            if episode["settles"] and step < episode["steps"] - 1:
                await_(coupling, step, lambda: coupling._parts.producer.open == 0)
            if step == episode["awaits_failure"]:
                await_(coupling, step, lambda: coupling.inference_failed)
        time.sleep(episode.get("step_s", 0.0))
    np.save(folder / f"strip-{comm.rank}.npy", strip[1:-1])


def couple(
    coupling: Any, streams: list[str], values: np.ndarray, step: int, fault: dict[str, Any], folder: Path
) -> None:
    what = fault.get("what", "")
    for stream in streams:
        coupling.publish(stream, np.zeros((ROWS + 1, COLUMNS)) if what == "oversize" else values, step)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "kill_keeper":
        os.kill(int((folder / "keeper.pid").read_text()), signal.SIGKILL)
    if what == "raise":
        raise RuntimeError("the simulation raises")
    if what == "wait":
        (folder / "waiting").touch()
        time.sleep(PATIENCE_S)
    coupling.end_step(step)
    coupling.poll_steering()


def await_(coupling: Any, step: int, condition: Callable[[], bool]) -> None:
    """Wait between two steps until ``condition`` holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"step {step} waits for ever")
        time.sleep(0.005)
        coupling.end_step(step)


def exchange(comm: Any, strip: np.ndarray, above: int, below: int) -> None:
    from mpi4py import MPI

    up, down = (MPI.PROC_NULL if rank < 0 else rank for rank in (above, below))
    comm.Sendrecv(strip[1], up, 0, strip[-1], down, 0)
    comm.Sendrecv(strip[-2], down, 0, strip[0], up, 0)


def play(world: Any, episode: dict[str, Any]) -> None:
    from cdi.errors import RunError
    from inference_insitu import Variable, attach

    folder = Path(episode["folder"])
    if world.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
    world.Barrier()
    if episode.get("config") is None:
        compute(world, None, episode, folder)
        return
    if world.rank == world.size - 1:
        (folder / "keeper.pid").write_text(str(os.getpid()))
    variables = {stream: Variable("float64", (ROWS, COLUMNS)) for stream in episode["streams"]}
    try:
        with attach(world, episode["config"], variables=variables, output=folder) as coupling:
            compute(coupling.simulation_comm, coupling, episode, folder)
    except SystemExit as end:  # a rank given up for inference has served
        if end.code:
            raise
    except (ValueError, RunError) as error:
        (folder / f"refused-{world.rank}").write_text(str(error))


def main(plan: Path) -> None:
    from mpi4py import MPI

    for episode in json.loads(plan.read_text()):
        play(MPI.COMM_WORLD, episode)
    print("played", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
