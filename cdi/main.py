"""The console command ``cdi``: sub-commands found through entry points, errors as one line.

Exit codes: 0 done, 2 bad usage or input, 1 failure while running, 130 interrupted. With
``CDI_TRACEBACK=1`` in the environment the full traceback is shown as well.
"""

import os
import sys
import traceback
from importlib.metadata import entry_points

from jsonargparse import ArgumentError, ArgumentParser

from cdi import __version__
from cdi.command import ENTRY_POINT_GROUP, Command
from cdi.errors import MissingDependencyError
from cdi.help_examples import LineByLine


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    commands = {entry.name: entry.load() for entry in entry_points(group=ENTRY_POINT_GROUP)}
    parser = _parser(commands)
    try:
        namespace = parser.parse_args(arguments)
        commands[namespace.subcommand].run(namespace[namespace.subcommand])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        return _report("interrupted", 130)
    except ArgumentError as error:
        return _report(f"{error}; {_usage_hint(str(error))}", 2)
    except (ValueError, OSError, MissingDependencyError) as error:
        return _report(str(error), 2)
    except Exception as error:  # the boundary of the program: every other failure is exit code 1
        return _report(f"{type(error).__name__}: {error}" if not str(error) else str(error), 1)
    return 0


def _parser(commands: dict[str, Command]) -> ArgumentParser:
    parser = ArgumentParser(
        prog="cdi", description="Dislocations from Bragg coherent diffraction patterns.", exit_on_error=False,
        formatter_class=LineByLine,  # of the commands' parsers too
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"cdi {__version__}")
    subcommands = parser.add_subcommands(required=True, title="commands")
    for name, command in commands.items():
        child = ArgumentParser(description=command.help, exit_on_error=False)
        command.add_arguments(child)
        subcommands.add_subcommand(name, child, help=command.help)
    return parser


def _usage_hint(message: str) -> str:
    """argparse takes a command's key=value words only where they stand together, before its options."""
    late = message.startswith("unrecognized arguments:") and not message.split(":", 1)[1].strip().startswith("-")
    return "put key=value overrides before the options" if late and "=" in message else "see cdi --help"


def _report(message: str, code: int) -> int:
    if os.environ.get("CDI_TRACEBACK") == "1":
        traceback.print_exc()
    print(f"cdi: {' '.join(message.split())}", file=sys.stderr)
    return code
