"""The sub-commands of ``cdi``: what a folder's ``cli.py`` offers through an entry point.

An entry point of the group ``cdi.commands`` loads to one ``Command``. Its module must import
neither torch nor MPI at the top, so that ``cdi --help`` answers at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jsonargparse import ArgumentParser, Namespace

ENTRY_POINT_GROUP = "cdi.commands"


@dataclass(frozen=True)
class Command:
    """One sub-command: ``help`` line, its arguments, and what it does.

    ``run`` returns nothing on success and raises otherwise; ``cdi.main`` turns exceptions into
    one line and an exit code. ``interrupted`` says what Ctrl-C leaves and how to go on, unless the
    ``KeyboardInterrupt`` that ``run`` ends with says it itself.
    """

    name: str
    help: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], None]
    interrupted: str = ""
