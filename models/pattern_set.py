"""What a network reads: a batch of crystals, each measured in a set of reflections."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class PatternSet:
    """Exposures of a batch of crystals; the reflections of one crystal share their voxels, in any order.

    Parameters
    ----------
    counts : (batch, reflections, x, y, z)
        Photons, centred (``models.preprocess.fit_to_grid``); 0 where not measured.
    measured : (batch, reflections, x, y, z) bool
    present : (batch, reflections) bool
        False for a place that is only filled up, its counts being 0: crystals of a batch may differ in number.
    G : (batch, reflections, 3)
        Scattering vectors in Å⁻¹, laboratory frame; 0 where the geometry is unknown.
    voxel : (batch, 3, 3)
        Real-space voxel vectors in Å, row i along axis i; 0 where the geometry is unknown.
    """

    counts: Tensor
    measured: Tensor
    present: Tensor
    G: Tensor
    voxel: Tensor

    def to(self, device: torch.device | str) -> "PatternSet":
        """The same on another device."""
        return PatternSet(*(getattr(self, f.name).to(device) for f in fields(self)))

    def crystal(self, number: int) -> "PatternSet":
        """One of the batch."""
        return PatternSet(*(getattr(self, f.name)[number : number + 1] for f in fields(self)))

    def repeated(self, times: int) -> "PatternSet":
        """The batch so many times over."""
        return PatternSet(*(torch.cat([getattr(self, f.name)] * times) for f in fields(self)))

    def reflections(self, chosen: Tensor) -> "PatternSet":
        """The set with the reflections ``chosen`` (n,) alone, in that order."""
        return PatternSet(
            self.counts[:, chosen], self.measured[:, chosen], self.present[:, chosen], self.G[:, chosen], self.voxel
        )

    @property
    def known(self) -> Tensor:
        """Where the geometry is known ``(batch,)`` bool."""
        return self.voxel.flatten(1).any(1)


def geometry(patterns: PatternSet) -> Tensor:
    """How the voxels lie with respect to each reflection ``(batch, reflections, 10)``.

    The direction of G in units of the real-space voxels (3, unit length), the Gram matrix of the voxel vectors over
    its trace (6), and 1; all zeros where the geometry is unknown. A screw with g·b ≠ 0 lies at a fixed angle to G,
    an edge at another: from the pattern alone, without G, neither is told from the other.
    """
    known = patterns.known
    eye = torch.eye(3, dtype=torch.float64, device=known.device)
    voxel = torch.where(known[:, None, None], patterns.voxel.double(), eye)
    direction = torch.einsum("brj,bji->bri", patterns.G.double(), torch.linalg.inv(voxel))
    direction = direction / direction.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    gram = voxel @ voxel.mT
    row, column = torch.triu_indices(3, 3)
    upper = gram[:, row, column] / gram.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    shared = torch.cat([upper, torch.ones_like(upper[:, :1])], -1)
    every = torch.cat([direction, shared[:, None].expand(-1, patterns.G.shape[1], -1)], -1)
    return (every * known[:, None, None]).to(patterns.counts.dtype)
