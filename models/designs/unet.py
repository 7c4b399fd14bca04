"""A 3D U-Net (Çiçek et al., MICCAI 2016) from the pattern to real space.

Its skip connections carry reciprocal-space features to real-space voxels of the same index, which have no more to do
with them than others have: what the coarsest level mixes is all that is global.
"""

import torch
from torch import Tensor, nn

from cdi.fourier import centre_crop
from models.config import NetworkConfig
from models.layers import ResidualBlock, space_to_depth
from models.preprocess import GEOMETRY_FEATURES, INPUT_CHANNELS


class UNet(nn.Module):
    """Levels of ``width``, twice and four times as many channels."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.width, 2 * config.width, 4 * config.width
        self.fine = nn.Sequential(nn.Conv3d(8 * INPUT_CHANNELS + 2, fine, 3, padding=1), ResidualBlock(fine))
        self.middle = nn.Sequential(nn.Conv3d(fine, middle, 2, stride=2), ResidualBlock(middle))
        self.coarse = nn.Sequential(
            nn.Conv3d(middle, coarse, 2, stride=2), ResidualBlock(coarse), ResidualBlock(coarse)
        )
        self.geometry = nn.Sequential(nn.Linear(GEOMETRY_FEATURES, coarse), nn.SiLU(), nn.Linear(coarse, coarse))
        self.up_middle = nn.ConvTranspose3d(coarse, middle, 2, stride=2)
        self.merge_middle = nn.Sequential(nn.Conv3d(2 * middle, middle, 3, padding=1), ResidualBlock(middle))
        self.up_fine = nn.ConvTranspose3d(middle, fine, 2, stride=2)
        self.merge_fine = nn.Sequential(nn.Conv3d(2 * fine, fine, 3, padding=1), ResidualBlock(fine))
        self.out = nn.Sequential(nn.GroupNorm(8, fine), nn.SiLU())

    def forward(self, x: Tensor, geometry: Tensor) -> Tensor:
        """Features ``(n, width, x/2, y/2, z/2)``."""
        autocorrelation = centre_crop(x[:, 2:4], self.config.output_shape)
        fine = self.fine(torch.cat([space_to_depth(x), autocorrelation], 1))
        middle = self.middle(fine)
        coarse = self.coarse(middle) + self.geometry(geometry)[:, :, None, None, None]
        middle = self.merge_middle(torch.cat([self.up_middle(coarse), middle], 1))
        merged: Tensor = self.out(self.merge_fine(torch.cat([self.up_fine(middle), fine], 1)))
        return merged
