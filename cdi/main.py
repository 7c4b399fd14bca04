"""The console command ``cdi``: sub-commands found through entry points, errors as one line.

Exit codes: 0 done, 2 bad usage or input, 1 failure while running, 130 interrupted: what is left then, and
how to go on, is the command's to say; 141, as the system's own programs, where nobody reads what is printed any
more (``| head``). With ``CDI_TRACEBACK=1`` in the environment the full traceback is shown as well.
"""

import os
import select
import signal
import sys
import traceback
from importlib.metadata import entry_points

from jsonargparse import ArgumentError, ArgumentParser

from cdi import __version__
from cdi.command import ENTRY_POINT_GROUP, Command
from cdi.completion import SHELLS, PrintCompletion
from cdi.errors import MissingDependencyError
from cdi.help_examples import LineByLine, add_examples

UNREAD = 128 + signal.SIGPIPE
"""Exit code of what the system ends for printing where nobody reads."""
EXAMPLES = """
cdi simulate --element Au --defect edge --reflection 1 1 1 --shape 64 --oversampling 3 --output first.h5
cdi predict scan/frames --element Au --reflections "1 1 1"
cdi COMMAND --help                       # every command ends its help with examples
eval "$(cdi --completion bash)"          # complete commands and options with Tab
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    code = _outcome(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return UNREAD if _unread() else 1
    return code


def _outcome(words: list[str]) -> int:
    commands = _commands(*words[:1])
    parser, chosen = _parser(commands), ""
    try:
        namespace = parser.parse_args(words)
        chosen = namespace.subcommand
        commands[chosen].run(namespace[chosen])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as interrupt:
        left = str(interrupt) or (commands[chosen].interrupted if chosen else "")
        return _report(f"interrupted; {left}" if left else "interrupted", 130)
    except ArgumentError as error:
        return _report(f"{error}; {_usage_hint(str(error))}", 2)
    except BrokenPipeError as error:
        return UNREAD if _unread() else _report(str(error), 2)
    except (ValueError, OSError, MissingDependencyError) as error:
        return _report(str(error), 2)
    except Exception as error:  # the boundary of the program: every other failure is exit code 1
        return _report(f"{type(error).__name__}: {error}" if not str(error) else str(error), 1)
    return 0


def command_helps() -> dict[str, str]:
    """What each command prints for ``--help``, in the order of ``cdi --help``."""
    return {name: _command_parser(command).format_help() for name, command in _commands().items()}


def console_parser() -> ArgumentParser:
    """The parser of ``cdi`` with all its commands."""
    return _parser(_commands())


def _commands(first: str = "") -> dict[str, Command]:
    """Every command, or the one that is called ``first`` alone: the others need not be loaded to run it."""
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return {name: found[name].load() for name in ([first] if first in found else found)}


def _parser(commands: dict[str, Command]) -> ArgumentParser:
    parser = ArgumentParser(
        prog="cdi", description="Dislocations from Bragg coherent diffraction patterns.", exit_on_error=False,
        formatter_class=LineByLine,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"cdi {__version__}")
    parser.add_argument(
        "--completion", action=PrintCompletion,
        help=f"print the script that completes commands and options in {', '.join(SHELLS)}",
    )  # fmt: skip
    add_examples(parser, EXAMPLES)
    subcommands = parser.add_subcommands(required=True, title="commands")
    for name, command in commands.items():
        subcommands.add_subcommand(name, _command_parser(command), help=command.help)
    return parser


def _command_parser(command: Command) -> ArgumentParser:
    parser = ArgumentParser(
        prog=f"cdi {command.name}", description=command.help, exit_on_error=False, formatter_class=LineByLine
    )
    command.add_arguments(parser)
    return parser


def _usage_hint(message: str) -> str:
    """argparse takes a command's key=value words only where they stand together, before its options."""
    late = message.startswith("unrecognized arguments:") and not message.split(":", 1)[1].strip().startswith("-")
    return "put key=value overrides before the options" if late and "=" in message else "see cdi --help"


def _unread() -> bool:
    """Whether nobody reads what is printed any more; what is left of it then goes nowhere."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # it is no file, or closed
        return False
    poll = select.poll()
    poll.register(output, 0)
    unread = any(state & select.POLLERR for _, state in poll.poll(0))
    if unread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return unread


def _report(message: str, code: int) -> int:
    if os.environ.get("CDI_TRACEBACK") == "1":
        traceback.print_exc()
    print(f"cdi: {' '.join(message.split())}", file=sys.stderr)
    return code
