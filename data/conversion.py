"""What can become what: patterns, crystals in real space, atoms and lines in the formats of the field.

Kinds are told by content, formats of the output by its ending. Free of torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdi.pattern import Exposure
from cdi.whole_file import whole_file
from data.formats import vtk_lines, vtk_volumes
from data.formats.atom_files import ATOM_SUFFIXES, read_atoms, write_atoms_as
from data.formats.exposure_writer import COUNTS_ALONE, WRITERS, writer_of
from data.formats.line_files import holds_lines, read_line_file, write_extracted_lines
from data.formats.object_files import RealSpaceObject, holds_object, read_object
from data.molecular_dynamics.lines_file import write_lines

ENDINGS = {
    "pattern": tuple(WRITERS),
    "crystal": (*vtk_volumes.SUFFIXES, *vtk_lines.SUFFIXES),
    "lines": (*vtk_lines.SUFFIXES, ".json"),
    "atoms": ATOM_SUFFIXES,
}
"""Endings of the output by what is put in."""


@dataclass(frozen=True)
class Converted:
    """What was written: in words, and as the ``facts`` that programs want."""

    text: str
    facts: dict[str, Any]


def kind_of(path: Path) -> str:
    """What ``path`` holds: ``crystal`` in real space, ``lines``, ``atoms``, or else a ``pattern``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_file():
        if holds_object(path):
            return "crystal"
        if holds_lines(path):
            return "lines"
        if _holds_atoms(path):
            return "atoms"
    return "pattern"


def check_ending(kind: str, output: Path) -> None:
    """Raise ``ValueError`` unless ``kind`` can be written to a file that ends as ``output``."""
    if output.suffix not in ENDINGS[kind]:
        what = {"pattern": "a pattern", "crystal": "a crystal", "lines": "lines", "atoms": "atoms"}[kind]
        raise ValueError(f"output of {what} must end in one of {', '.join(ENDINGS[kind])}, got {str(output)!r}")


def convert_pattern(exposure: Exposure, output: Path) -> Converted:
    """Write ``exposure``."""
    writer = writer_of(output)
    with whole_file(output) as temporary:
        # Writers go by the ending, which the temporary name lacks.
        named = temporary.with_name(temporary.name + output.suffix)
        try:
            writer(named, exposure)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)
    parts = {"mask": exposure.mask is not None, "q grid": exposure.grid is not None}
    kept = output.suffix not in COUNTS_ALONE
    named_parts = " and ".join(name for name, there in parts.items() if there)
    text = f"{' × '.join(map(str, exposure.counts.shape))} voxels, {exposure.counts.sum():.3g} counts"
    if named_parts:
        text += f", with {named_parts}" if kept else f", without {named_parts}: {output.suffix} holds none"
    facts = {
        "shape": list(exposure.counts.shape), "counts": float(exposure.counts.sum(dtype=np.float64)),
        "mask": kept and parts["mask"], "q_grid": kept and parts["q grid"],
    }  # fmt: skip
    return Converted(text, facts)


def convert_crystal(path: Path, output: Path) -> Converted:
    """Volumes or lines of a crystal in real space for ParaView."""
    found = read_object(path)
    if output.suffix in vtk_lines.SUFFIXES:
        points = [line.points for line in found.lines]
        unknown = (np.nan,) * 3
        burgers = [unknown if line.burgers is None else line.burgers for line in found.lines]
        vtk_lines.write_vtk_lines(output, points, {"burgers_A": np.array(burgers, np.float64).reshape(-1, 3)})
        return Converted(f"{len(points)} lines in {found.unit}", {"lines": len(points), "unit": found.unit})
    if not np.allclose(found.voxel, found.voxel[0]):
        raise ValueError(f"{path} holds crystals on different voxels, one file of VTK holds one grid")
    vtk_volumes.write_vtk_volumes(output, object_volumes(found), found.voxel[0], np.zeros(3))
    facts = {"patterns": list(found.names), "unit": found.unit}
    return Converted(f"{len(found.names)} patterns, voxels in {found.unit}", facts)


def object_volumes(found: RealSpaceObject) -> dict[str, Any]:
    """Volumes by name; numbered where there are several patterns."""
    several = len(found.names) > 1
    return {
        f"{name}{f'_{n}' if several else ''}": volume[n].astype(np.float32)
        for n in range(len(found.names))
        for name, volume in (("magnitude", found.magnitude), ("phase", found.phase))
    }


def convert_lines(path: Path, output: Path, structure: str) -> Converted:
    """Lines for ParaView, or as the JSON of ``cdi lines``."""
    lines = read_line_file(path)
    if output.suffix == ".json":
        with whole_file(output) as temporary:
            write_lines(temporary, lines, structure)
    else:
        write_extracted_lines(output, lines)
    return Converted(f"{len(lines)} lines", {"lines": len(lines)})


def convert_atoms(path: Path, output: Path, element: Sequence[str] | None) -> Converted:
    """Atoms in another format."""
    atoms = read_atoms(path, element)
    with whole_file(output) as temporary:
        write_atoms_as(temporary, atoms, output.suffix)
    facts = {"atoms": len(atoms), "elements": list(atoms.elements)}
    return Converted(f"{len(atoms)} atoms of {' '.join(atoms.elements)}", facts)


def _holds_atoms(path: Path) -> bool:
    from data.formats.atom_files import file_format

    try:
        file_format(path)
    except ValueError:
        return False
    return True
