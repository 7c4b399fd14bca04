"""Traced lines by the vortices of retrieved objects: whole-number windings, and the vortex's course where it is near.

A network tells where a line is, be it a partial or close to another; what its phase winds by it tells badly, since a
mean over all that may be is near to zero. Where the object is right its vortex along the line tells it exactly, and a
line about which the phase winds in no reflection is none that shows.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cdi.retrieval.joined_lines import drawn, separation
from cdi.retrieval.vortex_lines import VortexLine, vortex_lines
from models.lines import NEGLIGIBLE, TracedLine

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
    if not lines:
        return ()
    to_voxels: Array = np.asarray(np.linalg.inv(voxel), np.float64)
    told = np.array([line.windings for line in lines], np.float64)
    every: list[VortexLine] = []
    for reflection, volume in enumerate(objects):
        inside = torch.from_numpy(np.abs(volume) > 0)
        whole = torch.from_numpy(np.ascontiguousarray(volume))
        found = vortex_lines(whole, inside, voxel=voxel) if bool(inside.any()) else ()
        every += found
        for number, line in enumerate(lines):
            winding = _along(line.points_A @ to_voxels, found, to_voxels)
            if winding is not None:
                told[number, reflection] = winding
    return tuple(
        _turned(_following(line, every, to_voxels), windings)
        for line, windings in zip(lines, told, strict=True)
        if np.abs(windings).max(initial=0.0) >= UNWOUND
    )


def _along(points: Array, vortices: Sequence[VortexLine], to_voxels: Array) -> float | None:
    """Turns of the ``vortices`` that run along ``points`` (n, 3) in voxels, in their sense; None where none does."""
    places = drawn(points)
    senses = np.gradient(places, axis=0)
    turns, covered = np.zeros(len(places)), np.zeros(len(places), bool)
    for vortex in vortices:
        track = drawn(vortex.points @ to_voxels)
        distance, nearest = cKDTree(track).query(places)
        beside = distance <= BESIDE
        if beside.any():
            same = (senses * np.gradient(track, axis=0)[nearest]).sum(1)[beside].sum() >= 0
            turns[beside] += vortex.winding if same else -vortex.winding
            covered |= beside
    return float(np.round(np.median(turns[covered]))) if covered.mean() >= COVERED else None


def _following(line: TracedLine, vortices: Sequence[VortexLine], to_voxels: Array) -> TracedLine:
    """``line`` where the longest of the ``vortices`` beside it runs, in its own sense."""
    points = line.points_A @ to_voxels
    places = drawn(points)
    beside = []
    for vortex in vortices:
        track = vortex.points @ to_voxels
        distance, nearest = cKDTree(drawn(track)).query(places)
        if (distance <= BESIDE).mean() >= FOLLOWED and separation(track, points) <= NEAR:
            forward = bool((np.gradient(places, axis=0) * np.gradient(drawn(track), axis=0)[nearest]).sum() >= 0)
            beside.append((vortex.length, vortex.points if forward else vortex.points[::-1]))
    if not beside:
        return line
    return replace(line, points_A=max(beside, key=lambda one: one[0])[1])


def _turned(line: TracedLine, windings: Array) -> TracedLine:
    """``line`` with other ``windings``, run through so that the first that is not negligible is positive."""
    plain = windings[np.abs(windings) > NEGLIGIBLE]
    if len(plain) and plain[0] < 0:
        return TracedLine(line.points_A[::-1], -windings, line.confidence)
    return TracedLine(line.points_A, windings, line.confidence)
