"""What `predict` and `refine` are told beside the files, as options of the command line. Free of torch."""

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from data.stack_arguments import add_stack_arguments, stack_options

if TYPE_CHECKING:
    from cdi.pattern import Reflection
    from training.measured_crystal import Question


def add_question_arguments(parser: ArgumentParser) -> None:
    """The network, the crystal of a data set, the lattice, reflections and scans."""
    parser.add_argument(
        "--model", type=str, default="searched",
        help="checkpoint file or shipped name: searched takes some seconds a pattern, default a fraction of one",
    )  # fmt: skip
    parser.add_argument("--index", type=int, default=None, help="crystal of a data set: all of its exposures")
    parser.add_argument("--element", type=str, default=None, metavar="Au", help="element or compound of the table")
    parser.add_argument("--structure-file", type=str, default=None, help="lattice of a CIF, POSCAR, … instead")
    parser.add_argument(
        "--reflections", nargs="+", type=str, default=None, metavar="'h k l'", help="Miller indices, one a file"
    )
    parser.add_argument("--scan", nargs="+", type=int, default=None, help="scan number in the SPEC file, one a file")
    add_stack_arguments(parser)


def question(arguments: Namespace) -> "Question":
    """What these options say.

    Raises
    ------
    ValueError
        If both a lattice's name and its file are given, or Miller indices are no three whole numbers.
    """
    from cdi.lattices.lattice import Lattice
    from cdi.lattices.structure_file import read_lattice
    from training.measured_crystal import Question

    if arguments.element is not None and arguments.structure_file is not None:
        raise ValueError("--element must be left out with --structure-file, got both")
    lattice = None
    if arguments.element is not None:
        lattice = Lattice.of_material(arguments.element)
    elif arguments.structure_file is not None:
        lattice = read_lattice(arguments.structure_file)
    reflections = tuple(_miller(text) for text in arguments.reflections or ())
    options = stack_options(arguments)
    return Question(arguments.index, arguments.spec, tuple(arguments.scan or ()), lattice, reflections, options)


def _miller(text: str) -> "Reflection":
    try:
        h, k, ell = (int(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"--reflections must be three whole numbers each, e.g. '1 1 1', got {text!r}") from error
    return h, k, ell
