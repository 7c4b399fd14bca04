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


class Hidden(nn.Sequential):
    """What class and count are decided from: numbers that tell of a crystal, and an ``overview`` of it beside them.

    The overview says nothing at first: a network without one goes on as it was.
    """

    def __init__(self, seen: int, overview: int, told: int) -> None:
        super().__init__(nn.BatchNorm1d(seen), nn.Linear(seen, told), nn.SiLU())
        self.seen = seen
        self.overview: nn.Sequential | None = None
        if overview:
            last = nn.Linear(told, told)
            _silence(last)
            self.overview = nn.Sequential(nn.BatchNorm1d(overview), nn.Linear(overview, told), nn.SiLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, told)`` of ``(batch, seen + overview)``."""
        hidden: Tensor = self[2](self[1](self[0](x[:, : self.seen])))
        return hidden if self.overview is None else hidden + self.overview(x[:, self.seen :])


def mean_and_maximum(x: Tensor) -> Tensor:
    """Over space, ``(batch, 2 · channels)`` of ``(batch, channels, x, y, z)``."""
    return torch.cat([x.mean((2, 3, 4)), x.amax((2, 3, 4))], -1)


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
