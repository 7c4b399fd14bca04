"""The reader: from retrieved objects of a set of reflections to features of the crystal in real space.

A U-Net (Çiçek et al., MICCAI 2016) on the central half: here input and answer live on the same voxels, so that what
it must learn is local. Its reflections hear each other at every level and stay as many as there are.
"""

import torch
from torch import Tensor, nn

from models.layers import Exchange, ResidualBlock
from models.preprocess import GEOMETRY_FEATURES
from models.windings import residue_field

READER_CHANNELS = 10
RESIDUES = slice(3, 6)
"""Channels of the reader's input that hold the residues of the retrieved phase."""


class Reader(nn.Module):
    """Features of n = batch · reflections objects, by ``depth`` residual blocks at each level.

    A deeper reader begins as the one of depth 1 whose weights it is given: further blocks are the identity at first.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        middle, coarse = 2 * width, 3 * width
        self.fine = nn.Sequential(nn.Conv3d(READER_CHANNELS, width, 3, padding=1), *_blocks(width, depth))
        self.share_fine = Exchange(width)
        self.middle = nn.Sequential(nn.Conv3d(width, middle, 2, stride=2), *_blocks(middle, depth))
        self.share_middle = Exchange(middle)
        self.coarse = nn.Sequential(nn.Conv3d(middle, coarse, 2, stride=2), *_blocks(coarse, depth))
        self.share_coarse = Exchange(coarse)
        self.geometry = nn.Sequential(nn.Linear(GEOMETRY_FEATURES, coarse), nn.SiLU(), nn.Linear(coarse, coarse))
        self.mix = ResidualBlock(coarse)
        self.up_middle = nn.ConvTranspose3d(coarse, middle, 2, stride=2)
        self.merge_middle = nn.Sequential(nn.Conv3d(2 * middle, middle, 1), *_blocks(middle, depth))
        self.up_fine = nn.ConvTranspose3d(middle, width, 2, stride=2)
        self.merge_fine = nn.Sequential(nn.Conv3d(2 * width, width, 1), *_blocks(width, depth))
        self.out = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU())

    def forward(self, x: Tensor, geometry: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(n, width, x, y, z)``, and the coarsest ones ``(n, 3 · width, x/4, y/4, z/4)``.

        ``x`` of ``reader_input``, ``geometry`` (n, 10), ``present`` (batch, reflections).
        """
        fine = self.share_fine(self.fine(x), present)
        middle = self.share_middle(self.middle(fine), present)
        coarse = self.coarse(middle) + self.geometry(geometry)[:, :, None, None, None]
        coarse = self.mix(self.share_coarse(coarse, present))
        middle = self.merge_middle(torch.cat([self.up_middle(coarse), middle], 1))
        merged: Tensor = self.out(self.merge_fine(torch.cat([self.up_fine(middle), fine], 1)))
        return merged, coarse


def _blocks(channels: int, depth: int) -> list[ResidualBlock]:
    return [ResidualBlock(channels, silent=number > 0) for number in range(depth)]


def reader_input(density: Tensor, line: Tensor, support: Tensor, phasor: Tensor) -> Tensor:
    """Channels ``(n, 10, x, y, z)`` of retrieved ``density`` and of the proposal's answers, each ``(n, x, y, z)``.

    Modulus, cosine and sine of the retrieved phase; its residues (3); the proposal's line and support probability,
    and its phasor (2) with the same global phase.
    """
    modulus = density.abs()
    unit = density / modulus.clamp_min(1e-6)
    offset = (phasor.conj() * density).sum((-3, -2, -1), keepdim=True)
    turned = phasor * torch.polar(torch.ones_like(offset.abs()), offset.angle())
    own = torch.stack([modulus.clamp_max(4), unit.real, unit.imag], 1)
    proposed = torch.stack([line, support, turned.real, turned.imag], 1)
    return torch.cat([own, residue_field(density), proposed], 1)
