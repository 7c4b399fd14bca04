"""Dislocation lines in a JSON file beside the atoms that they belong to. Free of torch.

``lines`` is a list of ``points_A`` (n, 3), ``burgers_A`` (3) (both in the frame of the atoms, RH/FS),
``burgers_lattice`` (3), ``length_A`` and ``character_deg``; ``structure`` names the lattice.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdi import __version__
from cdi.defects.line import DislocationLine
from data.molecular_dynamics.dxa import ExtractedLine

LINES_FORMAT, LINES_VERSION = "cdi-lines", 1


def write_lines(
    path: str | Path, lines: Sequence[ExtractedLine] | None, structure: str, extra: Mapping[str, Any] | None = None
) -> None:
    """Write ``lines`` (None: nobody looked); ``extra`` are further plain entries, e.g. how atoms were relaxed."""
    head = {"format": LINES_FORMAT, "format_version": LINES_VERSION, "program_version": __version__}
    found = None if lines is None else [line_to_json(line) for line in lines]
    content = head | {"structure": structure} | dict(extra or {}) | {"lines": found}
    Path(path).write_text(json.dumps(content, indent=1) + "\n")


def line_to_json(found: ExtractedLine) -> dict[str, Any]:
    """Plain form of one line."""
    return {
        "points_A": found.line.points.round(3).tolist(),
        "burgers_A": found.line.burgers.round(5).tolist(),
        "burgers_lattice": list(found.burgers_lattice),
        "length_A": round(found.line.length, 2),
        "character_deg": round(found.line.character_deg, 1),
    }


def read_lines(path: str | Path) -> tuple[ExtractedLine, ...]:
    """The lines in ``path``; none where the analysis found none.

    Raises
    ------
    ValueError
        If the file is no file of lines, of a later version, or damaged.
    OSError
        If it cannot be read.
    """
    try:
        content = json.loads(Path(path).read_text())
        if not isinstance(content, dict) or content.get("format") != LINES_FORMAT:
            raise ValueError("no format 'cdi-lines'")
        if content["format_version"] > LINES_VERSION:
            raise ValueError(f"format_version {content['format_version']}, this program reads {LINES_VERSION}")
        if content["lines"] is None:
            raise ValueError("nobody looked for lines: --no-dxa")
        return tuple(_from_json(entry) for entry in content["lines"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a file of lines by cdi relax or cdi lines ({error})") from error


def _from_json(entry: dict[str, Any]) -> ExtractedLine:
    first, second, third = map(float, entry["burgers_lattice"])
    return ExtractedLine(DislocationLine(entry["points_A"], entry["burgers_A"]), (first, second, third))
