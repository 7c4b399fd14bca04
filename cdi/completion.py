"""Completion of commands and options by the shell: ``eval "$(cdi --completion bash)"``. Free of torch.

The script is shtab's and static, so that nothing of the program runs while a user types.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser

SHELLS = ("bash", "zsh", "tcsh")


class PrintCompletion(argparse.Action):
    """Print the completion script of the parser for a shell, and leave."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(
            option_strings, argparse.SUPPRESS, default=argparse.SUPPRESS, choices=SHELLS, metavar="SHELL",
            help=settings.get("help"),
        )  # fmt: skip

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        """See the class."""
        if isinstance(parser, ArgumentParser):
            print(parser.get_completion_script(f"shtab-{values}"))
        # The parser has been taken apart for the script: its own exit would ask it for its settings.
        raise SystemExit(0)
