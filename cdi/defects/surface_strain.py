"""Strain of the surface layer that fades inwards, as ligands, oxides or surface stress cause it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.defects.defect import Defect
from cdi.shapes.ball import Ball
from cdi.shapes.polyhedron import Polyhedron
from cdi.shapes.shape import Shape, as_parameter


@dataclass(frozen=True, eq=False)
class SurfaceStrain(Defect):
    """Strain ``strain`` · exp(−d/depth) along the surface's normal, d Å below it.

    The displacement is its integral from within, u = ``strain`` · depth · exp(−d/depth) along the
    outward normal: a sum over the facets of a polyhedron, radial in a ball
    (u = strain · depth · sinh(r/depth)/cosh(R/depth)), along the gradient of the signed distance in
    any other shape. Outside of the shape u stays as at the surface.

    Parameters
    ----------
    shape : Shape
    strain : float
        At the surface; positive stretches the layer, negative presses it inwards.
    depth : float
        In Å.

    Raises
    ------
    ValueError
        If ``strain`` is not a finite number or ``depth`` not a positive one.
    """

    shape: Shape
    strain: Tensor
    depth: Tensor

    kind = "surface strain"

    def __post_init__(self) -> None:
        for name in ("strain", "depth"):
            value = as_parameter(getattr(self, name))
            if value.shape != () or not bool(torch.isfinite(value)):
                raise ValueError(f"{name} must be a finite number, got {value.tolist()}")
            object.__setattr__(self, name, value)
        if not float(self.depth.detach()) > 0:
            raise ValueError(f"depth must be positive in Å, got {float(self.depth.detach())}")

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        depth = self.depth.to(points)
        if isinstance(self.shape, Polyhedron):
            outward = _facets(self.shape, points, depth)
        elif isinstance(self.shape, Ball):
            outward = _radial(self.shape, points, depth)
        else:
            outward = _along_gradient(self.shape, points, depth)
        return self.strain.to(points) * depth * outward


def _facets(shape: Polyhedron, points: Tensor, depth: Tensor) -> Tensor:
    """Σ n exp(−d/depth) ``(..., 3)`` over the facets."""
    normals = shape.normals.to(points)
    above = (points @ normals.T - shape.distances.to(points)).clamp(max=0)
    return torch.exp(above / depth) @ normals


def _radial(shape: Ball, points: Tensor, depth: Tensor) -> Tensor:
    """r̂ sinh(r/depth)/cosh(R/depth) ``(..., 3)``: smooth at the centre."""
    radius = shape.radius.to(points)
    # A distance of 0 has no gradient; the ratio has reached its limit there.
    away = torch.linalg.vector_norm(points, dim=-1, keepdim=True).clamp(min=1e-6)
    within = torch.minimum(away, radius)
    growth = -torch.exp((within - radius) / depth) * torch.expm1(-2 * within / depth)
    outward: Tensor = growth / (1 + torch.exp(-2 * radius / depth)) * points / away
    return outward


def _along_gradient(shape: Shape, points: Tensor, depth: Tensor) -> Tensor:
    """Outward direction times exp(−d/depth) ``(..., 3)``."""
    outward = shape.gradient(points)
    fading = torch.exp(shape.signed_distance(points).clamp(max=0) / depth)
    along: Tensor = fading[..., None] * torch.nn.functional.normalize(outward, dim=-1)
    return along
