"""Lines of a set whose objects were searched: the vortices of these objects, and what the network sees beside them.

Where the object is right its vortex is where the line is and winds as the line does, in whole numbers; where it is
wrong the network still sees lines, be they partials or close to another. What a phase winds by it tells badly, since a
mean over all that may be is near to zero, and a line about which no phase winds is none that shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from cdi.retrieval.joined_lines import JoinedLine, drawn, joined_lines, separation
from cdi.retrieval.vortex_lines import VortexLine, vortex_lines
from models.lines import TracedLine, sensed

Array = NDArray[np.float64]

BESIDE = 2.0
"""Voxels from a line within which a vortex is its own."""
COVERED = 0.4
"""Share of a line along which a vortex must run: a shorter one is noise beside it, or another line's end."""
UNWOUND = 0.25
"""Winding that a line must have in some reflection: below a partial's ⅓. On held-out crystals this took away four of
the five lines that crystals without a defect were given, and five of 110 true ones."""


def object_lines(
    lines: Sequence[TracedLine],
    density: NDArray[np.floating[Any]],
    vortices: Sequence[Sequence[VortexLine]],
    voxel: Array,
) -> tuple[TracedLine, ...]:
    """``vortices``, and those of the network's ``lines`` that run apart from all of them, longest first.

    A vortex is as sure as the network's density along it is high. It winds as it does in each reflection that shows
    it, and in others as the network says of a line beside it, or not.

    Parameters
    ----------
    lines : in Å from voxel ``N // 2``.
    density : (x, y, z)
        Of lines, as the network sees them, in [0, 1].
    vortices : of each reflection's object, in the lines' frame.
    voxel : (3, 3)
        Row i is the vector of a voxel along axis i in Å.
    """
    to_voxels: Array = np.asarray(np.linalg.inv(voxel), np.float64)
    told = [_told(joined, lines, density, to_voxels) for joined in joined_lines(vortices, voxel)]
    known = [line.points_A @ to_voxels for line in told]
    for line in lines:
        points = line.points_A @ to_voxels
        if all(separation(points, other) > BESIDE for other in known):
            wound = _wound(line, vortices, to_voxels)
            if np.abs(wound.windings).max(initial=0.0) >= UNWOUND:
                told.append(wound)
    return tuple(sorted(map(sensed, told), key=lambda line: -line.length))


def vortices_of(objects: NDArray[np.complexfloating], voxel: Array) -> tuple[tuple[VortexLine, ...], ...]:
    """Vortices in Å of ``objects`` (R, x, y, z), one a reflection, origin ``N // 2``, 0 outside of the crystal."""

    def found(volume: NDArray[np.complexfloating]) -> tuple[VortexLine, ...]:
        inside = torch.from_numpy(np.abs(volume) > 0)
        density = torch.from_numpy(np.ascontiguousarray(volume))
        return vortex_lines(density, inside, voxel=voxel) if inside.any() else ()

    return tuple(map(found, objects))


def _told(
    joined: JoinedLine, lines: Sequence[TracedLine], density: NDArray[np.floating[Any]], to_voxels: Array
) -> TracedLine:
    """A vortex as a line of the network's density."""
    points = joined.points @ to_voxels
    places = drawn(points) + np.asarray(density.shape) // 2
    height = float(map_coordinates(density, places.T, order=1, mode="nearest").clip(0, 1).mean())
    windings = np.array(joined.windings, np.float64)
    gaps = [separation(points, line.points_A @ to_voxels) for line in lines]
    if gaps and min(gaps) <= BESIDE:
        line = lines[int(np.argmin(gaps))]
        same = _same_sense(drawn(points), drawn(line.points_A @ to_voxels))
        windings = np.where(windings == 0, line.windings if same else -line.windings, windings)
    return TracedLine(joined.points, windings, height)


def _wound(line: TracedLine, vortices: Sequence[Sequence[VortexLine]], to_voxels: Array) -> TracedLine:
    """``line`` with the windings of the vortices along it, as they were where there is none."""
    places = drawn(line.points_A @ to_voxels)
    along = [_along([_Beside.of(places, vortex, to_voxels) for vortex in found]) for found in vortices]
    windings = [w if told is None else told for w, told in zip(line.windings, along, strict=True)]
    return replace(line, windings=np.array(windings, np.float64))


@dataclass(frozen=True, eq=False)
class _Beside:
    """A vortex along a line: where on the line it is ``near`` (n,) bool, and what it winds by in the line's sense."""

    near: NDArray[np.bool_]
    winding: int

    @classmethod
    def of(cls, places: Array, vortex: VortexLine, to_voxels: Array) -> "_Beside":
        """Of ``places`` (n, 3) drawn along the line, in voxels."""
        track = drawn(vortex.points @ to_voxels)
        near = cKDTree(track).query(places)[0] <= BESIDE
        return cls(near, vortex.winding if _same_sense(places, track, near) else -vortex.winding)


def _same_sense(places: Array, track: Array, near: NDArray[np.bool_] | None = None) -> bool:
    """Whether ``track`` runs as ``places`` do, both drawn in voxels; judged where these are ``near``."""
    nearest = cKDTree(track).query(places)[1]
    turns = (np.gradient(places, axis=0) * np.gradient(track, axis=0)[nearest]).sum(1)
    return bool((turns if near is None else turns[near]).sum() >= 0)


def _along(beside: Sequence[_Beside]) -> float | None:
    """Turns of the vortices of one reflection along a line; None where none runs along enough of it."""
    if not beside:
        return None
    turns = np.sum([one.winding * one.near for one in beside], axis=0)
    covered = np.any([one.near for one in beside], axis=0)
    return float(np.round(np.median(turns[covered]))) if covered.mean() >= COVERED else None
