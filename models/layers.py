"""Layers that several designs are built of."""

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3³ convolutions around a skip connection, normalised before each; with ``silent`` the identity at first."""

    def __init__(self, channels: int, *, silent: bool = False) -> None:
        super().__init__()
        first, last = (nn.Conv3d(channels, channels, 3, padding=1) for _ in range(2))
        self.body = nn.Sequential(
            nn.GroupNorm(8, channels), nn.SiLU(), first, nn.GroupNorm(8, channels), nn.SiLU(), last
        )  # fmt: skip
        if silent:
            _silence(last)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, x, y, z)`` to the same shape."""
        change: Tensor = self.body(x)
        return x + change


class Exchange(nn.Module):
    """Each reflection of a set hears the mean over all of them (Zaheer et al., NeurIPS 2017); nothing at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv3d(channels, channels, 1)
        _silence(self.mix)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """``(batch · reflections, channels, x, y, z)`` to the same shape; ``present`` (batch, reflections)."""
        mean = over_set(x, present)
        change: Tensor = self.mix(mean)
        return x + change.repeat_interleave(present.shape[1], 0)


class Overview(nn.Module):
    """What a set shows as a whole: mean and maximum over space of its mean over reflections; nothing at first."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        last = nn.Linear(told, told)
        _silence(last)
        self.told = nn.Sequential(nn.BatchNorm1d(2 * channels), nn.Linear(2 * channels, told), nn.SiLU(), last)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """``(batch · reflections, channels, x, y, z)`` to ``(batch, told)``; ``present`` (batch, reflections)."""
        shared = over_set(x, present).float()
        told: Tensor = self.told(torch.cat([shared.mean((2, 3, 4)), shared.amax((2, 3, 4))], -1))
        return told


def _silence(layer: nn.Conv3d | nn.Linear) -> None:
    """Nothing comes out of ``layer`` at first."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


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
