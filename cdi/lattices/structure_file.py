"""A lattice from a file of a crystal structure: CIF, POSCAR, extended XYZ and others, through ASE.

Only text formats that hold numbers and names are accepted, by the file's name: reading never runs
or unpickles anything.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.lattices.elasticity import isotropic_stiffness
from cdi.lattices.lattice import Lattice

Array = NDArray[np.float64]

FORMATS = {
    ".cif": "cif",
    ".vasp": "vasp",
    ".poscar": "vasp",
    ".extxyz": "extxyz",
    ".xyz": "extxyz",
    ".xsf": "xsf",
}
"""ASE's format by the ending of a file's name; POSCAR and CONTCAR are known by their whole name."""

NEAREST_SITES = 0.5
"""Distance in Å below which two sites cannot both hold an atom."""


def read_lattice(path: str | Path, *, stiffness: ArrayLike | None = None, poisson_ratio: float = 0.3) -> Lattice:
    """The lattice of a structure file, in the standard orientation: a along x, b in the xy plane.

    The cell is the file's own: Miller indices and fractions refer to its edges. Of several structures
    in a file the last one counts. ``Lattice.structure`` is the file's name.

    Parameters
    ----------
    path
        A file whose name ends as one of ``FORMATS``, or is POSCAR or CONTCAR.
    stiffness : (6, 6), optional
        Elastic constants in GPa (Voigt) in the standard orientation; isotropic unless given.
    poisson_ratio
        Of the isotropic medium where no stiffness is given.

    Raises
    ------
    ValueError
        If the format is unknown, the file is damaged, or it holds no atoms, no three-dimensional
        right-handed cell, a coordinate that is not finite, a site that is partly occupied or shared, or
        what ``Lattice`` refuses.
    OSError
        If the file cannot be opened.
    """
    path = Path(path)
    if not -1 < poisson_ratio < 0.5:
        raise ValueError(f"poisson_ratio must lie in (-1, 0.5), got {poisson_ratio}")
    atoms = _read(path)
    cell, sites = _standard_cell(path, atoms)
    constants = isotropic_stiffness(50.0, poisson_ratio) if stiffness is None else np.asarray(stiffness, np.float64)
    return Lattice(path.name, cell, sites, tuple(atoms.get_chemical_symbols()), constants)


def _read(path: Path) -> Any:
    """The file's structure as ASE's atoms, checked for what a lattice needs."""
    kind = "vasp" if path.name in ("POSCAR", "CONTCAR") else FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"structure file must be POSCAR, CONTCAR or end in one of {', '.join(FORMATS)}, got {path.name!r}"
        )
    # Lazy: ASE takes a second to import, and a lattice of the tables does not need it.
    from ase.io import read

    with path.open("rb"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            atoms = read(path, index=-1, format=kind, do_not_split_by_at_sign=True)
        except Exception as error:  # ASE's readers raise whatever a damaged line brings about
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{path.name} must be a readable {kind} file, got: {reason}") from error
    if not len(atoms):
        raise ValueError(f"{path.name} must hold at least one atom, got none")
    if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
        raise ValueError(f"{path.name} must hold finite coordinates, got NaN or infinity")
    if atoms.cell.rank < 3 or not atoms.pbc.all():
        raise ValueError(f"{path.name} must hold a cell, periodic along three edges, got {atoms.cell.array.tolist()}")
    _check_sites(path, atoms)
    return atoms


def _check_sites(path: Path, atoms: Any) -> None:
    """One whole atom on each site."""
    from ase.neighborlist import neighbor_list

    occupancy = atoms.info.get("occupancy")
    for site in occupancy.values() if isinstance(occupancy, dict) else ():
        if list(site.values()) != [1.0]:
            raise ValueError(f"{path.name} must hold fully occupied sites of one element, got {site}")
    first, second, distances = neighbor_list("ijd", atoms, NEAREST_SITES)
    if len(distances):
        raise ValueError(
            f"{path.name} must hold sites at least {NEAREST_SITES} Å apart, got {distances[0]:.3f} Å between sites "
            f"{first[0]} and {second[0]}"
        )


def _standard_cell(path: Path, atoms: Any) -> tuple[Array, Array]:
    """Edges as rows ``(3, 3)`` in Å, lower triangular, and fractions ``(n, 3)`` in [0, 1)."""
    edges = atoms.cell.array
    if np.linalg.det(edges) < 0:
        raise ValueError(f"{path.name} must hold a right-handed cell: exchange two of its edges, got {edges.tolist()}")
    # metric = L Lᵀ with a positive diagonal: a along x, b in the xy plane, right-handed.
    cell = np.linalg.cholesky(edges @ edges.T)
    fractions = atoms.positions @ np.linalg.inv(edges)
    return cell, fractions - np.floor(fractions + 1e-9)
