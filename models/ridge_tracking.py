"""Following the ridges of a line density through its voxels, by prediction and correction.

A line is predicted half a voxel ahead along its tangent and corrected to the centroid of the density in the
plane across it (a mean shift confined to that plane: Ozertem & Erdogmus, J. Mach. Learn. Res. 12, 1249,
2011). It remembers where it is going, so it passes through another line that it meets at an angle, and over
a gap. All lengths are in voxels. Free of torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]

TUBE = 0.9
"""Standard deviation of the tube that stands for a line."""
STEP = 0.5
ALONG, ACROSS = 0.7, 1.2
"""Standard deviations of the window of a correction, along the line and across it."""
CORRECTIONS = 2
TURNING = 0.6
"""Share of a step's change of direction that the tangent takes over: all of it would follow the noise."""
GAP = 2.5
"""Length of what is bridged; as much must follow behind it."""
BESIDE, ALIGNED = 0.9, 0.75
"""A point this near to a known line, and within acos of this along it, runs on that line."""
FARTHEST = 0.25
"""Of a correction in one step: half as far as the step, a turn of 27°."""
CLOSING = 4.0
"""Least length of a closed loop."""
LONGEST = 400
"""Steps in one direction, beyond which no line goes."""
_REACH = 2
_OFFSETS = np.stack(np.meshgrid(*[np.arange(-_REACH, _REACH + 1.0)] * 3, indexing="ij"), -1).reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class Ridge:
    """A followed line: points ``(n, 3)`` in voxels from the first voxel, with the height ``(n,)`` of the tube there."""

    points: Array
    heights: Array
    closed: bool

    @cached_property
    def tangents(self) -> Array:
        """Unit vectors ``(n, 3)``."""
        if self.closed:
            ring = self.points[:-1]
            ahead = np.roll(ring, -1, 0) - np.roll(ring, 1, 0)
            steps = np.concatenate([ahead, ahead[:1]])
        else:
            steps = np.gradient(self.points, axis=0)
        return np.asarray(steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-12))

    @property
    def length(self) -> float:
        """In voxels."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())


@dataclass(frozen=True, eq=False)
class RidgeTracker:
    """Follows ridges of ``density`` (x, y, z) no lower than ``threshold``."""

    density: Array
    threshold: float

    @cached_property
    def _padded(self) -> Array:
        return np.pad(self.density, _REACH + 1)

    def seeds(self) -> tuple[Array, Array]:
        """Voxels ``(n, 3)`` above the threshold, the most line-like first, and the direction ``(n, 3)`` of each."""
        smooth = gaussian_filter(self._padded, 0.7)
        index = np.argwhere(self.density >= self.threshold)
        if not len(index):
            return np.empty((0, 3)), np.empty((0, 3))
        values, axes = np.linalg.eigh(_curvature(smooth, index + _REACH + 1))
        # A crossing is flat along two axes and a blob along none: a line is along one.
        likeness = -values[:, 1] - np.abs(values[:, 2])
        order = np.argsort(-likeness, kind="stable")
        return index[order].astype(np.float64), axes[order, :, 2]

    def follow(self, seed: Array, direction: Array, known: Sequence[Ridge]) -> Ridge | None:
        """The ridge through ``seed``, where it is not one of the ``known`` or none at all."""
        start, height = self._corrected(seed, direction)
        if height < self.threshold or _runs_on(start, direction, known):
            return None
        ahead, heights, closed = self._one_way(start, direction, known)
        if closed:
            points = np.concatenate([[start], ahead, [start]])
            return Ridge(points, np.concatenate([[height], heights, [height]]), True)
        behind, lower, _ = self._one_way(start, -direction, known)
        points = np.concatenate([behind[::-1], [start], ahead])
        return Ridge(points, np.concatenate([lower[::-1], [height], heights]), False)

    def _one_way(self, start: Array, direction: Array, known: Sequence[Ridge]) -> tuple[Array, Array, bool]:
        points: list[Array] = []
        heights: list[float] = []
        place, tangent = start, direction
        kept = run = gap = 0
        bridged = False
        for _ in range(LONGEST):
            predicted = place + STEP * tangent
            corrected, height = self._corrected(predicted, tangent)
            aside = corrected - predicted
            corrected = predicted + aside * min(1, FARTHEST / max(np.linalg.norm(aside), 1e-12))
            seen = height >= self.threshold
            if seen:
                tangent = _turned(tangent, corrected - place)
            place = corrected if seen else predicted
            if _runs_on(place, tangent, known):
                break
            points.append(place)
            heights.append(height)
            run, gap = (run + 1, 0) if seen else (0, gap + 1)
            bridged = bridged or not seen
            if seen and (not bridged or run * STEP >= GAP):
                kept = len(points)
            if STEP * gap > GAP or STEP * (len(points) - kept) > 2 * GAP:
                break
            if len(points) * STEP > CLOSING and np.linalg.norm(place - start) < STEP and tangent @ direction > ALIGNED:
                return np.asarray(points), np.asarray(heights), True
        return np.reshape(points[:kept], (-1, 3)), np.asarray(heights[:kept]), False

    def _corrected(self, point: Array, tangent: Array) -> tuple[Array, float]:
        """``point`` moved onto the ridge across ``tangent``, and the height of the tube that fits best there."""
        for _ in range(CORRECTIONS):
            relative, weight, values, _ = self._window(point, tangent)
            weighted = weight * values
            total = weighted.sum()
            if total <= 0:
                return point, 0.0
            shift = weighted @ relative / total
            point = point + shift - (shift @ tangent) * tangent
        _, weight, values, across = self._window(point, tangent)
        tube = np.exp(across / (-2 * TUBE**2))
        return point, float((weight * values) @ tube / ((weight * tube) @ tube))

    def _window(self, point: Array, tangent: Array) -> tuple[Array, Array, Array, Array]:
        """Voxels about ``point``: their relative places, the window's weights, values, squared distances across."""
        base = np.clip(np.rint(point), 0, np.asarray(self.density.shape) - 1)
        x, y, z = (base + 1).astype(int).tolist()
        n = 2 * _REACH + 1
        values = self._padded[x : x + n, y : y + n, z : z + n].ravel()
        relative = _OFFSETS + (base - point)
        along = relative @ tangent
        along *= along
        across = np.einsum("ij,ij->i", relative, relative) - along
        return relative, np.exp(along / (-2 * ALONG**2) + across / (-2 * ACROSS**2)), values, across


def _turned(tangent: Array, chord: Array) -> Array:
    """``tangent`` turned towards ``chord``, in part."""
    turned = tangent + TURNING * (chord / np.linalg.norm(chord) - tangent)
    return np.asarray(turned / np.linalg.norm(turned))


def _runs_on(point: Array, tangent: Array, known: Sequence[Ridge]) -> bool:
    for ridge in known:
        gaps = np.linalg.norm(ridge.points - point, axis=1)
        nearest = int(gaps.argmin())
        if gaps[nearest] < BESIDE and abs(ridge.tangents[nearest] @ tangent) > ALIGNED:
            return True
    return False


def _curvature(volume: Array, index: NDArray[np.int64]) -> Array:
    """Second differences ``(n, 3, 3)`` of ``volume`` at voxels ``index`` (n, 3), none of them on its faces."""
    unit = np.eye(3, dtype=np.int64)

    def at(offset: NDArray[np.int64]) -> Array:
        return volume[tuple((index + offset).T)]

    hessian = np.empty((len(index), 3, 3))
    for a in range(3):
        hessian[:, a, a] = at(unit[a]) - 2 * at(0 * unit[a]) + at(-unit[a])
        for b in range(a):
            mixed = at(unit[a] + unit[b]) - at(unit[a] - unit[b]) - at(unit[b] - unit[a]) + at(-unit[a] - unit[b])
            hessian[:, a, b] = hessian[:, b, a] = mixed / 4
    return hessian
