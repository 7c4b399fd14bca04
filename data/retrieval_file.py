"""A phase retrieval in HDF5: what ``cdi retrieve`` writes.

``density`` (pattern, x, y, z) complex, ``support``, ``runs`` (kept, pattern, x, y, z) of the best starts, ``kernel``
where coherence was fitted, ``free_deviance`` and ``error`` of every start, curves ``transfer`` and ``halves`` over
``frequency``; where the geometry is known ``voxel`` (pattern, 3, 3), row i the voxel vector along axis i, and
``q_centre`` (pattern, 3). Root attribute ``config``: the resolved settings as YAML.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from cdi import __version__
from cdi.config import to_dict
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.retrieval import Retrieval
from data.store_writer import FILTERS

RETRIEVAL_FORMAT, RETRIEVAL_VERSION = "cdi-retrieval", 1

UNITS = {
    "density": "sqrt(photons)", "runs": "sqrt(photons)", "support": "1", "kernel": "1", "mode_weight": "1",
    "overlap": "1", "kept": "1", "free_deviance": "1", "error": "1", "iterations": "1", "transfer": "1", "halves": "1",
    "frequency": "1/voxel", "voxel": "angstrom", "q_centre": "1/angstrom",
}  # fmt: skip
"""Every dataset and its unit."""


def write_retrieval(
    path: str | Path, found: Retrieval, config: RetrievalConfig, *, attributes: Mapping[str, Any] | None = None
) -> None:
    """Write ``found``; ``attributes`` are added to the root's own."""
    arrays: dict[str, Any] = {
        name: getattr(found, name)
        for name in ("density", "support", "runs", "kernel", "mode_weight", "overlap", "kept", "free_deviance", "error",
                     "iterations")
    }  # fmt: skip
    arrays.update(transfer=found.transfer.values, halves=found.halves.values, frequency=found.transfer.frequency)
    arrays["support"] = arrays["support"].astype(np.uint8)
    grids = [grid for grid in found.grids if grid is not None]
    if len(grids) == len(found.grids):
        arrays["voxel"] = np.stack([grid.voxel for grid in grids])
        arrays["q_centre"] = np.stack([grid.centre for grid in grids])
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {"format": RETRIEVAL_FORMAT, "format_version": RETRIEVAL_VERSION, "program_version": __version__}
        )
        file.attrs["config"] = yaml.safe_dump(to_dict(config), sort_keys=False)
        file.attrs.update(dict(attributes or {}))
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array, chunks=True, **FILTERS).attrs["units"] = UNITS[name]
