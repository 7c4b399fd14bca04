"""Following the ridges of a line density through its voxels, by prediction and correction.

A line is predicted half a voxel ahead along its tangent and corrected to the centroid of the density in the
plane across it (a mean shift confined to that plane: Ozertem & Erdogmus, J. Mach. Learn. Res. 12, 1249,
2011). It remembers where it is going, so it passes through another line that it meets at an angle, and over
a gap. All lengths are in voxels. Free of torch.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]

TUBE = 0.9
"""Standard deviation of the tube that stands for a line."""
STEP = 0.5
ALONG, ACROSS = 0.7, 1.0
"""Standard deviations of the window of a correction, along the line and across it."""
OWN = 0.4
"""Share of the density about a point that must be the line's own."""
TURNING = 0.5
"""Share of a step's change of direction that the tangent takes over: all of it would follow the noise."""
GAP = 2.5
"""Length of what is bridged; as much must follow behind it."""
BESIDE = 0.9
"""A point this near to a line runs on it."""
ALIGNED = 0.75
"""Least cosine between the two ends of a closed loop."""
FARTHEST = 0.25
"""Of a correction in one step: half as far as the step, a turn of 27°."""
CLOSING = 4.0
"""Least length of a closed loop."""
NEGLIGIBLE = 0.2
"""Winding below which J tells nothing: a Shockley partial that is seen winds by a third or more."""
UNLIKE = 0.8
"""Standard deviation of the part of its J by which a line's surroundings differ from it."""
REMEMBERED = 0.2
"""Share of what a step finds that a line's windings take over."""
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

    def reversed(self) -> "Ridge":
        """The same in the other sense."""
        return Ridge(self.points[::-1], self.heights[::-1], self.closed)

    def followed_by(self, other: "Ridge") -> "Ridge":
        """Both as one."""
        return Ridge(np.concatenate([self.points, other.points]), np.concatenate([self.heights, other.heights]), False)

    def direction_at_end(self) -> Array:
        """Unit vector ``(3,)`` along the last two voxels or so."""
        chord = self.points[-1] - self.points[max(-1 - round(2 / STEP), -len(self.points))]
        return np.asarray(chord / np.linalg.norm(chord))

    def between(self, first: int, last: int) -> "Ridge":
        """The open part from point ``first`` to ``last``, both included."""
        part = slice(first, last + 1)
        return Ridge(self.points[part], self.heights[part], False)


@dataclass(frozen=True, eq=False)
class RidgeTracker:
    """Follows ridges of ``density`` (x, y, z) no lower than ``threshold``.

    ``flux`` (R, 3, x, y, z) is J = (g·b) ξ · density of each reflection, R = 0 where it is not known: it tells
    lines apart that the density cannot.
    """

    density: Array
    flux: Array
    threshold: float

    @cached_property
    def _padded(self) -> Array:
        """Density, then the components of J ``(1 + 3R, x, y, z)``, within zeros."""
        volumes = np.concatenate([self.density[None], self.flux.reshape(-1, *self.density.shape)])
        margin = _REACH + 1
        return np.pad(volumes, [(0, 0), *[(margin, margin)] * 3])

    def seeds(self) -> tuple[Array, Array]:
        """Voxels ``(n, 3)`` above the threshold, the most line-like first, and the direction ``(n, 3)`` of each."""
        index = np.argwhere(self.density >= self.threshold)
        if not len(index):
            return np.empty((0, 3)), np.empty((0, 3))
        curvature = _curvature(gaussian_filter(self._padded[0], 0.7), index + _REACH + 1)
        currents = self.flux[:, :, *index.T]
        # Both are large across a line and vanish along it: second differences, and the plane across J.
        told = np.einsum("rin,rjn->nij", currents, currents)
        amount = np.trace(told, axis1=1, axis2=2)[:, None, None]
        strength = np.minimum(1, amount / NEGLIGIBLE**2) / np.maximum(amount, 1e-12)
        values, axes = np.linalg.eigh(curvature - strength * (amount * np.eye(3) - told))
        # A crossing is flat along two axes and a blob along none: a line is along one.
        likeness = -values[:, 1] - np.abs(values[:, 2])
        order = np.argsort(-likeness, kind="stable")
        return index[order].astype(np.float64), axes[order, :, 2]

    def follow(self, seed: Array, direction: Array) -> Ridge | None:
        """The ridge through ``seed``, where there is one."""
        shift, height, _, windings = self._step(seed, direction, self._windings(seed, direction))
        if height < self.threshold:
            return None
        start = seed + shift
        ahead, heights, closed = self._one_way(start, direction, windings)
        if closed:
            points = np.concatenate([[start], ahead, [start]])
            return Ridge(points, np.concatenate([[height], heights, [height]]), True)
        behind, lower, _ = self._one_way(start, -direction, -windings)
        points = np.concatenate([behind[::-1], [start], ahead])
        return Ridge(points, np.concatenate([lower[::-1], [height], heights]), False)

    def _one_way(self, start: Array, direction: Array, windings: Array) -> tuple[Array, Array, bool]:
        points: list[Array] = []
        heights: list[float] = []
        place, tangent, level = start, direction, 1.0
        kept = run = gap = 0
        bridged = False
        for _ in range(LONGEST):
            predicted = place + STEP * tangent
            shift, height, share, now = self._step(predicted, tangent, windings)
            seen = height >= self.threshold and share >= OWN
            # At the edge of a gap or a crossing the centroid is that of a line cut obliquely: less is made of it.
            trust = min(1.0, height * share / level) ** 2 if seen else 0.0
            place = predicted + trust * shift
            if seen:
                tangent = _turned(tangent, place - points[-1] if points else place - start)
                windings = windings + REMEMBERED * (now - windings)
                level = level + REMEMBERED * (height * share - level)
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

    def _windings(self, point: Array, tangent: Array) -> Array:
        _, weight, values, _ = self._window(point, tangent)
        return self._told(weight, values, tangent, values[0])

    def _told(self, weight: Array, values: Array, tangent: Array, own: Array) -> Array:
        """Winding ``(R,)`` of each reflection about ``tangent`` in a window whose line has the density ``own``."""
        weighted = weight * own
        amount = max(float(weighted @ values[0]), 1e-12)
        return np.asarray((values[1:] @ weighted).reshape(-1, 3) @ tangent / amount)

    def _own(self, values: Array, tangent: Array, windings: Array) -> Array:
        """That part of a window's density which runs along ``tangent`` and winds by ``windings``.

        Where lines cross, their J add up to what is neither's: the density is then nobody's, and each goes on straight.
        """
        square = float(windings @ windings)
        if square < NEGLIGIBLE**2:
            return np.asarray(values[0])
        differs = values[1:] - np.outer(windings, tangent).reshape(-1, 1) * values[0]
        misfit = np.einsum("rn,rn->n", differs, differs) / np.maximum(square * values[0] ** 2, 1e-12)
        return np.asarray(values[0] * np.exp(misfit / (-2 * UNLIKE**2)))

    def _step(self, point: Array, tangent: Array, windings: Array) -> tuple[Array, float, float, Array]:
        """At ``point``: the way to the ridge across ``tangent``, the height of the tube that fits best there, the
        share of the density that is the line's own, and what it winds by."""
        relative, weight, values, across = self._window(point, tangent)
        own = self._own(values, tangent, windings)
        weighted = weight * own
        total = float(weighted.sum())
        if total <= 1e-6:
            return np.zeros(3), 0.0, 0.0, windings
        shift = weighted @ relative / total
        shift *= min(1.0, FARTHEST / max(float(np.linalg.norm(shift)), 1e-12))
        shift -= (shift @ tangent) * tangent
        tube = np.exp((across - 2 * relative @ shift + shift @ shift) / (-2 * TUBE**2))
        height = float((weight * values[0]) @ tube / ((weight * tube) @ tube))
        return shift, height, total / float(weight @ values[0]), self._told(weight, values, tangent, own)

    def _window(self, point: Array, tangent: Array) -> tuple[Array, Array, Array, Array]:
        """Voxels about ``point``: their relative places, the window's weights, values, squared distances across."""
        base = np.clip(np.rint(point), 0, np.asarray(self.density.shape) - 1)
        x, y, z = (base + 1).astype(int).tolist()
        n = 2 * _REACH + 1
        values = self._padded[:, x : x + n, y : y + n, z : z + n].reshape(len(self._padded), -1)
        relative = _OFFSETS + (base - point)
        along = relative @ tangent
        along *= along
        across = np.einsum("ij,ij->i", relative, relative) - along
        return relative, np.exp(along / (-2 * ALONG**2) + across / (-2 * ACROSS**2)), values, across


def _turned(tangent: Array, chord: Array) -> Array:
    """``tangent`` turned towards ``chord``, in part."""
    turned = tangent + TURNING * (chord / np.linalg.norm(chord) - tangent)
    return np.asarray(turned / np.linalg.norm(turned))


def _curvature(volume: Array, index: NDArray[np.int64]) -> Array:
    """Second differences ``(n, 3, 3)`` of ``volume`` at voxels ``index`` (n, 3), none of them on its faces."""
    unit = np.eye(3, dtype=np.int64)

    def at(offset: NDArray[np.int64]) -> Array:
        return np.asarray(volume[tuple((index + offset).T)])

    hessian = np.empty((len(index), 3, 3))
    for a in range(3):
        hessian[:, a, a] = at(unit[a]) - 2 * at(0 * unit[a]) + at(-unit[a])
        for b in range(a):
            mixed = at(unit[a] + unit[b]) - at(unit[a] - unit[b]) - at(unit[b] - unit[a]) + at(-unit[a] - unit[b])
            hessian[:, a, b] = hessian[:, b, a] = mixed / 4
    return hessian
