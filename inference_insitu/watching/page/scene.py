"""What is drawn of one result: the pattern as slices and bright voxels, the crystal as a surface, lines.

Volumes become a few thousand points and three small pictures, in bytes: whatever the size of the pattern, the browser
gets less than half a megabyte.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_insitu.inference.results import StoredResult

LONGEST_SIDE = 256
"""Pixels of a slice."""
CLOUD_SIDE = 64
CLOUD_POINTS = 3000
SURFACE_POINTS = 5000
MOST_LINES = 200
MOST_LINE_POINTS = 2000
INSIDE = 0.5
"""Support from which on a voxel is in the crystal."""


def scene(result: StoredResult) -> dict[str, Any]:
    """The parts of ``result`` that the page draws."""
    told = result.prediction if isinstance(result.prediction, dict) else {}
    names = ("class_probabilities", "count_probabilities", "undetermined_because", "seconds", "model")
    metric, unit = _voxel(result.voxel)
    return {
        "step": result.step,
        "defect_probability": result.defect_probability,
        "class": result.defect_class,
        "count": result.count,
        "undetermined": result.undetermined,
        **{name: told.get(name) for name in names},
        "pattern": pattern_parts(result.counts, result.q_step),
        "crystal": {"unit": unit, "voxel": metric.tolist(), **surface(result.support, metric)},
        "lines": lines_of(told.get("lines")),
    }


def pattern_parts(counts: NDArray[Any], q_step: NDArray[np.float64]) -> dict[str, Any]:
    """Middle slices of ``counts`` (x, y, z) and its brightest voxels, both as log(1 + counts) in 0 … 255.

    The cloud's points are in Å⁻¹ from the middle of the grid, in voxels where ``q_step`` (3, 3) is not finite; so is
    ``reach``, half of the grid along each of its axes.
    """
    counts = np.nan_to_num(np.asarray(counts, np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    most = float(counts.max(initial=0.0))
    level = np.log1p(counts) * (255 / math.log1p(most) if most > 0 else 0.0)
    slices = {}
    for axis, name in enumerate("xyz"):
        middle = _reduced(np.take(level, level.shape[axis] // 2, axis), LONGEST_SIDE)
        slices[name] = {"shape": list(middle.shape), "levels": _bytes(middle.round().astype(np.uint8))}
    reduced = _reduced(level, CLOUD_SIDE)
    brightest = np.sort(np.argsort(reduced, axis=None)[-CLOUD_POINTS:])
    brightest = brightest[reduced.flat[brightest] > 0]
    step, unit = (q_step, "1/Å") if _is_metric(q_step) else (np.eye(3), "voxels")
    reach = np.linalg.norm(step, axis=1) * np.array(counts.shape) / 2
    ratio = np.array(level.shape) / np.array(reduced.shape)
    places = _from_middle(np.stack(np.unravel_index(brightest, reduced.shape), axis=1) * ratio, level.shape) @ step
    return {
        "shape": list(counts.shape),
        "most": most,
        "photons": float(counts.sum(dtype=np.float64)),
        "slices": slices,
        "unit": unit,
        "reach": reach.tolist(),
        "points": _bytes(places.astype("<f4")),
        "levels": _bytes(reduced.flat[brightest].round().astype(np.uint8)),
    }


def surface(support: NDArray[Any], voxel: NDArray[np.float64]) -> dict[str, bytes]:
    """Voxels on the surface of ``support`` (x, y, z), in the unit of ``voxel`` (3, 3), with normals outwards."""
    density = np.nan_to_num(np.asarray(support, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    inside = np.pad(density > INSIDE, 1)
    core = inside.copy()
    for axis in range(3):
        core &= np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
    places = np.argwhere((inside & ~core)[1:-1, 1:-1, 1:-1])
    if len(places) > SURFACE_POINTS:
        places = places[np.sort(np.random.default_rng(0).choice(len(places), SURFACE_POINTS, replace=False))]
    padded = np.pad(density, 1)
    slopes = [(np.roll(padded, 1, axis) - np.roll(padded, -1, axis))[1:-1, 1:-1, 1:-1] for axis in range(3)]
    # A slope per voxel along each axis becomes one per unit of length by the inverse of the voxel's vectors.
    normals = np.stack([slope[tuple(places.T)] for slope in slopes], axis=1) @ np.linalg.inv(voxel).T
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals / np.where(length > 0, length, 1.0)
    points = _from_middle(places, density.shape) @ voxel
    return {"points": _bytes(points.astype("<f4")), "normals": _bytes((127 * normals).round().astype(np.int8))}


def lines_of(told: Any) -> list[dict[str, Any]]:
    """Lines of a stored prediction whose points are finite numbers, at most ``MOST_LINES``."""
    found = []
    for line in told[:MOST_LINES] if isinstance(told, list) else ():
        try:
            points = np.asarray(line["points_A"], np.float64)[:MOST_LINE_POINTS]
        except (ValueError, KeyError, TypeError, IndexError, OverflowError):
            continue
        if points.ndim == 2 and points.shape[1] == 3 and len(points) > 1 and bool(np.isfinite(points).all()):
            found.append({"points": points.tolist(), **{name: line.get(name) for name in _SAID_OF_LINES}})
    return found


_SAID_OF_LINES = ("burgers", "confidence", "windings", "candidates")


def _voxel(voxel: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Voxel vectors and their unit; the identity stands for an unknown geometry."""
    if not _is_metric(voxel) or np.array_equal(voxel, np.eye(3)):
        return np.eye(3), "voxels"
    return np.asarray(voxel, np.float64), "Å"


def _is_metric(vectors: NDArray[np.float64]) -> bool:
    """Whether ``vectors`` are three that span space."""
    if vectors.shape != (3, 3) or not bool(np.isfinite(vectors).all()):
        return False
    return abs(float(np.linalg.det(vectors))) > 1e-9 * float(np.abs(vectors).max()) ** 3 > 0


def _reduced(values: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    """``values`` with blocks of voxels as their greatest one, so that no side is longer than ``longest``."""
    for axis in range(values.ndim):
        factor = -(-values.shape[axis] // longest)
        if factor > 1:
            starts = np.arange(0, values.shape[axis], factor)
            values = np.maximum.reduceat(values, starts, axis=axis)
    return values


def _from_middle(places: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    middle = np.array(shape, np.float64) // 2
    return np.asarray(places, np.float64) - middle


def _bytes(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values).tobytes()
