"""First and second derivatives of a displacement field by automatic differentiation."""

from collections.abc import Callable

import torch
from torch import Tensor


def gradient(field: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """∂u_i/∂r_j ``(n, 3, d)`` at ``points`` (n, d), in the graph of derivatives."""
    points = points if points.requires_grad else points.detach().requires_grad_()
    # Each point displaces itself alone: the gradient of the sum holds the derivatives of all.
    rows = [torch.autograd.grad(u.sum(), points, create_graph=True)[0] for u in field(points).unbind(-1)]
    return torch.stack(rows, 1)


def hessian(field: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """∂²u_i/∂r_j∂r_k ``(n, 3, d, d)`` at ``points`` (n, d)."""
    points = points.detach().requires_grad_()
    rows = gradient(field, points).flatten(1).unbind(-1)
    second = [torch.autograd.grad(row.sum(), points, retain_graph=True, allow_unused=True)[0] for row in rows]
    filled = [torch.zeros_like(points) if part is None else part for part in second]
    return torch.stack(filled, 1).reshape(len(points), 3, points.shape[1], points.shape[1]).detach()
