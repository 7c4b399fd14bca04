"""The angular average of a pattern: what a strong, simple classifier of defects sees.

A dislocation hollows out and widens its peak whatever its orientation. The class head reads this
directly instead of learning it anew from few crystals.
"""

import torch
from torch import Tensor

SHELLS = 16
RADIAL_FEATURES = 3 * SHELLS + 3


def radial_profile(x: Tensor) -> Tensor:
    """Profile and widths ``(batch, 51)`` of input features ``x`` ``(batch, 4, x, y, z)``.

    In 16 shells around the centre: log of mean and of standard deviation of I/I_max, and the mean of
    log(1 + I)/log(1 + I_max); then the logs of the principal second moments in voxels², ascending.
    """
    intensity, logarithm = x[:, 0].square().flatten(1), x[:, 1].flatten(1)
    index, shell = _shells(x)
    number = torch.zeros(SHELLS, dtype=x.dtype, device=x.device).index_add(0, shell, torch.ones_like(index[:, 0]))

    def average(values: Tensor) -> Tensor:
        return values.new_zeros(len(values), SHELLS).index_add(1, shell, values) / number.clamp_min(1)

    mean = average(intensity)
    deviation = (average(intensity.square()) - mean.square()).clamp_min(0).sqrt()
    weight = intensity / intensity.sum(1, keepdim=True).clamp_min(1e-12)
    centre = weight @ index
    moment = torch.einsum("bn,ni,nj->bij", weight, index, index) - centre[:, :, None] * centre[:, None]
    widths = eigenvalues(moment.double()).to(x.dtype)
    floor = 1e-7
    return torch.cat(
        [(mean + floor).log(), (deviation + floor).log(), average(logarithm), (widths.clamp_min(0) + 1e-3).log()], 1
    )


def _shells(x: Tensor) -> tuple[Tensor, Tensor]:
    """Index ``(n, 3)`` from the centre and shell ``(n,)`` of every voxel; the last shell holds the corners."""
    size = x.shape[-3:]
    axes = [torch.arange(n, device=x.device, dtype=x.dtype) - n // 2 for n in size]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    radius = torch.stack([index[:, axis] / n for axis, n in enumerate(size)], -1).norm(dim=-1) * 2
    return index, (radius * SHELLS).long().clamp_max(SHELLS - 1)


def eigenvalues(matrix: Tensor) -> Tensor:
    """Those of symmetric matrices ``(batch, 3, 3)``, ascending, in closed form (Smith, Comm. ACM 4, 168, 1961).

    A solver would make the processor wait for the GPU.
    """
    mean = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)
    off = matrix - mean[:, None, None] * torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    size = (off.square().sum((-2, -1)) / 6).sqrt()
    a, b, c = (off / size.clamp_min(1e-300)[:, None, None]).unbind(-2)
    half = (torch.linalg.cross(a, b) * c).sum(-1) / 2
    angle = half.clamp(-1, 1).acos() / 3
    turns = torch.stack([angle + 2 * torch.pi / 3, angle - 2 * torch.pi / 3, angle], -1)
    return mean[:, None] + 2 * size[:, None] * turns.cos()
