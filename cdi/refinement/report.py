"""A refinement in plain numbers: what ``cdi refine --json`` prints. Lengths in Å where the voxels are known."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.refinement.faceted_outline import FacetedOutline
from cdi.refinement.hypotheses import Difference
from cdi.refinement.refinement import Judged, RefinedLine, Refinement
from cdi.shapes.shape import as_array

Array = NDArray[np.float64]


def to_json(found: Refinement, voxel: ArrayLike | None = None) -> dict[str, Any]:
    """The stable object; ``voxel`` (3, 3) in Å, None leaves lengths in voxels."""
    rows = np.eye(3) if voxel is None else np.asarray(voxel, np.float64)
    return {
        "unit": "voxel" if voxel is None else "angstrom",
        "best": found.best.hypothesis.name,
        "whole": found.whole,
        "defect_probability": None if np.isnan(found.defect_probability) else round(found.defect_probability, 4),
        "no_dislocation": None if found.no_line is None else _hypothesis(found.no_line),
        "lines": [_line(line, rows) for line in found.lines],
        "hypotheses": [_hypothesis(judged) for judged in found.judged],
        "starts": [{"start": name, "free_deviance": round(value, 4)} for name, value in found.starts],
        "object": {
            "kind": found.object_kind,
            "free_deviance": round(found.object_fit.free_deviance, 4),
            "blur_voxels": found.object_fit.widths.numpy().round(3).tolist(),
        },
        "outline": None if found.outline is None else _outline(found.outline),
    }


def line_points(line: RefinedLine, voxel: Array) -> Array:
    """``(n, 3)`` in Å, in the sense about which phase winds right-handed; a closed line repeats its first point."""
    corners = as_array(line.corners)
    if line.closed:
        corners = np.concatenate([corners, corners[:1]])
    # Winding is an axial vector: in left-handed voxel axes it points the other way.
    points = corners @ voxel
    return np.asarray(points if np.linalg.det(voxel) > 0 else points[::-1])


def _line(line: RefinedLine, voxel: Array) -> dict[str, Any]:
    size = float(abs(np.linalg.det(voxel)) ** (1 / 3))
    return {
        "points": line_points(line, voxel).round(2).tolist(),
        "closed": line.closed,
        "windings": list(line.windings),
        "standard_error": None if np.isnan(line.error) else round(line.error * size, 4),
        "without_it": None if line.without is None else _difference(line.without),
        "confidence": None if line.without is None else round(line.without.probability, 4),
    }


def _outline(outline: FacetedOutline) -> dict[str, Any]:
    rows = zip(outline.normals, outline.distances, outline.errors, strict=True)
    return {
        "faces": [
            {"normal": normal.round(4).tolist(), "distance": round(distance, 3), "standard_error": round(error, 4)}
            for normal, distance, error in ((n, float(d), float(e)) for n, d, e in rows)
        ],
        "softness": round(outline.softness, 3),
        "free_deviance": round(outline.fitted.free_deviance, 4),
        **_difference(outline.difference),
    }


def _hypothesis(judged: Judged) -> dict[str, Any]:
    return {
        "hypothesis": judged.hypothesis.name,
        "lines": len(judged.hypothesis.lines),
        "windings": [list(line.windings) for line in judged.hypothesis.lines],
        "free_deviance": round(judged.fitted.free_deviance, 4),
        "deviance": round(judged.fitted.deviance, 4),
        **_difference(judged.difference),
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "difference": round(difference.value, 2),
        "standard_error_of_difference": round(difference.error, 2),
        "rejected": difference.rejects,
    }
