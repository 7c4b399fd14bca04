"""A Fourier neural operator (Li et al., ICLR 2021): each layer multiplies a few modes by learned matrices.

A layer's transform takes reciprocal-space features to real space and back, so that the network may work in both.
"""

import torch
from torch import Tensor, nn

from cdi.fourier import SPATIAL, centre_crop
from models.config import NetworkConfig
from models.layers import ResidualBlock, space_to_depth
from models.preprocess import GEOMETRY_FEATURES, INPUT_CHANNELS


class SpectralLayer(nn.Module):
    """``x + f(W x + F⁻¹ R F x)`` with R on the lowest ``modes`` of each axis."""

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.randn(4, modes, modes, modes, channels, channels, 2) / channels / modes)
        self.point = nn.Conv3d(channels, channels, 1)
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, x, y, z)`` to the same shape."""
        spectrum = torch.fft.rfftn(x, dim=SPATIAL)
        kept = [min(self.modes, n // 2) for n in x.shape[-3:]]
        out = torch.zeros_like(spectrum)
        low_high = (slice(0, kept[0]), slice(-kept[0], None)), (slice(0, kept[1]), slice(-kept[1], None))
        weight = torch.view_as_complex(self.weight)[:, : kept[0], : kept[1], : kept[2]]
        for corner, (i, j) in enumerate((i, j) for i in low_high[0] for j in low_high[1]):
            part = spectrum[..., i, j, : kept[2]]
            out[..., i, j, : kept[2]] = torch.einsum("ncxyz,xyzcd->ndxyz", part, weight[corner])
        spectral = torch.fft.irfftn(out, s=x.shape[-3:], dim=SPATIAL)
        change: Tensor = nn.functional.silu(self.norm(self.point(x) + spectral))
        return x + change


class Fourier(nn.Module):
    """``layers`` spectral layers of ``width`` channels on the central half's grid."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.lift = nn.Conv3d(8 * INPUT_CHANNELS + 2, width, 3, padding=1)
        self.geometry = nn.Sequential(nn.Linear(GEOMETRY_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.Sequential(*(SpectralLayer(width, config.modes) for _ in range(config.layers)))
        self.out = nn.Sequential(ResidualBlock(width), nn.GroupNorm(8, width), nn.SiLU())

    def forward(self, x: Tensor, geometry: Tensor) -> Tensor:
        """Features ``(n, width, x/2, y/2, z/2)``."""
        autocorrelation = centre_crop(x[:, 2:4], self.config.output_shape)
        lifted = self.lift(torch.cat([space_to_depth(x), autocorrelation], 1))
        features: Tensor = self.out(self.layers(lifted + self.geometry(geometry)[:, :, None, None, None]))
        return features
