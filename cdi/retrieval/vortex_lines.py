"""Vortex lines of a phase volume: dislocations as one reflection shows them.

Where a Bragg object s exp(iG·u) holds a dislocation, its phase winds by G·b about the line: by 2π m, m a
whole number for every perfect dislocation. The residues of the volume are a flux without sources; followed from
cell to cell it gives lines that close or end at the surface (as for vortices in light: O'Holleran,
Dennis & Padgett, Phys. Rev. Lett. 102, 143902, 2009; in Bragg objects: Clark et al., Nature Mater. 14, 780, 2015).

What it cannot tell: lines with m = 0; m beyond what the voxels resolve; loops and dipoles closer than 3 voxels.
Phase steps are no vortices: a stacking fault leaves a step of ±2π/3 on a plane and no line, and a
dissociated dislocation is one line of the total m = g·(b₁ + b₂), at the partial whose fraction of a turn wraps,
while a single partial (a fault that ends in the crystal) shows the whole number next to its g·b:
±1/3 none, ±2/3 one. Where the step is half a turn, noise alone decides: such planes fill with spurious loops.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_dilation, uniform_filter
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from torch import Tensor

from cdi.defects.line import DislocationLine
from cdi.retrieval.flux_paths import Path, flux_paths
from cdi.retrieval.residues import Crossings, crossings

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SURROUNDINGS = 5
"""Edge in voxels of the box over which the amplitude around a line is averaged."""
SMOOTHING = 2
"""Passes of the binomial weights ¼, ½, ¼ along a line."""


@dataclass(frozen=True)
class VortexCriteria:
    """What is taken for a line. Lengths in voxels, whatever their size and shape.

    Parameters
    ----------
    edge : float
        A point no deeper than this below the support's boundary may be an artefact: it counts for nothing, and
        a line goes on through such points only up to twice as far.
    amplitude : float
        So may a point in surroundings whose mean amplitude is below this fraction of the support's median.
    length : float
        Least length of what is left.
    confidence : float
        Least share of it where a circuit one voxel wider still winds in the sense of the line.
    merged_within : float
        Lines of one sense that run side by side no farther apart are one line of their total winding;
        0 leaves them apart.

    Raises
    ------
    ValueError
        If a number is negative or not finite, or a share exceeds 1.
    """

    edge: float = 1.0
    amplitude: float = 0.3
    length: float = 3.0
    confidence: float = 0.5
    merged_within: float = 2.0

    def __post_init__(self) -> None:
        for name in ("edge", "amplitude", "length", "confidence", "merged_within"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        for name in ("amplitude", "confidence"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must be at most 1, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class VortexLine:
    """A line that phase winds about.

    Parameters
    ----------
    points : (n, 3)
        In Å (or voxels) from voxel ``N // 2``, in the sense about which phase winds right-handed; a
        closed loop repeats its first point.
    winding : int
        m = G·b/2π ≥ 1 for the Burgers vector that belongs to this sense.
    amplitude_depth : float
        1 − amplitude on the line / amplitude around it, averaged over the length: 0 for an object as it
        is, towards 1 where the finite resolution of a measurement mixes all phases at the core.
    confidence : float
        Share of the length, in [0, 1], where a circuit one voxel wider on all sides winds in the same
        sense: what noise tears open closes within a voxel.
    """

    points: Array
    winding: int
    amplitude_depth: float
    confidence: float

    @property
    def length(self) -> float:
        """Length in Å (or voxels)."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())

    @property
    def is_closed(self) -> bool:
        """Whether it ends where it starts."""
        return bool(np.array_equal(self.points[0], self.points[-1]))

    def dislocation(self, G: ArrayLike) -> DislocationLine:
        """The line with the part of its Burgers vector that the reflection ``G`` (3,) in Å⁻¹ tells, along G."""
        vector = np.asarray(G, np.float64)
        return DislocationLine(self.points, 2 * np.pi * self.winding * vector / (vector @ vector))


def vortex_lines(
    density: Tensor | NDArray[np.complexfloating],
    support: Tensor | NDArray[np.bool_],
    *,
    voxel: ArrayLike | None = None,
    criteria: VortexCriteria | None = None,
) -> tuple[VortexLine, ...]:
    """The vortex lines of ``density`` within ``support``, the longest first.

    Parameters
    ----------
    density : (x, y, z) complex
        In the sign φ = +G·u.
    support : (x, y, z) bool
    voxel : (3, 3) or None
        Voxel vectors in Å, row i along axis i; None gives points in voxels.
    criteria : VortexCriteria or None
        None: the defaults.

    Raises
    ------
    ValueError
        If the density is not a finite complex volume, the support not a bool volume of its
        shape with a voxel in it, or the voxel vectors are not three independent ones.
    """
    volume, inside = torch.as_tensor(density), torch.as_tensor(support)
    rows = _checked(volume, inside, voxel)
    chosen = VortexCriteria() if criteria is None else criteria
    # Nothing is looked for outside of the support: its box holds an eighth of most arrays or less.
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in inside.nonzero().T)
    volume, inside = volume[box].detach().resolve_conj(), inside[box]
    traced = _Traced.of(crossings(volume, inside), volume.cpu().numpy(), inside.cpu().numpy(), chosen)
    found = [line for path in traced.paths() for line in traced.lines(path, chosen)]
    found.sort(key=lambda line: -line.length)
    shift = np.array([side.start for side in box]) - np.array(density.shape) // 2
    return tuple(_placed(line, shift, rows) for line in _merged(found, chosen.merged_within))


@dataclass(frozen=True, eq=False)
class _Traced:
    """The pierced plaquettes with what is asked of each ``(n,)``: whether it counts, agrees, and how deep it is."""

    crossings: Crossings
    positions: Array
    counts: Mask
    agrees: Mask
    depth: Array

    @classmethod
    def of(
        cls, pierced: Crossings, density: NDArray[np.complex128], support: Mask, criteria: VortexCriteria
    ) -> "_Traced":
        amplitude = np.abs(density) * support
        filled = uniform_filter(support.astype(np.float64), SURROUNDINGS, mode="constant")
        around = uniform_filter(amplitude, SURROUNDINGS, mode="constant") / np.maximum(filled, SURROUNDINGS**-3)
        on_line, surroundings = (pierced.at_corners(field).mean(1, dtype=np.float64) for field in (amplitude, around))
        bright = surroundings >= criteria.amplitude * np.median(amplitude[support])
        positions = pierced.positions(density)
        return cls(
            pierced,
            positions,
            _deeper(positions, support, criteria.edge) & bright,
            pierced.circuit > 0,
            1 - on_line / np.maximum(surroundings, np.finfo(np.float64).tiny),
        )

    def paths(self) -> list[Path]:
        return flux_paths(*self.crossings.cells, self.positions)

    def lines(self, path: Path, criteria: VortexCriteria) -> Iterator[VortexLine]:
        """The parts of ``path`` that the criteria leave, with points in voxels."""
        steps = np.diff(self.positions[np.append(path.faces, path.faces[: path.closed])], axis=0)
        # Smoothing shortens: what is too short now stays so, and noise leaves thousands of such loops.
        if not self.counts[path.faces].any() or np.sqrt((steps**2).sum(1)).sum() < criteria.length:
            return
        for part in _trusted(path, self.positions, self.counts, 2 * criteria.edge):
            points = _smoothed(self.positions[part.faces], part.closed)
            counts = self.counts[part.faces]
            weight = _share_of_length(points, part.closed) * counts
            total = weight.sum()
            if total < max(criteria.length, np.finfo(np.float64).tiny):
                continue
            confidence = min(float(weight @ self.agrees[part.faces] / total), 1.0)
            if confidence >= criteria.confidence:
                yield VortexLine(
                    _ring(points) if part.closed else points,
                    1,
                    float(weight @ self.depth[part.faces] / total),
                    confidence,
                )


def _deeper(positions: Array, support: Mask, depth: float) -> Mask:
    """Which points ``(n,)`` lie deeper than ``depth`` voxels: the boundary is half a voxel from the centres outside."""
    padded = np.pad(support, 1)
    outside = np.argwhere(binary_dilation(padded) & ~padded) - 1
    nearest, _ = cKDTree(outside).query(positions, distance_upper_bound=depth + 0.5)
    return np.asarray(np.isinf(nearest))


def _trusted(path: Path, positions: Array, counts: Mask, reach: float) -> list[Path]:
    """The parts of ``path`` that go no farther than ``reach`` voxels from a face that ``counts``.

    Flux never ends, so behind the point where it leaves the crystal a line runs on along the surface,
    often into the next line.
    """
    faces = path.faces
    if path.closed:
        first = int(counts[faces].argmin())
        faces = np.roll(faces, -first)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(positions[faces], axis=0), axis=1))])
    near = np.abs(along[:, None] - along[counts[faces]]).min(1) <= reach
    if path.closed and near.all():
        return [replace(path, faces=faces)]
    runs = np.split(np.arange(len(faces)), np.flatnonzero(np.diff(near)) + 1)
    return [Path(faces[run], closed=False) for run in runs if near[run[0]]]


def _smoothed(points: Array, closed: bool) -> Array:
    for _ in range(SMOOTHING):
        sides = np.roll(points, 1, 0) + np.roll(points, -1, 0)
        mean = points / 2 + sides / 4
        if not closed:
            mean[[0, -1]] = points[[0, -1]]
        points = mean
    return points


def _ring(points: Array) -> Array:
    """A closed line's points with the first repeated."""
    return np.concatenate([points, points[:1]])


def _share_of_length(points: Array, closed: bool) -> Array:
    """Length ``(n,)`` that belongs to each point: half of the way to either neighbour."""
    ahead = np.linalg.norm(np.roll(points, -1, 0) - points, axis=1)
    if not closed:
        ahead[-1] = 0
    return np.asarray((ahead + np.roll(ahead, 1)) / 2)


def _merged(lines: list[VortexLine], distance: float) -> list[VortexLine]:
    """``lines`` in voxels, longest first, with those that accompany a longer one added to it."""
    rest, merged = list(lines), []
    while rest:
        longest, *others = rest
        bundle = [longest, *(line for line in others if distance > 0 and _accompanies(line, longest, distance))]
        merged.append(_bundled(bundle))
        rest = [line for line in others if all(line is not member for member in bundle)]
    return merged


def _accompanies(line: VortexLine, longest: VortexLine, distance: float) -> bool:
    """Whether both lie within ``distance`` over most of their length and run in one sense."""
    gaps = cdist(line.points, longest.points)
    side_by_side = (np.median(gaps.min(0)) <= distance) and (np.median(gaps.min(1)) <= distance)
    along, other = np.gradient(line.points, axis=0), np.gradient(longest.points, axis=0)[gaps.argmin(1)]
    return bool(side_by_side and (along * other).sum() > 0)


def _bundled(lines: list[VortexLine]) -> VortexLine:
    """The line midway between all ``lines``, along the first of them."""
    axis = lines[0]
    if len(lines) == 1:
        return axis
    beside = [line.points[cdist(axis.points, line.points).argmin(1)] for line in lines]
    # Lines of one bundle twine about each other: their nearest points do not advance evenly.
    middle = np.mean(beside, 0)
    weights = [line.length for line in lines]
    return VortexLine(
        _ring(_smoothed(middle[:-1], closed=True)) if axis.is_closed else _smoothed(middle, closed=False),
        sum(line.winding for line in lines),
        float(np.average([line.amplitude_depth for line in lines], weights=weights)),
        float(np.average([line.confidence for line in lines], weights=weights)),
    )


def _placed(line: VortexLine, shift: NDArray[np.int64], voxel: Array) -> VortexLine:
    points = (line.points + shift) @ voxel
    # Winding is an axial vector: in left-handed voxel axes it points the other way.
    return replace(line, points=points if np.linalg.det(voxel) > 0 else points[::-1])


def _checked(density: Tensor, support: Tensor, voxel: ArrayLike | None) -> Array:
    """The voxel vectors, once all inputs are what they must be."""
    if density.ndim != 3 or not density.is_complex() or min(density.shape) < 2:
        raise ValueError(
            f"density must be complex (x, y, z), 2 voxels or more each, got {density.dtype} {tuple(density.shape)}"
        )
    if not bool(torch.isfinite(density).all()):
        raise ValueError("density must be finite, got NaN or infinity")
    if support.dtype != torch.bool or support.shape != density.shape:
        raise ValueError(
            f"support must be bool of shape {tuple(density.shape)}, got {support.dtype} {tuple(support.shape)}"
        )
    if not bool(support.any()):
        raise ValueError("support must hold at least one voxel, got none")
    rows = np.eye(3) if voxel is None else np.asarray(voxel, np.float64)
    if rows.shape != (3, 3) or not np.isfinite(rows).all() or abs(np.linalg.det(rows)) < 1e-9 * np.abs(rows).max() ** 3:
        raise ValueError(f"voxel must be three independent vectors (3, 3) in Å, got {rows.tolist()}")
    return rows
