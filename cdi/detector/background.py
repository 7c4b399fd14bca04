"""Photons that do not come from the crystal: background, air scatter, stray reflections.

All are expected photons, added before counting. Pixel coordinates run along rows and columns of the
window; background and air scatter are the same in every frame, since the detector rests.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.requirements import require, require_positive, require_within


@dataclass(frozen=True)
class Background:
    """Flat and slowly varying background with air scatter.

    Parameters
    ----------
    flat : photons per voxel at the middle of the window.
    tilt : relative change of ``flat`` from the middle to the last row, and to the last column.
    air : photons per voxel of air scatter at the middle of the window.
    air_length_pixels : distance over which air scatter falls by e.
    air_direction_deg : direction away from the direct beam, from the rows' axis toward the columns'.

    Raises
    ------
    ValueError
        For negative photons, a tilt that would make them so, or a length that is not positive.
    """

    flat: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)
    air: float = 0.0
    air_length_pixels: float = 100.0
    air_direction_deg: float = 0.0

    def __post_init__(self) -> None:
        require_within(self, 0, float("inf"), "flat", "air")
        require(abs(self.tilt[0]) + abs(self.tilt[1]) <= 1, "tilt", "add up to at most 1 in modulus", self.tilt)
        require_positive(self, "air_length_pixels")
        require_within(self, -360, 360, "air_direction_deg")


@dataclass(frozen=True)
class Alien:
    """Stray ("alien") spots or streaks, at random places of the volume.

    Parameters
    ----------
    spots : how many.
    relative_peak : brightest voxel of each, relative to the pattern's.
    width_pixels, width_frames : standard deviations across the spot and along the rocking axis.
    elongation : length over width within a frame: 1 a spot, tens a streak.

    Raises
    ------
    ValueError
        For no spots, a width or peak that is not positive, or an elongation below 1.
    """

    spots: int = 1
    relative_peak: float = 0.01
    width_pixels: float = 1.5
    width_frames: float = 1.5
    elongation: float = 1.0

    def __post_init__(self) -> None:
        require(self.spots >= 1, "spots", "be at least 1", self.spots)
        require_positive(self, "relative_peak", "width_pixels", "width_frames")
        require_within(self, 1, float("inf"), "elongation")


def background(shape: tuple[int, int], flat: Tensor | float, tilt: tuple[float, float], like: Tensor) -> Tensor:
    """Expected photons ``(1, rows, columns)`` of a plane that is ``flat`` in the middle of the window.

    ``shape`` is (rows, columns); dtype and device are those of ``like``. Differentiable in ``flat``.
    """
    rows, columns = (torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) for n in shape)
    return (flat * (1 + tilt[0] * rows[:, None] + tilt[1] * columns))[None]


def air_scatter(
    shape: tuple[int, int], level: Tensor | float, *, length: float, direction: float, like: Tensor
) -> Tensor:
    """Expected photons ``(1, rows, columns)`` that fall as exp(−s/length) away from the direct beam.

    s is the distance in pixels along ``direction`` (rad, from rows toward columns), 0 in the middle
    of the window, where ``level`` photons are expected. Differentiable in ``level``.
    """
    rows, columns = _from_middle(shape, like)
    angle = torch.as_tensor(direction, dtype=like.dtype, device=like.device)
    along = torch.cos(angle) * rows[:, None] + torch.sin(angle) * columns
    return (level * torch.exp(-along / length))[None]


def alien(shape: tuple[int, int, int], centres: Tensor, widths: Tensor, directions: Tensor, peaks: Tensor) -> Tensor:
    """Expected photons ``(..., frames, rows, columns)`` of stray Gaussian spots.

    Parameters
    ----------
    shape : (frames, rows, columns)
    centres : (..., n, 3)
        Positions in voxels from voxel 0.
    widths : (..., n, 3)
        Standard deviations along the rocking axis, along and across the spot, in voxels.
    directions : (..., n)
        Angle of the long axis from rows toward columns, rad.
    peaks : (..., n)
        Photons in the middle of each.
    """
    frames, rows, columns = (torch.arange(n, dtype=centres.dtype, device=centres.device) for n in shape)
    f = (frames - centres[..., 0, None]) / widths[..., 0, None]
    r, c = rows - centres[..., 1, None], columns - centres[..., 2, None]
    cosine, sine = torch.cos(directions)[..., None, None], torch.sin(directions)[..., None, None]
    long = (cosine * r[..., :, None] + sine * c[..., None, :]) / widths[..., 1, None, None]
    short = (cosine * c[..., None, :] - sine * r[..., :, None]) / widths[..., 2, None, None]
    in_frame = peaks[..., None, None] * torch.exp(-(long**2 + short**2) / 2)
    return torch.einsum("...nf,...nrc->...frc", torch.exp(-(f**2) / 2), in_frame)


def random_alien(like: Tensor, settings: Alien, generator: torch.Generator) -> Tensor:
    """``settings.spots`` stray spots ``(..., frames, rows, columns)`` per pattern of ``like``, placed at random.

    Places and directions are uniform; peaks are relative to each pattern's brightest voxel.
    """
    batch, shape = like.shape[:-3], (like.shape[-3], like.shape[-2], like.shape[-1])
    uniform = torch.rand((*batch, settings.spots, 4), dtype=like.dtype, device=like.device, generator=generator)
    size = torch.tensor(shape, dtype=like.dtype, device=like.device)
    across = settings.width_pixels
    widths = like.new_tensor([settings.width_frames, settings.elongation * across, across])
    peaks = settings.relative_peak * like.detach().amax((-3, -2, -1))[..., None]
    return alien(
        shape,
        uniform[..., :3] * (size - 1),
        widths.expand(*batch, settings.spots, 3),
        torch.pi * uniform[..., 3],
        peaks.expand(*batch, settings.spots),
    )


def _from_middle(shape: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
    rows, columns = (torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1) / 2 for n in shape)
    return rows, columns
