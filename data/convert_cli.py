"""The command ``convert``. Free of torch at the top."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from cdi.command import Command
from cdi.command_output import add_json_argument, tell
from cdi.help_examples import add_examples
from data.stack_arguments import add_pattern_arguments, told_exposure

if TYPE_CHECKING:
    from data.conversion import Converted
    from data.preparation.prepared import Preparation

EXAMPLES = """
cdi convert scan/frames gold.cxi                          # frames and their SPEC file to CXI, with the q grid
cdi convert run.nxs scan.npz --dataset /entry/data/counts --axes rcf --geometry beamline.yaml
cdi convert scan/frames data.tif --prepare hot_pixels=true aliens={} centre=brightest shape=[128,128,128]
cdi convert gold.cxi gold.vts                             # the pattern in q, for ParaView
cdi convert answer.h5 crystal.vts                         # of cdi predict --volumes, or of cdi retrieve
cdi convert dump.lammps atoms.extxyz --element Cu
cdi convert ovito.ca lines.vtp
"""


def _add_arguments(parser: ArgumentParser) -> None:
    add_examples(parser, EXAMPLES)
    parser.add_argument("input", type=str, metavar="IN", help="a pattern, crystal, atoms or lines, told by content")
    parser.add_argument("output", type=str, metavar="OUT", help="the ending says the format (docs/formats.md)")
    add_pattern_arguments(parser)
    parser.add_argument("--element", nargs="+", type=str, default=None, help="of LAMMPS types without names")
    parser.add_argument("--structure", type=str, default="", help="of lines of OVITO, e.g. fcc, for OUT.json")
    preparation = parser.add_argument_group("preparation of patterns")
    preparation.add_argument("--config", type=str, default=None, metavar="FILE.yaml", help="its settings")
    preparation.add_argument(
        "--prepare", nargs="+", type=str, default=None, metavar="key=value",
        help="hot_pixels, alien_boxes, aliens, background, threshold, centre, shape, binning, orthogonal",
    )  # fmt: skip
    add_json_argument(parser)
    parser.add_argument("--overwrite", action=ActionYesNo(no_prefix="no-"), default=False, help="replace OUT")


def _convert(arguments: Namespace) -> None:
    from cdi.whole_file import check_output
    from data.conversion import check_ending, convert_atoms, convert_crystal, convert_lines, kind_of

    source, output = Path(arguments.input), Path(arguments.output)
    kind = kind_of(source)
    check_ending(kind, output)
    check_output(output, overwrite=arguments.overwrite)
    if kind != "pattern" and (arguments.prepare or arguments.config):
        raise ValueError(f"--prepare and --config must be left out for {source}: only patterns are prepared")
    steps: tuple[str, ...] = ()
    warned: list[str] = []
    if kind == "crystal":
        done = convert_crystal(source, output)
    elif kind == "lines":
        done = convert_lines(source, output, arguments.structure)
    elif kind == "atoms":
        done = convert_atoms(source, output, arguments.element)
    else:
        done, steps = _pattern(arguments, output, warned)
    told = {"kind": kind, "output": output, **done.facts, "preparation": steps, "warnings": warned}
    tell(arguments, told, [*steps, f"{kind}: {done.text}, in {output}"])


def _preparation(arguments: Namespace) -> "Preparation":
    from cdi.config import read_config
    from data.preparation.prepared import Preparation

    return read_config(Preparation, arguments.config, list(arguments.prepare or []))


def _pattern(arguments: Namespace, output: Path, warned: list[str]) -> "tuple[Converted, tuple[str, ...]]":
    from data.conversion import convert_pattern
    from data.preparation.prepared import prepared

    preparation = _preparation(arguments)
    done = prepared(told_exposure(arguments.input, arguments, warned), preparation)
    return convert_pattern(done.exposure, output), done.steps


convert = Command(
    "convert",
    "patterns, crystals, atoms and lines from one format of the field to another, prepared for phasing",
    _add_arguments,
    _convert,
    "nothing was written",
)
