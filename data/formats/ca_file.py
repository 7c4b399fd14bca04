"""Dislocation lines in OVITO's Crystal Analysis files (``.ca``), as its exporter writes them. Free of torch, of OVITO.

Text, version 6 (OVITO 3; Stukowski, Bulatov & Arsenlis, Modelling Simul. Mater. Sci. Eng. 20, 085007, 2012): clusters
of crystal with the matrix from their lattice to space, then for each dislocation its number, Burgers vector in the
lattice of a cluster, that cluster, and points in Å. For one line sense OVITO's Burgers vector has the sign opposite to
RH/FS; here it is turned to ours.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdi.defects.line import DislocationLine
from data.molecular_dynamics.dxa import ExtractedLine

MAGIC = "CA_FILE_VERSION"
VERSIONS = (4, 5, 6)
MOST_POINTS = 10**7

Array = NDArray[np.float64]


def is_ca(path: Path) -> bool:
    """Whether ``path`` is a Crystal Analysis file by its first line."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC.encode()


def read_ca(path: str | Path) -> tuple[ExtractedLine, ...]:
    """The dislocation lines of ``path``, RH/FS, in Å.

    Raises
    ------
    ValueError
        If it is no such file, of another version, truncated or damaged.
    OSError
        If it cannot be read.
    """
    try:
        with Path(path).open(encoding="utf-8", errors="strict") as file:
            return tuple(_lines(file))
    except (ValueError, IndexError, KeyError, StopIteration, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} must be a whole Crystal Analysis file of OVITO, it is damaged ({reason})") from error


def _lines(file: Iterator[str]) -> Iterator[ExtractedLine]:
    magic, version = next(file).split()
    if magic != MAGIC or int(version) not in VERSIONS:
        raise ValueError(f"it must start with {MAGIC} and one of {VERSIONS}, got {magic} {version}")
    orientation: dict[int, Array] = {}
    cluster = 0
    for text in file:
        word, _, rest = text.strip().partition(" ")
        if word == "CLUSTER":
            cluster = int(rest)
        elif word == "CLUSTER_ORIENTATION":
            orientation[cluster] = np.array([_numbers(next(file), 3) for _ in range(3)])
        elif word == "DISLOCATIONS":
            yield from (_dislocation(file, orientation) for _ in range(int(rest)))
            return
    raise ValueError("it ends before its dislocations")


def _dislocation(file: Iterator[str], orientation: dict[int, Array]) -> ExtractedLine:
    _number(file)
    burgers = -_numbers(_next(file), 3) + 0.0
    cluster, count = _number(file), _number(file)
    if not 2 <= count <= MOST_POINTS:
        raise ValueError(f"a line must have 2 to {MOST_POINTS} points, got {count}")
    rows = [_numbers(text, 3) for text in islice(file, count)]
    if len(rows) < count:
        raise ValueError(f"a line announces {count} points, {len(rows)} are there")
    first, second, third = (float(x) for x in burgers)
    line = DislocationLine(np.array(rows), orientation[cluster] @ burgers)
    return ExtractedLine(line, (first, second, third))


def _next(file: Iterator[str]) -> str:
    text = next(file, None)
    if text is None:
        raise ValueError("it ends within a dislocation")
    return text


def _number(file: Iterator[str]) -> int:
    return int(_next(file))


def _numbers(text: str, count: int) -> Array:
    numbers = np.array([float(word) for word in text.split()])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{count} finite numbers must stand in a line, got {text.strip()[:60]!r}")
    return numbers
