"""Options of the commands that read patterns, and how warnings about files are told. Free of torch."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from cdi.pattern import Exposure
    from data.formats.stack import StackOptions

PATTERN_FILES = (
    "CXI, NeXus, HDF5, .npy, .npz, .mat, TIFF stack, a directory of TIFF frames, or of cdi simulate or cdi generate"
)


def add_pattern_arguments(parser: ArgumentParser) -> None:
    """What a file of a pattern may leave open: its scan, its sample, its axes, its mask."""
    parser.add_argument("--scan", type=int, default=None, help="scan number in the SPEC file")
    parser.add_argument("--index", type=int, default=None, help="sample of a data set of cdi generate")
    add_stack_arguments(parser)


def add_stack_arguments(parser: ArgumentParser) -> None:
    """What files of frames may leave open, the same for all of a command's files."""
    group = parser.add_argument_group("files of frames")
    group.add_argument("--spec", type=str, default=None, metavar="FILE", help="angles of the scans (default: beside)")
    group.add_argument("--dataset", type=str, default=None, metavar="PATH", help="within HDF5, .npz or .mat")
    group.add_argument(
        "--axes", type=str, default=None, metavar="frc", help="the file's axes: f rocking, r rows, c columns"
    )
    group.add_argument("--mask", type=str, default=None, metavar="FILE", help="dead pixels: .npy, .npz, TIFF, HDF5")
    group.add_argument("--mask-marks", type=str, default="bad", help="what non-zero pixels are: bad or good")
    group.add_argument(
        "--geometry", type=str, default=None, metavar="FILE.yaml", help="the rocking curve (docs/formats.md)"
    )


def stack_options(arguments: Namespace) -> "StackOptions":
    """What these options say.

    Raises
    ------
    ValueError
        For an order of axes or a word that there is not.
    """
    from data.formats.stack import StackOptions

    return StackOptions(arguments.dataset, arguments.axes, arguments.mask, arguments.mask_marks, arguments.geometry)


def told_exposure(path: str, arguments: Namespace, warned: list[str]) -> "Exposure":
    """The pattern in ``path`` by the options of ``add_pattern_arguments``; warnings are told, and added to ``warned``.

    Raises
    ------
    ValueError, OSError
        As ``data.formats.pattern_files.read_exposure``.
    """
    from data.formats.pattern_files import read_exposure

    with told_warnings() as told:
        exposure = read_exposure(
            path, index=arguments.index, spec=arguments.spec, scan=arguments.scan, options=stack_options(arguments)
        )
    warned += told
    return exposure


@contextmanager
def told_warnings() -> Iterator[list[str]]:
    """Warnings about files as one line each on stderr, once; the list holds them."""
    from data.formats.stack import HeaderWarning

    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", HeaderWarning)
        yield told
    for warning in caught:
        if not issubclass(warning.category, HeaderWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif str(warning.message) not in told:
            told.append(str(warning.message))
            print(f"cdi: warning: {warning.message}", file=sys.stderr)
