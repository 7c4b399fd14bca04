"""Winding of a phase on a voxel grid: what lines of a retrieved object look like before anyone has learned anything."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cdi.retrieval.residues import residues


@torch.no_grad()
def residue_field(density: Tensor) -> Tensor:
    """Residues of complex ``density`` ``(n, x, y, z)`` as a vector on its voxels ``(n, 3, x, y, z)``.

    Component a is the mean of the four plaquettes with normal a around the voxel: the flux of phase winding.
    """
    components = []
    for axis, residue in enumerate(residues(density)):
        padding = [0 if 2 - k // 2 == axis else 1 for k in range(6)]
        kernel = [1 if a == axis else 2 for a in range(3)]
        padded = F.pad(residue.to(density.real.dtype), padding)
        components.append(F.avg_pool3d(padded[:, None], kernel, 1)[:, 0])
    return torch.stack(components, 1)


class WindingHead(nn.Module):
    """J = (g·b/2π) ξ ρ of each reflection: the residues of its phase around, weighted by what learns, where lines are.

    Residues are all that tells the sign of a winding, and they are sparse: among other features a network hardly
    finds them.
    """

    def __init__(self, fields: int) -> None:
        super().__init__()
        self.around = nn.Conv3d(3 * fields, 3, 5, padding=2, bias=False)
        nn.init.zeros_(self.around.weight)

    def forward(self, residues: Tensor, line: Tensor) -> Tensor:
        """``(n, 3, x, y, z)`` from residues ``(n, 3 · fields, x, y, z)`` and line density ``(n, x, y, z)``."""
        flux: Tensor = self.around(residues) * line[:, None]
        return flux


NYE_FEATURES = 6


def nye_features(winding: Tensor, G: Tensor, voxel: Tensor, known: Tensor) -> Tensor:
    """What the dislocation density tensor says of a crystal ``(batch, 6)``, in numbers that no rotation changes.

    ``winding`` ``(batch, reflections, 3, x, y, z)`` is J_r = (G_r·b/2π) ξ ρ in voxels. With Nye's tensor α = b ⊗ ξ ρ
    (Acta Metall. 1, 153, 1953), J_r = G_r·α/2π; the least α in agreement is pinv(G/2π) J. Features: (tr α)²/|α|²,
    cos² of the angle between b and ξ, the mark of a screw; |α − αᵀ|²/|α|², that of an edge; log of the amount; spread
    of the amount over voxels; how many dimensions G spans, of 3; whether the geometry is known.
    """
    safe = torch.where(known[:, None, None], voxel.double(), torch.eye(3, dtype=torch.float64, device=voxel.device))
    scale = torch.linalg.det(safe).abs().pow(1 / 3)[:, None, None]
    pseudo = torch.linalg.pinv(G.double() / (2 * torch.pi), rtol=1e-3)
    lab = torch.einsum("brkxyz,bkj->brjxyz", winding, (safe / scale).to(winding))
    alpha = torch.einsum("bir,brjxyz->bijxyz", pseudo.to(winding), lab).flatten(3)
    power = alpha.square().sum((1, 2))
    total = power.sum(-1).clamp_min(1e-6)
    trace = alpha.diagonal(dim1=1, dim2=2).sum(-1)
    skew = (alpha - alpha.transpose(1, 2)).square().sum((1, 2, 3)) / total
    spread = power.sum(-1).square() / power.square().sum(-1).clamp_min(1e-12) / power.shape[-1]
    rank = (torch.linalg.svdvals(G.double()) > 1e-3).sum(-1).to(winding) / 3
    features = torch.stack([trace.square().sum(-1) / total, skew, total.log() / 10, spread, rank], -1)
    return torch.cat([features * known[:, None], known[:, None].to(winding)], -1)
