"""The command ``convert``. Free of torch at the top."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from cdi.command import Command
from cdi.help_examples import add_examples
from data.stack_arguments import add_stack_arguments, stack_options, told_warnings

if TYPE_CHECKING:
    from cdi.pattern import Exposure
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
    add_stack_arguments(parser)
    parser.add_argument("--spec", type=str, default=None, help="SPEC file with the scan's angles (default: beside)")
    parser.add_argument("--scan", type=int, default=None, help="scan number in the SPEC file")
    parser.add_argument("--index", type=int, default=None, help="sample of a data set of cdi generate")
    parser.add_argument("--element", nargs="+", type=str, default=None, help="of LAMMPS types without names")
    parser.add_argument("--structure", type=str, default="", help="of lines of OVITO, e.g. fcc, for OUT.json")
    preparation = parser.add_argument_group("preparation of patterns")
    preparation.add_argument("--config", type=str, default=None, metavar="FILE.yaml", help="its settings")
    preparation.add_argument(
        "--prepare", nargs="+", type=str, default=None, metavar="key=value",
        help="hot_pixels, alien_boxes, aliens, background, threshold, centre, shape, binning, orthogonal",
    )  # fmt: skip
    parser.add_argument("--overwrite", action=ActionYesNo(no_prefix="no-"), default=False, help="replace OUT")


def _convert(arguments: Namespace) -> None:
    from data.conversion import check_ending, convert_atoms, convert_crystal, convert_lines, convert_pattern, kind_of
    from data.whole_file import check_output

    source, output = Path(arguments.input), Path(arguments.output)
    kind = kind_of(source)
    check_ending(kind, output)
    check_output(output, overwrite=arguments.overwrite)
    if kind != "pattern" and (arguments.prepare or arguments.config):
        raise ValueError(f"--prepare and --config must be left out for {source}: only patterns are prepared")
    if kind == "crystal":
        said = convert_crystal(source, output)
    elif kind == "lines":
        said = convert_lines(source, output, arguments.structure)
    elif kind == "atoms":
        said = convert_atoms(source, output, arguments.element)
    else:
        exposure, steps = _pattern(arguments, _preparation(arguments))
        for step in steps:
            print(step)
        said = convert_pattern(exposure, output)
    print(f"{kind}: {said}, in {output}")


def _preparation(arguments: Namespace) -> "Preparation":
    from cdi.config import read_config
    from data.preparation.prepared import Preparation

    return read_config(Preparation, arguments.config, list(arguments.prepare or []))


def _pattern(arguments: Namespace, preparation: "Preparation") -> "tuple[Exposure, tuple[str, ...]]":
    from data.formats.pattern_files import read_exposure
    from data.preparation.prepared import prepared

    with told_warnings():
        exposure = read_exposure(
            arguments.input, index=arguments.index, spec=arguments.spec, scan=arguments.scan,
            options=stack_options(arguments),
        )  # fmt: skip
    done = prepared(exposure, preparation)
    return done.exposure, done.steps


convert = Command(
    "convert",
    "patterns, crystals, atoms and lines from one format of the field to another, prepared for phasing",
    _add_arguments,
    _convert,
)
