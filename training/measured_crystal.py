"""What ``cdi predict`` is asked about: exposures of one crystal, and what is known of its lattice. Free of torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from cdi.lattices.lattice import Lattice
from cdi.lattices.structures import STRUCTURES
from cdi.pattern import Exposure, Reflection
from data.formats.pattern_files import read_exposure
from data.formats.stack import AS_THE_FILE_SAYS, StackOptions
from data.layout import FORMAT_NAME
from data.pattern_store import PATTERN_FORMAT
from data.sample import Sample, Truth
from data.store import SampleFile
from models.common_voxels import to_common_voxels
from models.known_crystal import KnownCrystal

MOST_MISFIT_DEG, MOST_STRETCH = 3.0, 0.05
"""Angle and relative length by which a measured scattering vector may miss the lattice's: strain and a grid's centre
take less, wrong indices, a wrong element or frames that differ from file to file more."""


@dataclass(frozen=True)
class MeasuredCrystal:
    """Exposures of one crystal on common voxels, where each is from, and the lattice where it is known."""

    names: tuple[str, ...]
    exposures: tuple[Exposure, ...]
    known: KnownCrystal | None


@dataclass(frozen=True)
class Question:
    """What the user says beside the files; None where the files are to tell.

    ``index`` is the position of the crystal in a data set; ``scans`` are one a file; ``options`` hold for all files.
    """

    index: int | None = None
    spec: str | None = None
    scans: tuple[int, ...] = ()
    lattice: Lattice | None = None
    reflections: tuple[Reflection, ...] = ()
    options: StackOptions = AS_THE_FILE_SAYS


def read_crystal(files: Sequence[str], asked: Question) -> MeasuredCrystal:
    """The crystal in ``files``: one a reflection, or a data set of ``cdi generate``: all exposures of one crystal.

    Raises
    ------
    ValueError
        As ``read_exposure``; if scans are not one a file, reflections not one an exposure, a lattice comes without
        reflections or the other way round, or what is said of them disagrees with the measured scattering vectors.
    """
    if len(files) == 1 and _format(files[0]) == FORMAT_NAME:
        samples = _samples(Path(files[0]), asked)
        names = tuple(f"{Path(files[0]).name} {' '.join(map(str, sample.reflection))}" for sample in samples)
        exposures = [sample.exposure for sample in samples]
        told: tuple[Reflection | None, ...] = tuple(sample.reflection for sample in samples)
        lattice = asked.lattice or _lattice(samples[0].truth)
    else:
        if asked.scans and len(asked.scans) != len(files):
            raise ValueError(f"--scan must be one number a file, got {len(asked.scans)} for {len(files)} files")
        scans = asked.scans or (None,) * len(files)
        exposures = [
            read_exposure(file, index=asked.index, spec=asked.spec, scan=scan, options=asked.options)
            for file, scan in zip(files, scans, strict=True)
        ]
        names, told, lattice = tuple(Path(file).name for file in files), tuple(map(_told, files)), asked.lattice
    common = to_common_voxels(exposures)
    return MeasuredCrystal(names, common, _known(lattice, asked.reflections, told, common))


def _known(
    lattice: Lattice | None,
    said: tuple[Reflection, ...],
    told: Sequence[Reflection | None],
    exposures: Sequence[Exposure],
) -> KnownCrystal | None:
    reflections = said or tuple(hkl for hkl in told if hkl is not None)
    if said and lattice is None:
        raise ValueError("--reflections must come with the lattice: give --element or --structure-file too")
    if lattice is None:
        return None
    if len(reflections) != len(exposures):
        raise ValueError(
            f"--reflections must be one a file, e.g. --reflections '1 1 1' '2 0 0', got {len(reflections)} for "
            f"{len(exposures)}"
        )
    known = KnownCrystal(lattice, reflections)
    _check_fit(known, exposures)
    return known


def _check_fit(known: KnownCrystal, exposures: Sequence[Exposure]) -> None:
    """Raise ``ValueError`` where a measured scattering vector is not that of its reflection in the lattice."""
    if any(exposure.grid is None for exposure in exposures):
        return
    measured = np.array([exposure.grid.centre for exposure in exposures if exposure.grid is not None])
    expected = np.array([known.lattice.reflection_vector(hkl) for hkl in known.reflections])
    orientation = known.oriented(measured)
    turned = expected if orientation is None else expected @ orientation.T
    for hkl, found, wanted in zip(known.reflections, measured, turned, strict=True):
        length, due = np.linalg.norm(found), np.linalg.norm(wanted)
        angle = 0.0 if orientation is None else np.degrees(np.arccos(np.clip(found @ wanted / (length * due), -1, 1)))
        if abs(length / due - 1) > MOST_STRETCH or angle > MOST_MISFIT_DEG:
            raise ValueError(
                f"reflections must fit the measured scattering vectors to {100 * MOST_STRETCH:.0f} % and "
                f"{MOST_MISFIT_DEG:.0f}°, got {hkl} of {known.lattice.formula}, {due:.3f} Å⁻¹, at {length:.3f} Å⁻¹ and "
                f"{angle:.1f}° away; check indices, signs and element, and that all files share one crystal frame"
            )


def _samples(path: Path, asked: Question) -> list[Sample]:
    if asked.spec is not None or asked.scans:
        raise ValueError(f"--spec and --scan must be left out for {path}: the file holds its own geometry")
    with SampleFile(path) as file:
        crystals = list(dict.fromkeys(file.indices.tolist()))
        if asked.index is None and len(crystals) > 1:
            raise ValueError(f"{path} holds {len(crystals)} crystals; choose one with --index 0 to {len(crystals) - 1}")
        position = asked.index or 0
        if not 0 <= position < len(crystals):
            raise ValueError(f"--index must lie in [0, {len(crystals) - 1}] for {path}, got {position}")
        return [file[int(row)] for row in np.flatnonzero(file.indices == crystals[position])]


def _lattice(truth: Truth) -> Lattice | None:
    """The lattice of a data set's crystal; None where its structure has no name in the tables."""
    elements = tuple(re.findall("[A-Z][a-z]?", truth.formula))
    if truth.structure not in STRUCTURES:
        return None
    edges = np.linalg.norm(truth.cell, axis=1)
    c = float(edges[2]) if STRUCTURES[truth.structure].system == "hexagonal" else None
    lattice = Lattice.of_structure(truth.structure, elements, float(edges[0]), c)
    return replace(lattice, cell=truth.cell)


def _format(path: str) -> str:
    """The ``format`` attribute of an HDF5 file, "" of anything else."""
    if not Path(path).is_file() or not h5py.is_hdf5(path):
        return ""
    with h5py.File(path, "r") as file:
        return str(file.attrs.get("format", ""))


def _told(path: str) -> Reflection | None:
    """Miller indices where a pattern of ``cdi simulate`` holds them."""
    if _format(path) != PATTERN_FORMAT:
        return None
    with h5py.File(path, "r") as file:
        h, k, ell = (int(n) for n in file.attrs["reflection"])
    return h, k, ell
