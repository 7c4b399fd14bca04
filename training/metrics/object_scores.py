"""Support, phase and strain of a prediction that is already in the truth's frame. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from training.metrics.joint_group import align
from training.metrics.polylines import along
from training.metrics.volumes import CrystalObject, Line, grid_points, wrapped

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CORE = 2.0
"""Voxels around a true line that count as its core, where continuum fields end."""


@dataclass(frozen=True)
class ObjectScore:
    """Score of an object.

    Parameters
    ----------
    dice : float
        Of the supports, in [0, 1].
    phase_error : float
        ⟨|Δφ|⟩ in radians over the true support, mean over the reflections.
    twinned : bool
        Whether the twin was closer.
    strain_error : float
        ⟨|Δε_GG|⟩ outside the cores, mean over the reflections; NaN where it was not asked for.
    """

    dice: float
    phase_error: float
    twinned: bool
    strain_error: float = float("nan")


def object_score(support: ArrayLike, phase: ArrayLike, true_support: ArrayLike, true_phase: ArrayLike) -> ObjectScore:
    """Dice and phase error of a support ``(x, y, z)`` and phases ``([r,] x, y, z)``, best over the joint group.

    Raises
    ------
    ValueError
        If the shapes are wrong.
    """
    predicted, true = _object(support, phase), _object(true_support, true_phase)
    alignment = align(predicted, true)
    aligned = alignment.volumes(predicted)
    return ObjectScore(dice(aligned, true), float(np.mean(phase_errors(aligned, true))), alignment.twinned)


def dice(aligned: CrystalObject, true: CrystalObject) -> float:
    """2 |A ∩ B| / (|A| + |B|) of the voxels inside (Dice, Ecology 26, 297, 1945)."""
    total = aligned.inside.sum() + true.inside.sum()
    return float(2 * (aligned.inside & true.inside).sum() / total) if total else float("nan")


def phase_errors(aligned: CrystalObject, true: CrystalObject) -> Array:
    """⟨|Δφ|⟩ ``(reflections,)`` in radians, on the circle, over the true support."""
    return _means(np.abs(wrapped(aligned.phase - true.phase)), true.inside)


def strain_errors(aligned: CrystalObject, true: CrystalObject, G: Array, voxel: Array, core: Mask) -> Array:
    """⟨|Δε_GG|⟩ ``(reflections,)``, ε_GG = (G/|G|²)·∇φ, where a voxel and its six neighbours are inside.

    The gradient is central, by wrapped differences of neighbours, and of the difference of the phases: what wraps in
    both alike is no error, and the ramp of an off-centre peak cancels. ``G`` (reflections, 3) in Å⁻¹, ``voxel`` (3, 3)
    in Å, ``core`` (x, y, z) is left out.
    """
    difference = aligned.phase - true.phase
    per_voxel = np.stack([_central(difference, axis) for axis in (1, 2, 3)], -1)
    along_G = np.einsum("rk,rxyzk->rxyz", G / (G**2).sum(1, keepdims=True) @ np.linalg.inv(voxel), per_voxel)
    return _means(np.abs(along_G), _interior(true.inside) & ~core)


def core_of(lines: Sequence[Line], shape: tuple[int, ...], voxel: Array) -> Mask:
    """Voxels ``(x, y, z)`` within ``CORE`` voxels of a line, visible or not."""
    if not lines:
        return np.zeros(shape, bool)
    corners = np.concatenate([along(line.points @ np.linalg.inv(voxel)) for line in lines])
    return np.asarray(KDTree(corners).query(grid_points(shape), distance_upper_bound=2 * CORE)[0] <= CORE)


def _object(support: ArrayLike, phase: ArrayLike) -> CrystalObject:
    phases = np.asarray(phase, np.float64)
    return CrystalObject(np.asarray(support, np.float64), phases[None] if phases.ndim == 3 else phases)


def _central(phase: Array, axis: int) -> Array:
    """Change per voxel along ``axis``; both ends of the axis are not to be used."""
    forward = wrapped(np.roll(phase, -1, axis) - phase)
    return (forward + np.roll(forward, 1, axis)) / 2


def _interior(inside: Mask) -> Mask:
    """Voxels whose six neighbours are inside and on the grid."""
    padded = np.pad(inside, 1)
    steps = [np.roll(padded, by, axis) for axis in range(3) for by in (1, -1)]
    return np.asarray(np.logical_and.reduce([padded, *steps])[1:-1, 1:-1, 1:-1])


def _means(volumes: Array, where: Mask) -> Array:
    return volumes[:, where].mean(1) if where.any() else np.full(len(volumes), np.nan)
