"""How a predicted line density lies with respect to G: what the character of a line shows in.

A screw with g·b ≠ 0 runs along b and so at a small angle to G; an edge runs across b.
"""

import torch
from torch import Tensor

LINE_SHAPE_FEATURES = 6


def line_shape(density: Tensor, geometry: Tensor) -> Tensor:
    """Angle to G, spread, amount and slenderness of ``density`` ``(batch, 6)``.

    ``density`` ``(batch, x, y, z)`` in [0, 1] on voxels whose metric is in ``geometry`` ``(batch, 10)``
    (``models.preprocess.geometry``). With M the second moment of density² about its mean in
    space: Ĝᵀ M Ĝ / tr M, tr M, the amount, cos² of the angle between M's principal axis and G,
    and the two smaller principal moments over the largest. All but the amount are 0 where the
    geometry is unknown.
    """
    axes = [torch.arange(n, device=density.device, dtype=density.dtype) - n // 2 for n in density.shape[-3:]]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    weight = density.flatten(1).square()
    total = weight.sum(1, keepdim=True) + 1e-6
    weight = weight / total
    mean = weight @ index
    moment = torch.einsum("bn,ni,nj->bij", weight, index, index) - mean[:, :, None] * mean[:, None]
    metric = _metric(geometry)
    direction = geometry[:, :3]
    lowered = torch.einsum("bij,bj->bi", metric, direction)
    along = torch.einsum("bi,bij,bj->b", lowered, moment, lowered)
    length = torch.einsum("bi,bi->b", lowered, direction)
    spread = torch.einsum("bij,bij->b", metric, moment)
    angles = torch.stack([along / (length * spread).clamp_min(1e-6), spread, total[:, 0] / 30], -1)
    return torch.cat([angles, _principal(moment, metric, direction) * geometry[:, 9:]], -1)


def _principal(moment: Tensor, metric: Tensor, direction: Tensor) -> Tensor:
    """cos² of principal axis and ``direction``, and the ratios of the smaller moments ``(batch, 3)``."""
    identity = torch.eye(3, device=moment.device, dtype=torch.float64)
    # Rows of the Cholesky factor are the voxel vectors, in a frame of their own.
    frame = torch.linalg.cholesky_ex(metric.double() + 1e-6 * identity).L
    # NaN must come out as NaN of the whole answer, which the predictor reports, and not as an error of eigh.
    values, axes = torch.linalg.eigh(torch.nan_to_num(frame.mT @ moment.double() @ frame) + 1e-9 * identity)
    towards = (frame.mT @ direction.double()[:, :, None])[:, :, 0]
    cosine = (axes[:, :, 2] * towards).sum(-1).square() / towards.square().sum(-1).clamp_min(1e-12)
    return torch.stack([cosine, values[:, 1] / values[:, 2], values[:, 0] / values[:, 2]], -1).to(moment.dtype)


def _metric(geometry: Tensor) -> Tensor:
    """Gram matrix of the voxel vectors over its trace ``(batch, 3, 3)`` from its upper triangle."""
    row, column = torch.triu_indices(3, 3)
    metric = geometry.new_zeros(len(geometry), 3, 3)
    metric[:, row, column] = geometry[:, 3:9]
    metric[:, column, row] = geometry[:, 3:9]
    return metric
