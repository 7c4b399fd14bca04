"""Atomistic files to ``Atoms`` and back: (ext)xyz, LAMMPS dump, LAMMPS data. Free of torch.

Parsing is ASE's (Larsen et al., J. Phys.: Condens. Matter 29, 273002, 2017); this module finds
the format by content, insists on element names, and turns failures into one line. Of several
frames the last is read.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cdi.atoms import Atoms
from cdi.lattices.materials import check_element

FORMATS = "extended or plain xyz, LAMMPS dump (text), LAMMPS data"
ATOM_SUFFIXES = (".extxyz", ".xyz", ".dump", ".lmp")
"""Endings under which atoms are written: extended xyz, LAMMPS dump (text), LAMMPS data."""
MASS_TOLERANCE = 0.1
"""Atomic mass units within which the masses of a LAMMPS data file name an element."""


def read_atoms(path: str | Path, element: str | Sequence[str] | None = None) -> Atoms:
    """The atoms in ``path``, positions in Å as the file has them.

    ``element`` names the LAMMPS types in order (type 1, type 2, …) where the file does not.

    Raises
    ------
    ValueError
        One line: unknown format, truncated or damaged file, no atoms, NaN positions, an unknown
        or missing element, or ``element`` given although the file names its elements.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    elements = [element] if isinstance(element, str) else list(element or [])
    for symbol in elements:
        check_element(symbol)
    kind = file_format(path)
    read = {"extxyz": _read_xyz, "lammps-dump-text": _read_dump, "lammps-data": _read_data}[kind]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            symbols, positions = read(path, elements)
        names, species = np.unique(np.asarray(symbols), return_inverse=True)
        return Atoms(np.asarray(positions, np.float64), species, tuple(str(name) for name in names))
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except ElementsError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # a parser raises whatever the damage makes it
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} must be a complete {kind} file, it is truncated or damaged ({reason})") from error


def write_atoms(path: str | Path, atoms: Atoms) -> None:
    """Write ``atoms`` as extended xyz, positions to 1e-8 Å."""
    symbols = np.asarray(atoms.elements)[atoms.species]
    rows = (f"{s} {x:.8f} {y:.8f} {z:.8f}" for s, (x, y, z) in zip(symbols, atoms.positions, strict=True))
    header = f'{len(atoms)}\nProperties=species:S:1:pos:R:3 pbc="F F F"\n'
    Path(path).write_text(header + "\n".join(rows) + "\n")


def write_atoms_as(path: str | Path, atoms: Atoms, suffix: str) -> None:
    """Write ``atoms`` in the format of the ending ``suffix``: extended xyz, LAMMPS dump, LAMMPS data.

    Raises
    ------
    ValueError
        For an ending that is none of ``ATOM_SUFFIXES``.
    """
    if suffix not in ATOM_SUFFIXES:
        raise ValueError(f"atoms must be written to one of {', '.join(ATOM_SUFFIXES)}, got {suffix!r}")
    if suffix in (".xyz", ".extxyz"):
        write_atoms(path, atoms)
        return
    low, high = atoms.positions.min(0) - 1.0, atoms.positions.max(0) + 1.0
    rows = zip(range(1, len(atoms) + 1), atoms.species, atoms.positions, strict=True)
    if suffix == ".dump":
        bounds = "\n".join(f"{a:.8f} {b:.8f}" for a, b in zip(low, high, strict=True))
        head = f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{len(atoms)}\nITEM: BOX BOUNDS ff ff ff\n{bounds}\n"
        text = head + "ITEM: ATOMS id type element x y z\n"
        body = (f"{n} {s + 1} {atoms.elements[s]} {x:.8f} {y:.8f} {z:.8f}" for n, s, (x, y, z) in rows)
    else:
        bounds = "\n".join(f"{a:.8f} {b:.8f} {n}lo {n}hi" for a, b, n in zip(low, high, "xyz", strict=True))
        masses = "\n".join(f"{n} {_mass(symbol):.4f}" for n, symbol in enumerate(atoms.elements, 1))
        types = f"{len(atoms)} atoms\n{len(atoms.elements)} atom types"
        text = f"LAMMPS data, units metal\n\n{types}\n{bounds}\n\nMasses\n\n{masses}\n\nAtoms # atomic\n\n"
        body = (f"{n} {s + 1} {x:.8f} {y:.8f} {z:.8f}" for n, s, (x, y, z) in rows)
    Path(path).write_text(text + "\n".join(body) + "\n")


def _mass(symbol: str) -> float:
    from ase.data import atomic_masses, atomic_numbers

    return float(atomic_masses[atomic_numbers[symbol]])


class ElementsError(ValueError):
    """Elements are missing or given twice; not a damage of the file."""


def file_format(path: Path) -> str:
    """ASE's name of the format of ``path``, by its first lines.

    Raises
    ------
    ValueError
        If it is none of those that are read.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    try:
        lines = head.decode().splitlines()
    except UnicodeDecodeError:
        lines = []
    if any(line.startswith("ITEM: TIMESTEP") for line in lines[:1]):
        return "lammps-dump-text"
    if lines and re.fullmatch(r"\s*\d+\s*", lines[0]):
        return "extxyz"
    if any(re.match(r"\s*\d+\s+atoms\b", line) for line in lines[1:20]):
        return "lammps-data"
    got = "an empty file" if not head else f"a file that starts with {head[:20]!r}"
    raise ValueError(f"{path} must be one of: {FORMATS}; got {got}")


def _read_xyz(path: Path, elements: list[str]) -> tuple[Any, Any]:
    from ase.io import read

    if int(path.open().readline()) == 0:
        raise ElementsError(f"{path} must hold at least one atom, got none")
    frame = read(path, index=-1, format="extxyz")
    if elements:
        raise ElementsError(f"--element must be left out for {path}: the file names its elements")
    return frame.get_chemical_symbols(), frame.positions


def _read_dump(path: Path, elements: list[str]) -> tuple[Any, Any]:
    from ase.io import read

    columns, count = _last_frame_of_dump(path)
    named = "element" in columns
    if named and elements:
        raise ElementsError(f"--element must be left out for {path}: the file names its elements")
    if not named and "type" not in columns:
        raise ElementsError(f"{path} must have a column 'element' or 'type', got {' '.join(columns)}")
    # ASE would take type 1 for hydrogen, or guess by mass: a type's element is the user's to name.
    order = None if named else ["H"] * 10_000
    frame = read(path, index=-1, format="lammps-dump-text", specorder=order)
    if len(frame) != count:  # ASE reads on over the end of the file
        raise ValueError(f"the last frame has {len(frame)} of {count} atoms")
    return frame.get_chemical_symbols() if named else _named(frame.arrays["type"], elements, path), frame.positions


def _last_frame_of_dump(path: Path) -> tuple[list[str], int]:
    """Columns of the last frame and the atoms that it announces."""
    columns: list[str] = []
    count = 0
    with path.open() as file:
        for line in file:
            if line.startswith("ITEM: NUMBER OF ATOMS"):
                count = int(next(file, ""))
            elif line.startswith("ITEM: ATOMS"):
                columns = line.split()[2:]
    if not columns:
        raise ValueError("no line 'ITEM: ATOMS'")
    if count == 0:
        raise ElementsError(f"{path} must hold at least one atom, got none")
    return columns, count


def _read_data(path: Path, elements: list[str]) -> tuple[Any, Any]:
    from ase.data import atomic_masses
    from ase.io.lammpsdata import read_lammps_data

    if re.search(r"^\s*0\s+atoms\b", path.read_text(), re.M):
        raise ElementsError(f"{path} must hold at least one atom, got none")
    if not elements:
        frame = read_lammps_data(path)
        near = np.abs(frame.get_masses() - atomic_masses[frame.numbers]) < MASS_TOLERANCE
        if not re.search(r"^\s*Masses", path.read_text(), re.M) or not near.all():
            raise _missing(path, 1)
        return frame.get_chemical_symbols(), frame.positions
    # Atomic numbers stand for the types here: type t is read as element t, and named after.
    frame = read_lammps_data(path, Z_of_type={t: t for t in range(1, 100)})
    return _named(frame.numbers, elements, path), frame.positions


def _named(types: Any, elements: list[str], path: Path) -> list[str]:
    most, least = int(np.max(types)), int(np.min(types))
    if least < 1 or most > len(elements):
        raise _missing(path, most)
    return [elements[t - 1] for t in types]


def _missing(path: Path, types: int) -> ElementsError:
    example = " ".join(["Cu", "Ni", "Al", "Fe"][: max(1, min(types, 4))])
    return ElementsError(f"{path} holds LAMMPS types without element names; name all {types}, e.g. --element {example}")
