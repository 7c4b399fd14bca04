"""A data set from a recipe: shards written by several processes, resumable after any kill.

The unit of work is a shard, a range of sample indices; it appears under its name whole or not
at all, and with all exposures of its crystals. Starting again keeps every shard that is whole and of the same recipe
and makes the others, so nothing is lost and nothing doubled. A sample depends on (recipe, index) alone, hence
the files are the same whatever the number of processes. The workers import torch; this module
does not.
"""

import fcntl
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import yaml
from tqdm import tqdm

from cdi.errors import RunError
from cdi.whole_file import remove_leftovers, whole_file
from data.joining import join_shards
from data.recipe import Recipe
from data.sample import Sample
from data.store import open_hdf5
from data.store_writer import recipe_fingerprint, recipe_record, write_samples

R = TypeVar("R", bound=Recipe)

RECIPE_FILE, LOCK_FILE, JOINED_FILE = "recipe.yaml", ".generating", "dataset.h5"


@dataclass(frozen=True)
class Shard:
    """The crystals ``first`` to ``first + count - 1`` (positions in the recipe) in one file."""

    path: Path
    first: int
    count: int


def shards_of(recipe: Recipe, directory: Path) -> list[Shard]:
    """The shards that make up the data set, in order."""
    size = recipe.samples_per_file
    return [
        Shard(directory / f"shard-{number:05d}.h5", first, min(size, recipe.samples - first))
        for number, first in enumerate(range(0, recipe.samples, size))
    ]


def generate(
    recipe: R,
    directory: str | Path,
    *,
    processes: int = 1,
    progress: bool = True,
    draw: Callable[[R, int], Iterable[Sample]] | None = None,
) -> Path:
    """Make, or finish making, the data set of ``recipe`` in ``directory``; the path of ``dataset.h5``.

    ``draw``, a function of a module, gives the samples of a crystal from (recipe, absolute index); by default
    ``data.sampling.draw_samples``.

    Raises
    ------
    ValueError
        If the directory holds another recipe's data set, or ``processes`` is not positive.
    OSError
        If the directory cannot be written, or another process is generating into it.
    RunError
        If a worker process dies, most likely for want of memory.
    """
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    directory = Path(directory)
    with claimed(recipe, directory) as missing:
        with progress_bar(recipe, missing, shown=progress) as bar:
            for shard in _written(missing, recipe, min(processes, max(1, len(missing))), draw):
                bar.update(shard.count)
        return join(recipe, directory)


@contextmanager
def claimed(recipe: Recipe, directory: Path) -> Iterator[list[Shard]]:
    """The shards that are missing, while no other run may write into ``directory``.

    Raises
    ------
    ValueError
        If the directory holds another recipe's data set.
    OSError
        If it cannot be written, or another process is generating into it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _sole_writer(directory):
        _claim(recipe, directory)
        remove_leftovers(directory)
        try:
            yield [shard for shard in shards_of(recipe, directory) if not is_whole(shard, recipe)]
        finally:
            remove_leftovers(directory)  # of writers that were stopped in the middle of a shard


def join(recipe: Recipe, directory: Path) -> Path:
    """Write ``dataset.h5`` over all shards; its path."""
    with whole_file(directory / JOINED_FILE) as temporary:
        join_shards([shard.path for shard in shards_of(recipe, directory)], temporary, recipe)
    return directory / JOINED_FILE


def progress_bar(recipe: Recipe, missing: list[Shard], *, shown: bool) -> Any:
    """Crystals made of all, on stderr."""
    done = recipe.samples - sum(shard.count for shard in missing)
    return tqdm(total=recipe.samples, initial=done, unit="crystal", desc=recipe.name, disable=None if shown else True)


def write_shard(
    recipe: R,
    shard: Shard,
    after_crystal: Callable[[], None] | None = None,
    draw: Callable[[R, int], Iterable[Sample]] | None = None,
) -> None:
    """Draw the shard's crystals and write them; ``after_crystal`` is called after each, and may raise to stop."""
    from data.sampling import draw_samples

    samples_of = draw or draw_samples

    def samples() -> Iterator[Sample]:
        for index in _crystals(shard, recipe):
            yield from samples_of(recipe, index)
            if after_crystal is not None:
                after_crystal()

    with whole_file(shard.path) as temporary:
        write_samples(temporary, samples(), shard.count * recipe.reflection_count, recipe)


def _crystals(shard: Shard, recipe: Recipe) -> range:
    """Absolute indices of the shard's crystals."""
    first = recipe.first_index + shard.first
    return range(first, first + shard.count)


def is_whole(shard: Shard, recipe: Recipe) -> bool:
    """Whether the shard's file is there, opens, and holds the samples that it should."""
    try:
        with open_hdf5(shard.path) as file:
            expected = [index for index in _crystals(shard, recipe) for _ in range(recipe.reflection_count)]
            same = file.attrs.get("recipe_sha256") == recipe_fingerprint(recipe)
            return same and file["index"][()].tolist() == expected and len(file["counts"]) == len(expected)
    except (OSError, ValueError, KeyError):
        return False


def _claim(recipe: Recipe, directory: Path) -> None:
    """Write the recipe into an empty directory; refuse one that holds another data set."""
    path = directory / RECIPE_FILE
    if path.exists():
        try:
            theirs = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError):
            theirs = None
        ours = recipe_record(recipe)
        if theirs != ours:
            keys = sorted(_differing(theirs, ours)) if isinstance(theirs, dict) else []
            raise ValueError(
                f"output must be a directory of this recipe or an empty one, {directory} holds another "
                f"(differs in: {', '.join(keys) or 'unknown keys'}); choose another --output"
            )
    foreign = [path for path in sorted(directory.glob("shard-*.h5")) if not _same_or_damaged(path, recipe)]
    if foreign:
        raise ValueError(
            f"output must not hold shards of another recipe or program version, got {foreign[0]}; "
            "choose another --output"
        )
    with whole_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(recipe_record(recipe), sort_keys=False))


def _differing(theirs: dict[str, Any], ours: dict[str, Any]) -> set[str]:
    return {key for key in {*theirs, *ours} if theirs.get(key) != ours.get(key)}


def _same_or_damaged(path: Path, recipe: Recipe) -> bool:
    try:
        with open_hdf5(path) as file:
            return bool(file.attrs.get("recipe_sha256") == recipe_fingerprint(recipe))
    except (OSError, ValueError):
        return True  # it is made again


@contextmanager
def _sole_writer(directory: Path) -> Iterator[None]:
    """A lock that the kernel drops with the process, so that a kill leaves no stale one."""
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(
                f"another process is generating into {directory}; wait for it or choose another --output"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _written(
    missing: list[Shard], recipe: R, processes: int, draw: Callable[[R, int], Iterable[Sample]] | None
) -> Iterator[Shard]:
    """Shards as their files appear, in any order."""
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker, initargs=(lifeline,))
    try:
        with _interrupts_ignored():  # inherited: Ctrl-C is this process's to answer, not the workers'
            running: dict[Future[None], Shard] = {
                executor.submit(write_shard, recipe, shard, None, draw): shard for shard in missing
            }
        for future in as_completed(running):
            future.result()
            yield running[future]
    except BrokenProcessPool as error:
        raise RunError(
            "a worker process died, most likely killed for want of memory; take fewer --processes "
            "and start the same command again: finished shards are kept"
        ) from error
    finally:
        held.close()  # whatever a worker is doing, it ends now; its shard has no name yet
        executor.shutdown(wait=True, cancel_futures=True)
        lifeline.close()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change handlers, and only it is interrupted
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _start_worker(lifeline: Connection) -> None:
    """Runs first in each worker: one thread of torch, and death with the parent."""
    threading.Thread(target=_die_with, args=(lifeline,), daemon=True).start()
    import torch

    # Sums split over threads differ in their last bit; processes are the parallelism here.
    torch.set_num_threads(1)


def _die_with(lifeline: Connection) -> None:
    """End the process when the other end closes: the parent finished, failed, or was killed."""
    lifeline.poll(None)
    os._exit(1)
