"""Which lattice planes the faces of a refined crystal are, where it is known how the crystal lies."""

from itertools import product
from math import gcd
from typing import Any

import numpy as np

from training.measured_crystal import MeasuredCrystal

MOST_INDEX = 2
"""Largest Miller index that a face is named by: crystals show planes of low indices."""
MOST_OFF_DEG = 8.0
"""From a plane's normal, beyond which a face is not named after it."""


def name_faces(faces: list[dict[str, Any]], crystal: MeasuredCrystal) -> None:
    """Give each of ``faces`` ``miller``, the plane of least indices near its normal or None, and ``off_deg``.

    Nothing is added where the lattice is unknown, or one reflection leaves open how it lies.
    """
    known = crystal.known
    grids = [exposure.grid for exposure in crystal.exposures if exposure.grid is not None]
    if known is None or len(grids) < len(crystal.exposures):
        return
    orientation = known.oriented(np.array([grid.centre for grid in grids]))
    if orientation is None:
        return
    planes = sorted(
        (hkl for hkl in product(range(-MOST_INDEX, MOST_INDEX + 1), repeat=3) if any(hkl) and gcd(*hkl) == 1),
        key=lambda hkl: sum(index * index for index in hkl),
    )
    # Normals of planes are vectors of the reciprocal lattice.
    normals = np.array(planes) @ np.linalg.inv(known.lattice.cell).T @ orientation.T
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    for face in faces:
        off = np.degrees(np.arccos(np.clip(normals @ np.array(face["normal"]), -1, 1)))
        near = np.flatnonzero(off <= MOST_OFF_DEG)
        face["miller"] = list(planes[near[0]]) if len(near) else None
        face["off_deg"] = round(float(off[near[0]]), 1) if len(near) else None
