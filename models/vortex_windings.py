"""Traced lines by the vortices of retrieved objects: whole-number windings, and the vortex's course where it is near.

A network tells where a line is, be it a partial or close to another; what its phase winds by it tells badly, since a
mean over all that may be is near to zero. Where the object is right its vortex along the line tells it exactly, and a
line about which the phase winds in no reflection is none that shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cdi.retrieval.joined_lines import drawn, separation
from cdi.retrieval.vortex_lines import VortexLine, vortex_lines
from models.lines import TracedLine, sensed

Array = NDArray[np.float64]

BESIDE = 2.0
"""Voxels from a line within which a vortex is its own."""
COVERED = 0.4
"""Share of a line along which a vortex must run: a shorter one is noise beside it, or another line's end."""
FOLLOWED = 0.5
"""Share of a line along which a vortex must run for the line to follow it."""
NEAR = 1.0
"""Voxels from the line, on average, up to which a vortex is followed: one farther off may be another line's."""
UNWOUND = 0.25
"""Winding that a line must have in some reflection: below a partial's ⅓. On held-out crystals this took away four of
the five lines that crystals without a defect were given, and five of 110 true ones."""


def with_vortex_windings(
    lines: Sequence[TracedLine], objects: NDArray[np.complexfloating], voxel: Array
) -> tuple[TracedLine, ...]:
    """``lines`` with the windings of the vortices of ``objects`` along them, as they were where there is none.

    Those that then wind in no reflection are left out. A line beside which a vortex runs follows the longest such one.

    Parameters
    ----------
    lines : in Å from voxel ``N // 2``.
    objects : (R, x, y, z)
        One a reflection, in the lines' frame, origin ``N // 2``; 0 outside of the crystal.
    voxel : (3, 3)
        Row i is the vector of a voxel along axis i in Å.
    """
    to_voxels: Array = np.asarray(np.linalg.inv(voxel), np.float64)
    found = [_vortices(volume, voxel) for volume in objects] if lines else []
    told = []
    for line in lines:
        places = drawn(line.points_A @ to_voxels)
        beside = [[_Beside.of(places, vortex, to_voxels) for vortex in vortices] for vortices in found]
        along = [_along(vortices) for vortices in beside]
        windings = np.array([w if m is None else m for w, m in zip(line.windings, along, strict=True)], np.float64)
        if np.abs(windings).max(initial=0.0) >= UNWOUND:
            followed = _following(line, [one for vortices in beside for one in vortices], to_voxels)
            told.append(sensed(replace(followed, windings=windings)))
    return tuple(told)


def _vortices(volume: NDArray[np.complexfloating], voxel: Array) -> tuple[VortexLine, ...]:
    inside = torch.from_numpy(np.abs(volume) > 0)
    return vortex_lines(torch.from_numpy(np.ascontiguousarray(volume)), inside, voxel=voxel) if inside.any() else ()


@dataclass(frozen=True, eq=False)
class _Beside:
    """A vortex along a line: where on the line it is ``near`` (n,) bool, and whether it runs in the line's sense."""

    vortex: VortexLine
    near: NDArray[np.bool_]
    same: bool

    @classmethod
    def of(cls, places: Array, vortex: VortexLine, to_voxels: Array) -> "_Beside":
        """Of ``places`` (n, 3) drawn along the line, in voxels."""
        track = drawn(vortex.points @ to_voxels)
        distance, nearest = cKDTree(track).query(places)
        near = distance <= BESIDE
        turns = (np.gradient(places, axis=0) * np.gradient(track, axis=0)[nearest]).sum(1)
        return cls(vortex, near, bool(turns[near].sum() >= 0))


def _along(vortices: Sequence[_Beside]) -> float | None:
    """Turns of the ``vortices`` of one reflection along a line; None where none runs along enough of it."""
    if not vortices:
        return None
    turns = np.sum([(one.vortex.winding if one.same else -one.vortex.winding) * one.near for one in vortices], axis=0)
    covered = np.any([one.near for one in vortices], axis=0)
    return float(np.round(np.median(turns[covered]))) if covered.mean() >= COVERED else None


def _following(line: TracedLine, vortices: Sequence[_Beside], to_voxels: Array) -> TracedLine:
    """``line`` where the longest of the ``vortices`` beside it runs, in its own sense."""
    points = line.points_A @ to_voxels
    beside = [
        one
        for one in vortices
        if one.near.mean() >= FOLLOWED and separation(one.vortex.points @ to_voxels, points) <= NEAR
    ]
    if not beside:
        return line
    longest = max(beside, key=lambda one: one.vortex.length)
    return replace(line, points_A=longest.vortex.points if longest.same else longest.vortex.points[::-1])
