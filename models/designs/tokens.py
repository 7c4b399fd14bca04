"""A transformer over patches: convolutions down to tokens, global attention, convolutions up.

The answer lives in real space, the input in reciprocal space: every output voxel depends on every input voxel.
Convolutions reduce the pattern to 8³ tokens (of 32³ voxels), a transformer mixes them globally (Vaswani et al.,
NeurIPS 2017), convolutions expand them to the central half of the real-space grid, where the autocorrelation (real
space as well) joins in. The direction of G and the voxels' metric join the tokens.
"""

import torch
from torch import Tensor, nn

from cdi.fourier import centre_crop
from models.config import NetworkConfig
from models.layers import ResidualBlock, space_to_depth
from models.preprocess import GEOMETRY_FEATURES, INPUT_CHANNELS


class Tokens(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, dim = config.width, config.token_dim
        self.stem = nn.Sequential(
            nn.Conv3d(8 * INPUT_CHANNELS, width, 3, padding=1),
            ResidualBlock(width),
            nn.Conv3d(width, dim, 2, stride=2),
            ResidualBlock(dim),
        )
        tokens = config.shape[0] * config.shape[1] * config.shape[2] // 64
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, dim))
        self.geometry = nn.Sequential(nn.Linear(GEOMETRY_FEATURES, dim), nn.SiLU(), nn.Linear(dim, dim))
        layer = nn.TransformerEncoderLayer(
            dim, config.heads, 2 * dim, config.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.mixer = nn.TransformerEncoder(layer, config.layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.expand = nn.ConvTranspose3d(dim, width, 2, stride=2)
        self.merge = nn.Conv3d(width + 2, width, 3, padding=1)
        self.decoder = nn.Sequential(ResidualBlock(width), ResidualBlock(width), nn.GroupNorm(8, width), nn.SiLU())

    def forward(self, x: Tensor, geometry: Tensor) -> Tensor:
        """Features ``(n, width, x/2, y/2, z/2)``."""
        tokens = self.stem(space_to_depth(x))
        grid = tokens.shape[-3:]
        tokens = tokens.flatten(2).transpose(1, 2) + self.position + self.geometry(geometry)[:, None]
        # In evaluation torch's fused layer answers in rows; a compiled one believes that it keeps the input's strides.
        volume = self.expand(self.mixer(tokens.contiguous()).transpose(1, 2).unflatten(2, grid))
        autocorrelation = centre_crop(x[:, 2:4], self.config.output_shape)
        decoded: Tensor = self.decoder(self.merge(torch.cat([volume, autocorrelation], 1)))
        return decoded
