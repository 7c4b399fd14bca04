"""What ``cdi predict`` leaves behind: volumes in HDF5, lines for ParaView, lattice sites (``docs/format.md``).

Free of torch.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cdi import __version__
from cdi.whole_file import whole_file
from data.formats.atom_files import write_atoms
from data.formats.vtk_lines import write_vtk_lines
from data.store_writer import FILTERS
from models.predicted_sites import predicted_displacement, predicted_sites
from models.prediction import Prediction
from training.measured_crystal import MeasuredCrystal

VOLUMES_FORMAT, VOLUMES_VERSION = "cdi-prediction", 1
UNITS = {
    "line_density": "1", "support": "1", "phase": "rad", "displacement": "angstrom", "voxel": "angstrom",
    "q_centre": "1/angstrom",
}  # fmt: skip


def write_lines(path: str | Path, prediction: Prediction) -> None:
    """Each line as a polyline with its confidence, windings, and Burgers vector (NaN where undetermined)."""
    lines = prediction.lines
    unknown = (np.nan,) * 3
    best = [line.candidates[0] if line.candidates else None for line in lines]
    numbers: dict[str, NDArray[Any]] = {
        "line": np.arange(len(lines)),
        "confidence": np.array([line.confidence for line in lines], np.float64),
        "windings": np.array([line.windings for line in lines], np.float64).reshape(len(lines), -1)
        if lines
        else np.empty((0, len(prediction.phase))),
        "burgers_A": np.array([line.burgers or unknown for line in lines], np.float64).reshape(-1, 3),
        "burgers_lattice": np.array([b.fractions if b else unknown for b in best], np.float64).reshape(-1, 3),
        "burgers_probability": np.array([b.probability if b else np.nan for b in best], np.float64),
    }
    write_vtk_lines(path, [line.points_A for line in lines], numbers)


def write_volumes(path: str | Path, prediction: Prediction, fitted: MeasuredCrystal) -> None:
    """The volumes that the answer was read from, on their voxels; ``displacement`` where three reflections tell it."""
    u = predicted_displacement(prediction, fitted.exposures, fitted.known)
    centres = [exposure.grid.centre for exposure in fitted.exposures if exposure.grid is not None]
    arrays: dict[str, NDArray[Any]] = {
        "line_density": prediction.line_density,
        "support": prediction.support,
        "phase": prediction.phase,
    }
    if u is not None:
        arrays["displacement"] = u.astype(np.float32)
    if centres:
        arrays |= {"voxel": prediction.voxel, "q_centre": np.array(centres)}
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"format": VOLUMES_FORMAT, "format_version": VOLUMES_VERSION, "program_version": __version__})
        file.attrs.update({"sources": list(fitted.names), "prediction": json.dumps(prediction.to_json())})
        if fitted.known is not None:
            file.attrs["reflections"] = np.array(fitted.known.reflections)
        for name, array in arrays.items():
            options = FILTERS | {"chunks": True} if array.ndim >= 3 else {}
            file.create_dataset(name, data=array, **options).attrs["units"] = UNITS[name]


def write_sites(path: str | Path, prediction: Prediction, fitted: MeasuredCrystal) -> int:
    """Lattice sites as extended xyz; their number."""
    atoms = predicted_sites(prediction, fitted.exposures, fitted.known)
    with whole_file(path) as temporary:
        write_atoms(temporary, atoms)
    return len(atoms)
