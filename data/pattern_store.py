"""One pattern in HDF5: what ``cdi simulate`` writes and every command reads (``docs/format.md``).

``intensity`` (x, y, z), ``amplitude`` (complex), ``q_x``, ``q_y``, ``q_z`` in Å⁻¹ (absolute, G
included) and, where photons were counted, ``counts`` and, if not every voxel was measured,
``measured``. Known lines go into the group ``truth``
under the names of the data sets' store. Free of torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cdi import __version__
from cdi.grid import QGrid
from cdi.pattern import DiffractionPattern, Exposure
from data.layout import LAYOUT
from data.sample import TrueLine
from data.store import open_hdf5
from data.store_writer import FILTERS, describe, line_rows

PATTERN_FORMAT, PATTERN_VERSION = "cdi-pattern", 1
UNITS = {"intensity": "electrons^2", "amplitude": "electrons", "counts": "photons", "measured": "1"}
Q_AXES = ("q_x", "q_y", "q_z")
MOST_COUNTS = 2**32 - 1


def write_pattern(
    path: str | Path,
    pattern: DiffractionPattern,
    *,
    exposure: Exposure | None = None,
    lines: tuple[TrueLine, ...] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write ``pattern``; ``attributes`` are added to the root's own.

    ``lines`` None means that nobody knows; an empty tuple, that there is none.

    Raises
    ------
    ValueError
        If a count does not fit 32 bits.
    """
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": PATTERN_FORMAT, "format_version": PATTERN_VERSION, "program_version": __version__})
        file.attrs.update(
            {"reflection": pattern.reflection, "q_centre": pattern.grid.centre, "q_step": pattern.grid.step}
        )
        file.attrs.update(dict(attributes or {}))
        arrays: dict[str, NDArray[Any]] = {"intensity": pattern.intensity, "amplitude": pattern.amplitude}
        if exposure is not None:
            if exposure.counts.max() > MOST_COUNTS:
                raise ValueError(f"counts must fit 32 bits, got {exposure.counts.max():.4g}")
            arrays["counts"] = exposure.counts.astype(np.uint32)
            if exposure.mask is not None:
                arrays["measured"] = exposure.mask.astype(np.uint8)
        for name, array in arrays.items():
            file.create_dataset(name, data=array, chunks=True, **FILTERS).attrs["units"] = UNITS[name]
        for name, axis in zip(Q_AXES, pattern.grid.axes(), strict=True):
            file.create_dataset(name, data=axis, chunks=True, **FILTERS).attrs["units"] = "1/angstrom"
        if lines is not None:
            _write_lines(file.create_group("truth"), lines)


def read_pattern(path: str | Path) -> Exposure:
    """The exposure of a pattern file: its ``counts``, or else its noise-free intensity.

    Raises
    ------
    ValueError
        If the file is damaged, a dataset is missing, shapes disagree, or the q axes are not
        evenly spaced.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        name = "counts" if "counts" in file else "intensity"
        missing = [wanted for wanted in (name, *Q_AXES) if not isinstance(file.get(wanted), h5py.Dataset)]
        if missing:
            raise ValueError(f"{path} must hold intensity and q_x, q_y, q_z, it lacks {', '.join(missing)}")
        try:
            values = file[name][()]
            measured = file["measured"][()].astype(bool) if name == "counts" and "measured" in file else None
            q = np.stack([file[axis][()] for axis in Q_AXES], -1)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); make it again with: cdi simulate") from error
    if q.shape[:-1] != values.shape:
        raise ValueError(f"q_x, q_y, q_z in {path} must have the shape of {name} {values.shape}, got {q.shape[:-1]}")
    try:
        return Exposure(values, grid_from_q(q), measured)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def grid_from_q(q: NDArray[np.float64]) -> QGrid:
    """The regular grid whose scattering vectors are ``q`` (x, y, z, 3) in Å⁻¹.

    Raises
    ------
    ValueError
        If q is not three-dimensional with at least 2 voxels a side, or not regular to 1e-6 of a step.
    """
    if q.ndim != 4 or min(q.shape[:3]) < 2:
        raise ValueError(f"q must have shape (x, y, z, 3) with at least 2 voxels a side, got {q.shape}")
    last = [n - 1 for n in q.shape[:3]]
    corners = (q[last[0], 0, 0], q[0, last[1], 0], q[0, 0, last[2]])
    step = np.stack([(corner - q[0, 0, 0]) / n for corner, n in zip(corners, last, strict=True)])
    shape = (q.shape[0], q.shape[1], q.shape[2])
    middle = np.array([n // 2 for n in shape])
    grid = QGrid(q[0, 0, 0] + middle @ step, step, shape)
    if np.abs(np.stack(grid.axes(), -1) - q).max() > 1e-6 * np.linalg.norm(step, axis=1).min():
        raise ValueError("q_x, q_y, q_z must lie on a regular grid, they do not")
    return grid


def _write_lines(group: h5py.Group, lines: tuple[TrueLine, ...]) -> None:
    for name, rows in line_rows(lines).items():
        array = np.asarray(rows, LAYOUT[name].dtype).reshape(len(rows), *LAYOUT[name].row)
        describe(group.create_dataset(name, data=array), LAYOUT[name])
