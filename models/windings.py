"""Winding of a phase on a voxel grid: what lines of a retrieved object look like before anyone has learned anything."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class NyeMap:
    """From windings to Nye's dislocation density tensor α = b ⊗ ξ ρ (Acta Metall. 1, 153, 1953), for a batch of sets.

    Parameters
    ----------
    of_winding : (batch, 3, 3, reflections, 3) float32
        The winding densities are J_r = (G_r·b/2π) ξ ρ = G_r·α/2π; this gives the least α in agreement, pinv(G/2π) J,
        in the laboratory frame, voxels counted as 1.
    rank : (batch,) float32
        How many dimensions the G span, of 3.
    known : (batch,) bool
        Whether the geometry is.
    """

    of_winding: Tensor
    rank: Tensor
    known: Tensor


def nye_map(G: Tensor, voxel: Tensor, known: Tensor) -> NyeMap:
    """The map of sets with scattering vectors ``G`` (batch, reflections, 3) and voxels ``voxel`` (batch, 3, 3)."""
    safe = torch.where(known[:, None, None], voxel.double(), torch.eye(3, dtype=torch.float64, device=voxel.device))
    scale = torch.linalg.det(safe).abs().pow(1 / 3)[:, None, None]
    pseudo = torch.linalg.pinv(G.double() / (2 * torch.pi), rtol=1e-3)
    rank = (torch.linalg.svdvals(G.double()) > 1e-3).sum(-1).float() / 3
    return NyeMap(torch.einsum("bir,bkj->bijrk", pseudo, safe / scale).float(), rank, known)


def nye_features(winding: Tensor, nye: NyeMap) -> Tensor:
    """What the dislocation density tensor says of a crystal ``(batch, 6)``, in numbers that no rotation changes.

    ``winding`` ``(batch, reflections, 3, x, y, z)`` in voxels. Features: (tr α)²/|α|², cos² of the angle between b and
    ξ, the mark of a screw; |α − αᵀ|²/|α|², that of an edge; log of the amount; spread of the amount over voxels; how
    many dimensions G spans, of 3; whether the geometry is known.
    """
    alpha = torch.einsum("bijrk,brkxyz->bijxyz", nye.of_winding.to(winding), winding).flatten(3)
    power = alpha.square().sum((1, 2))
    total = power.sum(-1).clamp_min(1e-6)
    trace = alpha.diagonal(dim1=1, dim2=2).sum(-1)
    skew = (alpha - alpha.transpose(1, 2)).square().sum((1, 2, 3)) / total
    spread = power.sum(-1).square() / power.square().sum(-1).clamp_min(1e-12) / power.shape[-1]
    told = [trace.square().sum(-1) / total, skew, total.log() / 10, spread, nye.rank.to(winding)]
    known = nye.known[:, None].to(winding)
    return torch.cat([torch.stack(told, -1) * known, known], -1)
