"""Reflections of one crystal brought over each other, while their runs go on (origins at index 0) or afterwards.

Each pattern by itself leaves translation and twin open, and reflections that share a support must choose the same.
"""

import torch
from torch import Tensor

from cdi.fourier import SPATIAL

COHERENT_SHARE = 0.1
"""Of the coherent overlap beside the moduli's correlation, in the choice of a finished object's twin."""
TWIN_GAIN = 1.01
"""How much better the twin must overlap before a run is inverted: centrosymmetric shapes must not flicker."""


def gather_reflections(smooth: Tensor, density: Tensor, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three volumes (reflections, starts, x, y, z) moved by whole voxels, and inverted where that fits better.

    Every reflection is laid over the first one of its start, by the correlation of the blurred moduli ``smooth``.
    Where the shape has an inversion centre the moduli cannot tell the twin: it stays open from one reflection to
    the next.
    """
    shape = tuple(smooth.shape[-3:])
    spectrum = torch.fft.rfftn(smooth, dim=SPATIAL)
    # Σ_n a(n + δ) b(n), and the same with b inverted, whose spectrum is the conjugate.
    straight = torch.fft.irfftn(spectrum[:1] * spectrum.conj(), s=shape, dim=SPATIAL).flatten(-3).max(-1)
    turned = torch.fft.irfftn(spectrum[:1] * spectrum, s=shape, dim=SPATIAL).flatten(-3).max(-1)
    inverted = (turned.values > TWIN_GAIN * straight.values).tolist()
    places = torch.where(turned.values > TWIN_GAIN * straight.values, turned.indices, straight.indices).tolist()
    rows: list[list[Tensor]] = [[], [], []]
    for reflection in range(1, smooth.shape[0]):
        for start in range(smooth.shape[1]):
            place = places[reflection][start]
            shift = (place // (shape[1] * shape[2]), place // shape[2] % shape[1], place % shape[2])
            for row, volume in zip(rows, (smooth, density, projected), strict=True):
                row.append(_moved(volume[reflection, start], shift, inverted=inverted[reflection][start]))
    first, second, third = (
        torch.cat([volume[:1], torch.stack(row).reshape(-1, *volume.shape[1:])]) if row else volume
        for row, volume in zip(rows, (smooth, density, projected), strict=True)
    )
    return first, second, third


Placed = tuple[Tensor, Tensor]
"""A density and its support."""


def lay_over(density: Tensor, support: Tensor, reference: Tensor) -> tuple[Placed, Placed]:
    """A finished object ``(x, y, z)`` of another reflection over ``reference``: both twins, the likelier first.

    Each twin is moved by whole voxels, as the correlation of the moduli says. That, and the coherent overlap beside it,
    say which is likelier: the phases of two reflections differ, but resemble each other more in the right twin. Any
    origin.
    """
    shape = tuple(reference.shape)
    first = reference.abs() - reference.abs().mean()
    spectrum = torch.fft.rfftn(first)
    found = []
    for inverted in (False, True):
        turned = _moved(density, (0, 0, 0), inverted=inverted)
        centred = turned.abs() - turned.abs().mean()
        correlation = torch.fft.irfftn(spectrum * torch.fft.rfftn(centred).conj(), s=shape)
        place = int(correlation.argmax())
        shift = (place // (shape[1] * shape[2]), place // shape[2] % shape[1], place % shape[2])
        moved = _moved(turned, shift, inverted=False)
        coherent = (moved.conj() * reference).sum().abs() / (moved.norm() * reference.norm()).clamp_min(1e-12)
        height = correlation.max() / (first.norm() * centred.norm()).clamp_min(1e-12)
        inside = _moved(_moved(support, (0, 0, 0), inverted=inverted), shift, inverted=False)
        found.append((float(height + COHERENT_SHARE * coherent), (moved, inside)))
    likelier, other = sorted(found, key=lambda one: -one[0])
    return likelier[1], other[1]


def _moved(volume: Tensor, shift: tuple[int, int, int], *, inverted: bool) -> Tensor:
    if inverted:
        flipped = torch.roll(volume.flip(SPATIAL), (1, 1, 1), SPATIAL)
        volume = torch.conj_physical(flipped) if volume.is_complex() else flipped
    return torch.roll(volume, shift, SPATIAL)
