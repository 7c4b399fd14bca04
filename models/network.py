"""``DefectNet``: one exposure → class, line density, support and displacement phase.

The answer lives in real space, the input in reciprocal space: every output voxel depends on
every input voxel. Convolutions reduce the pattern to 8³ tokens (of 32³ voxels), a transformer
mixes them globally, convolutions expand them to the central half of the real-space grid, where
the autocorrelation (real space as well) joins in. The direction of G and the voxels' metric join
the tokens, and the angle between the predicted lines and G joins the class: it is what tells a
screw from an edge where g·b ≠ 0. So does the angular average of the pattern.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cdi.fourier import centre_crop
from models.config import NetworkConfig
from models.line_shape import LINE_SHAPE_FEATURES, line_shape
from models.prediction import CLASSES
from models.preprocess import GEOMETRY_FEATURES
from models.radial import RADIAL_FEATURES, radial_profile

INPUT_CHANNELS = 4
OUTPUT_CHANNELS = 4


@dataclass(frozen=True)
class NetworkOutput:
    """Raw outputs, ``(batch, …)``; volumes cover the central half of the grid.

    Parameters
    ----------
    class_logits : (batch, classes)
    line_logits, support_logits : (batch, x, y, z)
    phasor : (batch, x, y, z) complex
        Estimate of exp(iφ), φ = G·u, up to a global phase; its modulus falls where unsure.
    """

    class_logits: Tensor
    line_logits: Tensor
    support_logits: Tensor
    phasor: Tensor


class ResidualBlock(nn.Module):
    """Two 3³ convolutions around a skip connection, normalised before each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv3d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv3d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, x, y, z)`` to the same shape."""
        change: Tensor = self.body(x)
        return x + change


class DefectNet(nn.Module):
    """See the module's docstring; ``forward`` takes ``features`` and ``geometry`` of ``models.preprocess``."""

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
        self.volume_head = nn.Conv3d(width, OUTPUT_CHANNELS, 1)
        with torch.no_grad():  # start from "no line, little crystal": both fill a small part of the volume
            self.volume_head.bias.copy_(torch.tensor([-4.0, -2.0, 0.0, 0.0]))  # type: ignore[union-attr]
        seen = 2 * dim + GEOMETRY_FEATURES + LINE_SHAPE_FEATURES + RADIAL_FEATURES
        self.classifier = nn.Sequential(
            nn.BatchNorm1d(seen), nn.Linear(seen, 128), nn.SiLU(), nn.Dropout(0.3), nn.Linear(128, len(CLASSES))
        )

    def forward(self, x: Tensor, geometry: Tensor) -> NetworkOutput:
        """Outputs for input features ``(batch, 4, x, y, z)`` and ``geometry`` ``(batch, 10)``."""
        seen, line, support, phasor = self.trunk(x, geometry)
        return NetworkOutput(self.classifier(seen).float(), line, support, phasor)

    def trunk(self, x: Tensor, geometry: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the classifier reads ``(batch, features)``, and the volumes of ``NetworkOutput``."""
        tokens = self.stem(space_to_depth(x))
        grid = tokens.shape[-3:]
        tokens = tokens.flatten(2).transpose(1, 2) + self.position + self.geometry(geometry)[:, None]
        mixed = self.mixer(tokens)
        volume = self.expand(mixed.transpose(1, 2).unflatten(2, grid))
        autocorrelation = centre_crop(x[:, 2:4], self.config.output_shape)
        volume = self.volume_head(self.decoder(self.merge(torch.cat([volume, autocorrelation], 1))))
        line, support, real, imaginary = volume.float().unbind(1)
        # The lines are found for their own sake: the class reads their direction and does not bend them.
        shape = line_shape(line.detach().sigmoid(), geometry)
        seen = torch.cat([mixed.mean(1), mixed.amax(1), geometry, shape, radial_profile(x)], -1)
        return seen, line, support, torch.complex(real, imaginary)


def space_to_depth(x: Tensor) -> Tensor:
    """``(b, c, 2x, 2y, 2z)`` → ``(b, 8c, x, y, z)``: no information lost, 1/8 of the voxels."""
    batch, channels, *size = x.shape
    x = x.reshape(batch, channels, size[0] // 2, 2, size[1] // 2, 2, size[2] // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, 8 * channels, size[0] // 2, size[1] // 2, size[2] // 2)
