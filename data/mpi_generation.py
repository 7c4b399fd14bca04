"""Generation shared by the ranks of an MPI job. The only file of this package that imports mpi4py.

Ranks take shards from one counter by fetch-and-add (one-sided), so that a slow rank holds up no
other and none is spent on serving. A counter on a rank that computes may need that rank's help to
move: every rank looks at it after every crystal, which bounds the wait and is how a failure elsewhere
is noticed. Problems are gathered, told once by rank 0, and all ranks leave with the same exit
code; a rank that is killed takes the job with it, and the next one finishes the data set.
"""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from mpi4py import MPI

from cdi.errors import RunError
from data.generation import Shard, claimed, join, progress_bar, write_shard
from data.recipe import Recipe

T = TypeVar("T")

WAIT_S = 0.02
"""Ranks that wait sleep this long between looks: MPI itself would spin on a core that others need."""
NEXT, DONE, FAILED = 0, 1, 2
"""Counters: shards taken, crystals written, ranks that failed."""


class _StoppedError(Exception):
    """Another rank failed; what this one did is of no use."""


@dataclass(frozen=True)
class _Problem:
    message: str
    exit_code: int


class Counters:
    """Three integers on rank 0 that every rank of ``communicator`` adds to. Collective to make and to free."""

    def __init__(self, communicator: MPI.Intracomm) -> None:
        count = 3 if communicator.rank == 0 else 0
        self._window = MPI.Win.Allocate(8 * count, 8, comm=communicator)
        self._window.Lock_all()
        if communicator.rank == 0:
            self._window.Put(np.zeros(3, np.int64), 0)
            self._window.Flush(0)
        communicator.Barrier()

    def add(self, which: int, amount: int) -> int:
        """The counter's value before ``amount`` was added."""
        before, added = np.zeros(1, np.int64), np.array([amount], np.int64)
        self._window.Fetch_and_op(added, before, 0, which, MPI.SUM)
        self._window.Flush(0)
        return int(before[0])

    def close(self) -> None:
        """Give the memory back."""
        self._window.Unlock_all()
        self._window.Free()


def generate_over_ranks(
    read_recipe: Callable[[], Recipe], directory: Path, *, progress: bool, communicator: MPI.Intracomm | None = None
) -> tuple[Path, Recipe] | None:
    """Make, or finish making, a data set with all ranks; its path and recipe on rank 0, None elsewhere.

    Collective. Rank 0 claims the directory, joins the shards when every rank is accounted for, and
    alone shows progress. The files are those of ``data.generation.generate``, byte by byte.

    Raises
    ------
    ValueError
        On rank 0, as ``data.generation.generate`` and ``read_recipe``.
    RunError
        On rank 0, if another rank failed.
    SystemExit
        On every other rank when any fails, with rank 0's exit code.
    """
    world = (MPI.COMM_WORLD if communicator is None else communicator).Dup()
    recipe = _agreed(world, read_recipe)
    with ExitStack() as held:
        claim: AbstractContextManager[list[Shard]] = nullcontext([])
        if world.rank == 0:
            claim = claimed(recipe, directory)
        missing = world.bcast(_agreed(world, lambda: held.enter_context(claim)), 0)
        bar = held.enter_context(progress_bar(recipe, missing, shown=progress and world.rank == 0))
        with closing(Counters(world)) as counters:
            _agreed(world, lambda: _take_shards(counters, recipe, missing, bar), counters)
        bar.update(recipe.samples - bar.n)
        joined = _agreed(world, lambda: join(recipe, directory) if world.rank == 0 else None)
    return None if joined is None else (joined, recipe)


def _take_shards(counters: Counters, recipe: Recipe, missing: list[Shard], bar: Any) -> None:
    import torch

    # Sums split over threads differ in their last bit; ranks are the parallelism here.
    torch.set_num_threads(1)

    made_before = bar.n

    def look() -> None:
        bar.update(made_before + counters.add(DONE, 1) + 1 - bar.n)
        if counters.add(FAILED, 0):
            raise _StoppedError

    while (number := counters.add(NEXT, 1)) < len(missing):
        write_shard(recipe, missing[number], look)


def _agreed(world: MPI.Intracomm, attempt: Callable[[], T], counters: Counters | None = None) -> T:
    """What ``attempt`` returns, once it succeeded on every rank. Collective.

    Otherwise rank 0 raises the problem of the lowest rank that has one, and the others leave.
    """
    result, problem = None, None
    try:
        result = attempt()
    except _StoppedError:
        pass
    except KeyboardInterrupt:
        MPI.COMM_WORLD.Abort(130)
    except Exception as error:  # whatever it is, the other ranks must hear of it
        usage = isinstance(error, ValueError | OSError)
        problem = _Problem(str(error) or type(error).__name__, 2 if usage else 1)
        if counters is not None:
            counters.add(FAILED, 1)
    problems = [found for found in _gathered(world, problem) if found is not None]
    if not problems:
        return result  # type: ignore[return-value]
    if world.rank:
        sys.exit(problems[0].exit_code)
    raise (ValueError if problems[0].exit_code == 2 else RunError)(problems[0].message)


def _gathered(world: MPI.Intracomm, problem: _Problem | None) -> list[_Problem | None]:
    """Every rank's problem, in their order; whoever is early sleeps."""
    arrived = world.Ibarrier()
    while not arrived.Test():
        time.sleep(WAIT_S)
    return world.allgather(problem)
