"""The table of datasets in a file of samples: the single definition that writing, reading and
joining follow. ``docs/format.md`` prints it.

Ragged rows (kinds of defect, lines, points of lines) are counted per owner and not addressed by offsets, so that
shards join by concatenation alone.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

FORMAT_NAME = "cdi-samples"
FORMAT_VERSION = 2

Kind = Literal["volume", "scalar", "present", "line", "point"]


@dataclass(frozen=True)
class Column:
    """One dataset: rows are samples (``volume``, ``scalar``), kinds present, lines, or points.

    ``row`` is the shape of a row; -1, -2, -3 stand for the voxels along x, y, z.
    """

    kind: Kind
    dtype: np.dtype[np.generic]
    row: tuple[int, ...]
    units: str
    description: str

    def tail(self, voxels: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a row for volumes of ``voxels`` (x, y, z)."""
        return tuple(n if n >= 0 else voxels[-n - 1] for n in self.row)


def _column(kind: Kind, dtype: str, row: tuple[int, ...], units: str, description: str) -> Column:
    return Column(kind, np.dtype(dtype), row, units, description)


XYZ = (-1, -2, -3)

LAYOUT: dict[str, Column] = {
    "counts": _column("volume", "<u4", XYZ, "photons", "detected photons; 0 where not measured"),
    "measured": _column("volume", "u1", XYZ, "1", "1 where the voxel was measured"),
    "support": _column("volume", "<f4", XYZ, "1", "fraction of the real-space voxel inside the crystal"),
    "phase": _column("volume", "<f4", XYZ, "rad", "+G.u plus the ramp of an off-centre peak; 0 outside"),
    "displacement": _column("volume", "<f4", (3, *XYZ), "angstrom", "displacement u, laboratory frame; 0 outside"),
    "index": _column("scalar", "<i8", (), "1", "identity of the crystal: split by it"),
    "reflection": _column("scalar", "<i4", (3,), "1", "Miller indices h, k, l"),
    "q_centre": _column("scalar", "<f8", (3,), "1/angstrom", "scattering vector of voxel N//2, 2 pi included"),
    "q_step": _column("scalar", "<f8", (3, 3), "1/angstrom", "row i: increment of q per voxel along axis i"),
    "defect": _column("scalar", "S24", (), "", "class of the crystal: none, edge, screw, mixed, ..."),
    "fault_step": _column("scalar", "<f8", (), "1", "absolute g.R modulo 1 of a planar fault; 0: none that shows"),
    "formula": _column("scalar", "S8", (), "", "chemical formula"),
    "structure": _column("scalar", "S16", (), "", "crystal structure, e.g. fcc"),
    "cell": _column("scalar", "<f8", (3, 3), "angstrom", "rows: edges of the conventional cell, crystal axes"),
    "orientation": _column("scalar", "<f8", (3, 3), "1", "rotation from crystal axes to the laboratory"),
    "kind_count": _column("scalar", "<i4", (), "1", "kinds of defect in the sample"),
    "kind": _column("present", "S24", (), "", "a kind of defect that is there, dislocation or not"),
    "line_count": _column("scalar", "<i4", (), "1", "dislocation lines of the sample"),
    "point_count": _column("line", "<i4", (), "1", "points of the line"),
    "burgers_A": _column("line", "<f8", (3,), "angstrom", "Burgers vector (RH/FS), laboratory frame"),
    "burgers_lattice": _column("line", "<f8", (3,), "1", "the same in fractions of the cell's edges"),
    "g_dot_b": _column("line", "<f8", (), "1", "G.b / 2 pi; 0: the line is invisible in this reflection"),
    "residual": _column("line", "<f8", (), "1", "largest absolute G.(b x xi) / 2 pi along the line"),
    "candidate_count": _column("line", "<i4", (), "1", "Burgers vectors that wind alike in this reflection"),
    "points_A": _column("point", "<f8", (3,), "angstrom", "polyline, laboratory frame, crystal at the origin"),
}

VOLUMES = tuple(name for name, column in LAYOUT.items() if column.kind == "volume")
RAGGED: dict[Kind, str] = {"present": "kind_count", "line": "line_count", "point": "point_count"}
"""The column that counts the rows of each ragged kind per owner."""
STACKED = tuple(name for name, column in LAYOUT.items() if column.kind in ("volume", "scalar"))
