"""A phase retrieval in HDF5: what ``cdi retrieve`` writes.

``density`` (pattern, x, y, z) complex, ``support``, ``runs`` (kept, pattern, x, y, z) of the best starts, ``kernel``
where coherence was fitted, ``free_deviance`` and ``error`` of every start, curves ``transfer`` and ``halves`` over
``frequency``; where the geometry is known ``voxel`` (pattern, 3, 3), row i the voxel vector along axis i, and
``q_centre`` (pattern, 3). Vortex lines, in Å where the geometry is known and else in voxels: ``line_pattern``,
``line_winding``, ``line_confidence`` and ``line_point_count`` (line), ``line_points`` (point, 3). Root attribute
``config``: the resolved settings as YAML.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from cdi import __version__
from cdi.config import to_dict
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.retrieval import Retrieval
from cdi.retrieval.vortex_lines import VortexLine
from data.store_writer import FILTERS

RETRIEVAL_FORMAT, RETRIEVAL_VERSION = "cdi-retrieval", 1

UNITS = {
    "density": "sqrt(photons)", "runs": "sqrt(photons)", "support": "1", "kernel": "1", "mode_weight": "1",
    "overlap": "1", "kept": "1", "free_deviance": "1", "error": "1", "iterations": "1", "transfer": "1", "halves": "1",
    "frequency": "1/voxel", "voxel": "angstrom", "q_centre": "1/angstrom", "line_pattern": "1", "line_winding": "turns",
    "line_confidence": "1", "line_point_count": "1", "line_points": "angstrom or voxels",
}  # fmt: skip
"""Every dataset and its unit."""


def write_retrieval(
    path: str | Path,
    found: Retrieval,
    config: RetrievalConfig,
    lines: Sequence[Sequence[VortexLine]],
    *,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write ``found`` and the vortex ``lines`` of each pattern; ``attributes`` are added to the root's own."""
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
    arrays.update(line_rows(lines))
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {"format": RETRIEVAL_FORMAT, "format_version": RETRIEVAL_VERSION, "program_version": __version__}
        )
        file.attrs["config"] = yaml.safe_dump(to_dict(config), sort_keys=False)
        file.attrs.update(dict(attributes or {}))
        for name, array in arrays.items():
            if array is not None:
                options = {"chunks": True, **FILTERS} if np.size(array) else {}
                file.create_dataset(name, data=array, **options).attrs["units"] = UNITS[name]


def line_rows(lines: Sequence[Sequence[VortexLine]]) -> dict[str, Any]:
    """Ragged rows of the lines of every pattern."""
    rows = [(pattern, line) for pattern, found in enumerate(lines) for line in found]
    return {
        "line_pattern": np.array([pattern for pattern, _ in rows], np.int32),
        "line_winding": np.array([line.winding for _, line in rows], np.int32),
        "line_confidence": np.array([line.confidence for _, line in rows]),
        "line_point_count": np.array([len(line.points) for _, line in rows], np.int32),
        "line_points": np.concatenate([np.zeros((0, 3)), *(line.points for _, line in rows)]),
    }
