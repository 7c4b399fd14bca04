"""A refinement in HDF5: what ``cdi refine --output`` writes.

``density`` (pattern, x, y, z) complex in √photons up to a factor, ``support`` (x, y, z); where the geometry is known
``voxel`` (3, 3), row i the voxel vector along axis i, and ``q_centre`` (pattern, 3). Root attributes: ``refinement``,
the JSON of the report, and ``config``, the settings as YAML.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from cdi import __version__
from cdi.config import to_dict
from cdi.refinement.config import RefinementConfig
from cdi.refinement.refinement import Refinement
from data.store_writer import FILTERS
from training.measured_crystal import MeasuredCrystal

REFINEMENT_FORMAT, REFINEMENT_VERSION = "cdi-refinement", 1
UNITS = {"density": "sqrt(photons)", "support": "1", "voxel": "angstrom", "q_centre": "1/angstrom"}


def write_refinement(
    path: str | Path, found: Refinement, crystal: MeasuredCrystal, config: RefinementConfig, told: Mapping[str, Any]
) -> None:
    """Write the refined object, and beside it what was ``told`` of it."""
    arrays: dict[str, Any] = {
        "density": found.object_fit.density.numpy(),
        "support": found.support.numpy().astype(np.uint8),
    }
    grids = [exposure.grid for exposure in crystal.exposures if exposure.grid is not None]
    if grids:
        arrays["voxel"] = grids[0].voxel
        arrays["q_centre"] = np.stack([grid.centre for grid in grids])
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {"format": REFINEMENT_FORMAT, "format_version": REFINEMENT_VERSION, "program_version": __version__}
        )
        file.attrs.update({"refinement": json.dumps(told), "config": yaml.safe_dump(to_dict(config), sort_keys=False)})
        file.attrs["sources"] = list(crystal.names)
        for name, array in arrays.items():
            options = {"chunks": True, **FILTERS} if array.ndim >= 3 else {}
            file.create_dataset(name, data=array, **options).attrs["units"] = UNITS[name]
