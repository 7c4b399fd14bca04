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
TRUSTED = 0.5
"""Trust from which a point is taken as it is found."""
TURNING = 0.8
"""Share of a step's change of direction that the tangent takes over: all of it would follow the noise."""
GAP = 2.5
"""Length of what is bridged; as much must follow behind it."""
BESIDE = 0.9
"""A point this near to a line runs on it."""
ALIGNED = 0.75
"""Least cosine between the two ends of a closed loop."""
FARTHEST = 0.35
"""Of a correction in one step: a turn of 35°, as of a loop whose radius is less than a voxel."""
CLOSING = 4.0
"""Least length of a closed loop."""
NEGLIGIBLE = 0.2
"""Winding below which J tells nothing: a Shockley partial that is seen winds by a third or more."""
UNLIKE = 1.0
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
        points, heights, trusts = [start], [0.0], [1.0]
        tangent, level = direction, 1.0
        kept = run = gap = 0
        bridged = closed = False
        while len(points) <= LONGEST and not closed and max(gap, (len(points) - 1 - kept) / 2) * STEP <= GAP:
            predicted = points[-1] + STEP * tangent
            shift, height, share, now = self._step(predicted, tangent, windings)
            seen = height >= self.threshold and share >= OWN
            # At the edge of a gap or a crossing the centroid is that of a line cut obliquely: less is made of it.
            trust = min(1.0, height * share / level) ** 2 if seen else 0.0
            points.append(predicted + trust * shift)
            heights.append(height)
            trusts.append(trust)
            if seen:
                tangent = _turned(tangent, points[-1] - points[-2], TURNING * trust)
                windings = windings + REMEMBERED * (now - windings)
                level = level + REMEMBERED * (height * share - level)
            run, gap = (run + 1, 0) if seen else (0, gap + 1)
            bridged = bridged or not seen
            if seen and (not bridged or run * STEP >= GAP):
                kept = len(points) - 1
            back = float(np.linalg.norm(points[-1] - start)) < STEP and float(tangent @ direction) > ALIGNED
            closed = back and len(points) * STEP > CLOSING
        line = _bridged(np.asarray(points[: kept + 1]), np.asarray(trusts[: kept + 1]))
        return line[1:], np.asarray(heights[1 : kept + 1]), closed

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
        # The window draws the centroid of a tube towards its own middle by this factor.
        shift = (1 + TUBE**2 / ACROSS**2) * (weighted @ relative) / total
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


def _turned(tangent: Array, chord: Array, share: float) -> Array:
    """``tangent`` turned towards ``chord`` by a ``share`` of the way."""
    turned = tangent + share * (chord / np.linalg.norm(chord) - tangent)
    return np.asarray(turned / np.linalg.norm(turned))


def _bridged(points: Array, trusts: Array) -> Array:
    """``points`` (n, 3), those within that are not trusted put evenly between those that are."""
    order = np.arange(len(points))
    sure = trusts >= TRUSTED
    inside = order <= order[sure].max()
    return np.stack([np.where(inside, np.interp(order, order[sure], x[sure]), x) for x in points.T], -1)


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
