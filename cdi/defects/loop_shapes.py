"""Loops by their geometry: circles, loops on a slip system, and curved lines that cross the crystal."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cdi.defects.defect import Array
from cdi.defects.dislocation_loop import GLIDES, DislocationLoop
from cdi.defects.medium import ON_PLANE
from cdi.defects.stacking_fault import keeps_neighbours, layer_gap
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SlipSystem
from cdi.shapes.shape import as_array, as_parameter


def circular_loop(
    centre: ArrayLike | Tensor,
    radius: float | Tensor,
    normal: ArrayLike,
    burgers: ArrayLike | Tensor,
    *,
    poisson_ratio: float,
    sides: int = 24,
) -> DislocationLoop:
    """A regular polygon with its corners on a circle, right-handed about ``normal`` (3,), of any length.

    ``centre`` and ``burgers`` (3,) and ``radius`` in Å.

    Raises
    ------
    ValueError
        If the radius is not positive, there are fewer than 3 sides or the normal is zero.
    """
    if not float(as_array(radius)) > 0:
        raise ValueError(f"radius must be positive in Å, got {float(as_array(radius))}")
    if sides < 3:
        raise ValueError(f"sides must be at least 3, got {sides}")
    axis = _unit_normal(normal)
    first = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    first /= np.linalg.norm(first)
    angle = 2 * np.pi * np.arange(sides)[:, None] / sides
    ring = np.cos(angle) * first + np.sin(angle) * np.cross(axis, first)
    corners = as_parameter(centre) + as_parameter(radius) * as_parameter(ring)
    return DislocationLoop(corners, as_parameter(burgers), poisson_ratio)


def loop_on(
    lattice: Lattice,
    system: SlipSystem,
    *,
    centre: Array,
    radius: float,
    orientation: Array,
    sides: int = 24,
) -> DislocationLoop:
    """A circular loop on a plane of the lattice, right-handed about the plane's normal, laboratory frame.

    ``centre`` (3,) and ``radius`` in Å, laboratory frame; the plane is moved to the middle of the next
    gap between layers. A partial loop holds a stacking fault. With b in the plane (Shockley) it must
    be the intrinsic one: of the two senses of b one is refused. With b out of the plane (Frank,
    prismatic) a layer of atoms is missing inside.

    Raises
    ------
    ValueError
        If b opens the loop (interstitial: atoms that the perfect crystal lacks), or a partial one
        lays layers atop of each other.
    """
    slip = lattice.direction(system.burgers)
    middle, faulted = np.asarray(centre, np.float64), not lattice.is_lattice_vector(system.burgers)
    up, level = layer_gap(lattice, system.normal, orientation.T @ middle, narrowest=faulted)
    out_of_plane = float(slip @ up) / float(np.linalg.norm(slip))
    if out_of_plane < -GLIDES:
        raise ValueError(
            f"burgers must not open the loop (interstitials are no lattice sites), got {system.burgers} on "
            f"{system.normal}; the opposite sense is the vacancy loop"
        )
    if faulted and out_of_plane < GLIDES and not keeps_neighbours(lattice, up, level, -slip):
        raise ValueError(
            f"burgers must leave an intrinsic fault inside, {system.burgers} on {system.normal} lays layers "
            "atop of each other; the opposite sense does not"
        )
    middle = middle + orientation @ up * (level - up @ orientation.T @ middle)
    loop = circular_loop(
        middle, radius, orientation @ up, orientation @ slip, poisson_ratio=lattice.poisson_ratio, sides=sides
    )
    return replace(loop, faulted=faulted)


def curved_line(
    points: ArrayLike | Tensor, burgers: ArrayLike | Tensor, normal: ArrayLike, *, poisson_ratio: float, far: float
) -> DislocationLoop:
    """A curved line that crosses the crystal within one slip plane, as a loop closed far outside.

    The ends go on straight over the distance ``far``, and the loop closes as far away on the side
    x < 0 (x = n × ξ), where a straight line has its cut as well. The closing path bends the crystal
    by no more than strains of b/(2π far) across it: with ``far`` a hundred times the crystal's size the
    displacement is off by less than a hundredth of b, mostly as a rotation.

    Parameters
    ----------
    points : (n, 3)
        Polyline in Å, laboratory frame, in the sense of the line; its ends outside of the crystal.
    burgers : (3,)
        In Å, laboratory frame.
    normal : (3,)
        Of the slip plane, any length; sites on the plane belong to this side.
    poisson_ratio : float
    far : float
        In Å.

    Raises
    ------
    ValueError
        If the points are fewer than 2, end where they start or leave the plane, the normal is zero, or
        ``far`` does not exceed their span.
    """
    path, up = as_parameter(points), _unit_normal(normal)
    track = as_array(path)
    if track.ndim != 2 or track.shape[1] != 3 or len(track) < 2 or not np.isfinite(track).all():
        raise ValueError(f"points must be finite with shape (n ≥ 2, 3), got shape {track.shape}")
    span = track[-1] - track[0]
    if np.linalg.norm(span) < ON_PLANE:
        raise ValueError("points must not end where they start: that is a loop")
    if np.abs((track - track[0]) @ up).max() > 1e-6 * max(1.0, float(np.linalg.norm(span))):
        raise ValueError(f"points must lie in the slip plane {up.tolist()}")
    if not far > np.linalg.norm(track - track[0], axis=1).max():
        raise ValueError(f"far must exceed the span of the points in Å, got {far}")
    aside = -np.cross(up, span / np.linalg.norm(span))
    start, end = (step / np.linalg.norm(step) for step in (track[0] - track[1], track[-1] - track[-2]))
    last, first = track[-1] + far * end, track[0] + far * start
    closing = as_parameter(np.stack([last, last + far * aside, first + far * aside, first]))
    return DislocationLoop(torch.cat([path, closing]), as_parameter(burgers), poisson_ratio, upper=as_parameter(up))


def _unit_normal(normal: ArrayLike) -> Array:
    axis = np.asarray(normal, np.float64)
    if axis.shape != (3,) or not np.isfinite(axis).all() or not axis.any():
        raise ValueError(f"normal must be 3 finite numbers, not all 0, got {axis.tolist()}")
    return np.asarray(axis / np.linalg.norm(axis))
