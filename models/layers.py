"""Layers that several designs are built of."""

from torch import Tensor, nn


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


class Exchange(nn.Module):
    """Each reflection of a set hears the mean over all of them (Zaheer et al., NeurIPS 2017); nothing at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv3d(channels, channels, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """``(batch · reflections, channels, x, y, z)`` to the same shape; ``present`` (batch, reflections)."""
        mean = over_set(x, present)
        change: Tensor = self.mix(mean)
        return x + change.repeat_interleave(present.shape[1], 0)


def over_set(x: Tensor, present: Tensor) -> Tensor:
    """Mean ``(batch, …)`` of ``x`` ``(batch · reflections, …)`` over the reflections that are ``present``."""
    stacked = x.reshape(*present.shape, *x.shape[1:])
    weight = present.to(x.dtype)
    weight = weight / weight.sum(1, keepdim=True).clamp_min(1)
    mean: Tensor = (stacked * weight.reshape(*weight.shape, *[1] * (stacked.dim() - 2))).sum(1)
    return mean


def space_to_depth(x: Tensor) -> Tensor:
    """``(b, c, 2x, 2y, 2z)`` → ``(b, 8c, x, y, z)``: no information lost, 1/8 of the voxels."""
    batch, channels, *size = x.shape
    x = x.reshape(batch, channels, size[0] // 2, 2, size[1] // 2, 2, size[2] // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, 8 * channels, size[0] // 2, size[1] // 2, size[2] // 2)
