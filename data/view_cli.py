"""The command ``view``. Free of torch at the top."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, tell
from cdi.help_examples import add_examples
from data.stack_arguments import add_pattern_arguments, stack_options, told_warnings

if TYPE_CHECKING:
    from data.viewing import Shown

EXAMPLES = """
cdi view pattern.h5                                  # slices in log scale over q, as pattern.png
cdi view scan/frames --output page.html              # the pattern in 3D, in any browser
cdi view answer.h5 --output page.html                # of cdi predict --volumes, cdi retrieve, PyNX: phase and lines
cdi view relaxed.extxyz relaxed.json --output a.png  # atoms' outline with the lines of cdi lines or of OVITO (.ca)
"""


def _add_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, EXAMPLES)
    parser.add_argument(
        "files", nargs="+", type=str, metavar="FILE",
        help="patterns, each drawn by itself; crystals, atoms and lines, drawn as one",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=str, default=None, metavar="OUT",
        help="OUT.png, or OUT.html to turn in a browser (default: the first file's name, .png)",
    )  # fmt: skip
    add_pattern_arguments(parser)
    parser.add_argument("--element", nargs="+", type=str, default=None, help="of LAMMPS types without names")
    add_json_argument(parser)
    parser.add_argument("--overwrite", action=ActionYesNo(no_prefix="no-"), default=True, help="replace OUT")


def _view(arguments: Namespace) -> None:
    from cdi.whole_file import check_output
    from data.viewing import check_picture_name, save_shown

    files = [Path(file) for file in arguments.files]
    output = Path(arguments.output) if arguments.output else Path(f"{files[0].resolve().name}.png")
    check_picture_name(output)
    check_output(output, overwrite=arguments.overwrite)
    shown, warned = _read(files, arguments)
    written = save_shown(shown, output)
    told = {
        "written": written, "patterns": [name for name, _ in shown.patterns],
        "crystals": [crystal.title for crystal in shown.crystals], "warnings": warned,
    }  # fmt: skip
    tell(arguments, told, written)


def _read(files: list[Path], arguments: Namespace) -> "tuple[Shown, list[str]]":
    from data.viewing import read_shown

    with told_warnings() as warned:
        shown = read_shown(
            files, index=arguments.index, spec=arguments.spec, scan=arguments.scan, options=stack_options(arguments),
            element=arguments.element,
        )  # fmt: skip
    return shown, warned


view = Command(
    "view",
    "a picture of patterns, crystals, atoms or lines, or a page to turn them in 3D",
    _add_arguments,
    _view,
    "pictures that were written are whole",
)
