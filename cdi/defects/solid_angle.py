"""Solid angle of a polygon: what a dislocation loop's displacement jumps with.

The polygon is closed by a fan of triangles from a cap point. The solid angle is positive from the
side on which the corners run counter-clockwise, and falls by 4π from there through the fan.
"""

import torch
from torch import Tensor

from cdi.defects.medium import ON_PLANE


def solid_angle(points: Tensor, polygon: Tensor, *, cap: Tensor | None = None, upper: Tensor | None = None) -> Tensor:
    """Solid angle Ω ``(...)`` in steradians of a closed polygon seen from ``points``.

    Each triangle of the fan gives 2 atan2(N, D) (Van Oosterom & Strackee, IEEE Trans. Biomed.
    Eng. 30, 125, 1983, eq. 8). The sum lies within ±4π and jumps on the fan alone.

    Parameters
    ----------
    points : (..., 3)
        Observers in Å.
    polygon : (n, 3)
        Corners in Å, planar or not; the last is joined to the first.
    cap : (3,)
        Common corner of the fan in Å; by default ``perimeter_centre``, in the plane of a planar polygon.
    upper : (3,)
        Direction of the side to which points on the fan belong; by default ``area_vector``. They are
        seen from ``ON_PLANE`` further up, as is every point: rounding decides nothing.

    Raises
    ------
    ValueError
        If the polygon is not ``(n ≥ 3, 3)``.
    """
    if polygon.ndim != 2 or polygon.shape[1] != 3 or len(polygon) < 3:
        raise ValueError(f"polygon must have shape (n ≥ 3, 3), got {tuple(polygon.shape)}")
    centre = perimeter_centre(polygon) if cap is None else cap
    side = area_vector(polygon) if upper is None else upper
    flat = (lifted(points, side) - centre.to(points)).reshape(-1, 3)
    corners = (polygon - centre).to(points)
    return fan_angle(flat, corners, squared_distances(flat, corners)).reshape(points.shape[:-1])


def lifted(points: Tensor, upper: Tensor) -> Tensor:
    """``points`` (..., 3) moved by ``ON_PLANE`` along ``upper`` (3,): none lies on the surface any more."""
    return points + ON_PLANE * torch.nn.functional.normalize(upper.detach().to(points), dim=0)


def fan_angle(points: Tensor, corners: Tensor, squared: Tensor) -> Tensor:
    """Solid angle ``(m,)`` of the fan from the origin; see ``solid_angle``.

    ``points`` (m, 3) and ``corners`` (n, 3) in Å from the cap, ``squared`` (m, n) their squared
    distances in Å².
    """
    onward = corners.roll(-1, 0)
    numerator = points @ torch.linalg.cross(corners, onward).T
    to_cap = torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    distance = squared.sqrt()
    # Twice the scalar products, by the cosine rule: they cost no vectors.
    between = squared + squared.roll(-1, 1) - (onward - corners).square().sum(-1)
    outward = squared + to_cap**2 - corners.square().sum(-1)
    following = distance.roll(-1, 1)
    denominator = (
        to_cap * (distance * following + between / 2)
        + (outward.roll(-1, 1) * distance + outward * following) / 2
    )  # fmt: skip
    total: Tensor = 2 * torch.atan2(numerator, denominator).sum(-1)
    return total


def squared_distances(points: Tensor, corners: Tensor) -> Tensor:
    """``(m, n)`` in Å² between ``points`` (m, 3) and ``corners`` (n, 3), without cancellation."""
    x, y, z = (points[:, i, None] - corners[:, i] for i in range(3))
    return x * x + y * y + z * z


def perimeter_centre(polygon: Tensor) -> Tensor:
    """Centre of mass ``(3,)`` in Å of the sides: it stays where it is when a side is subdivided."""
    onward = polygon.roll(-1, 0)
    lengths = torch.linalg.vector_norm(onward - polygon, dim=-1, keepdim=True)
    centre: Tensor = (lengths * (polygon + onward) / 2).sum(0) / lengths.sum()
    return centre


def area_vector(polygon: Tensor) -> Tensor:
    """½ ∮ r × dr ``(3,)`` in Å²: area times normal of a planar polygon, right-handed about its corners."""
    corners = polygon - polygon[0]
    vector: Tensor = torch.linalg.cross(corners, corners.roll(-1, 0)).sum(0) / 2
    return vector
