"""Progress of long work: share, rate and time left on a terminal, nothing at all elsewhere. Free of torch."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import ActionYesNo, ArgumentParser
from tqdm import tqdm

Stage = Callable[[str, int], None]
"""Told that a stage of this name begins, and how many stages will follow it as far as is known."""


def add_progress_argument(parser: ArgumentParser) -> None:
    """The option ``--no-progress``."""
    parser.add_argument("--progress", action=ActionYesNo(no_prefix="no-"), default=True, help="progress bar on stderr")


def progress_bar(
    total: float | None,
    unit: str,
    title: str,
    *,
    shown: bool = True,
    done: float = 0,
    over: Iterable[Any] | None = None,
) -> "tqdm[Any]":
    """A bar on stderr, at ``done`` of ``total`` units; disabled where stderr is no terminal, or not ``shown``.

    ``over`` what it goes through when it is iterated, whose length is the total where none is given.
    """
    return tqdm(
        over, total=total, initial=done, unit=unit, desc=title, mininterval=0.5, dynamic_ncols=True,
        disable=None if shown else True,
    )  # fmt: skip


@contextmanager
def staged_bar(title: str, unit: str, *, shown: bool = True) -> Iterator[Stage]:
    """A bar for work whose number of stages becomes known on the way: its total grows with what is to follow."""
    with progress_bar(1, unit, title, shown=shown) as bar:
        begun = 0

        def begin(name: str, more: int) -> None:
            nonlocal begun
            bar.update(begun - bar.n)
            begun += 1
            bar.total = begun + more
            bar.set_postfix_str(name, refresh=True)

        yield begin
        bar.total = begun
        bar.update(begun - bar.n)
