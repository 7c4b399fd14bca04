"""Reflections of one crystal brought over each other, while their runs go on (origins at index 0) or afterwards.

Each pattern by itself leaves translation and twin open, and reflections that share a support must choose the same.
"""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor

from cdi.fourier import SPATIAL

COHERENT_SHARE = 0.5
"""Of the coherent overlap of parallel reflections beside the correlation of their moduli, in the choice of twins."""
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
            shift = _shift(places[reflection][start], shape)
            for row, volume in zip(rows, (smooth, density, projected), strict=True):
                row.append(_moved(volume[reflection, start], shift, inverted=inverted[reflection][start]))
    first, second, third = (
        torch.cat([volume[:1], torch.stack(row).reshape(-1, *volume.shape[1:])]) if row else volume
        for row, volume in zip(rows, (smooth, density, projected), strict=True)
    )
    return first, second, third


Placed = tuple[Tensor, Tensor]
"""A density and its support."""


def one_frame(objects: Sequence[Placed], G: Tensor, reference: int) -> list[Placed]:
    """Finished objects ``(x, y, z)`` of one crystal's reflections, moved and inverted to lie over the ``reference``.

    Each twin of the others is moved by whole voxels, as the correlation of the moduli says. Of all choices of twins
    that counts in which the objects resemble each other most, summed over pairs: their moduli, which are the shape and
    the dark cores of lines, and their phases. For G·u of two reflections at an acute angle is alike in the right twins
    and, at an obtuse one, the other's negative: all that tells them where the shape is centrosymmetric. Any origin.

    Parameters
    ----------
    G : (reflections, 3)
        Scattering vectors of any unit; zeros where they are unknown, and then phases tell nothing.
    """
    density = objects[reference][0]
    both = [
        [one] if number == reference else [_laid_over(*one, density, inverted=inverted) for inverted in (False, True)]
        for number, one in enumerate(objects)
    ]
    unit = G.double() / G.double().norm(dim=-1, keepdim=True).clamp_min(1e-12)
    cosines = (unit @ unit.T).tolist()
    alike = {
        (first, second): [[_likeness(a, b, cosines[first][second]) for b, _ in both[second]] for a, _ in both[first]]
        for first, second in combinations(range(len(objects)), 2)
    }
    twins = max(
        product(*(range(len(one)) for one in both)),
        key=lambda chosen: sum(table[chosen[first]][chosen[second]] for (first, second), table in alike.items()),
    )
    return [one[twin] for one, twin in zip(both, twins, strict=True)]


def _laid_over(density: Tensor, support: Tensor, reference: Tensor, *, inverted: bool) -> Placed:
    """An object or its twin where its modulus correlates with that of ``reference`` best."""
    shape = tuple(reference.shape)
    turned = _moved(density, (0, 0, 0), inverted=inverted)
    spectra = [torch.fft.rfftn(one.abs() - one.abs().mean()) for one in (reference, turned)]
    shift = _shift(int(torch.fft.irfftn(spectra[0] * spectra[1].conj(), s=shape).argmax()), shape)
    inside = _moved(support, (0, 0, 0), inverted=inverted)
    return _moved(turned, shift, inverted=False), _moved(inside, shift, inverted=False)


def _likeness(first: Tensor, second: Tensor, cosine: float) -> float:
    """Of two objects that lie over each other, of reflections whose vectors make an angle of this ``cosine``."""
    moduli = [one.abs() - one.abs().mean() for one in (first, second)]
    correlation = (moduli[0] * moduli[1]).sum() / (moduli[0].norm() * moduli[1].norm()).clamp_min(1e-12)
    overlap = (first * (second.conj() if cosine > 0 else second)).sum().abs()
    coherent = abs(cosine) * overlap / (first.norm() * second.norm()).clamp_min(1e-12)
    return float(correlation + COHERENT_SHARE * coherent)


def _shift(place: int, shape: Sequence[int]) -> tuple[int, int, int]:
    """Of the element that is number ``place`` of a flattened correlation."""
    x, y, z = np.unravel_index(place, shape)
    return int(x), int(y), int(z)


def _moved(volume: Tensor, shift: tuple[int, int, int], *, inverted: bool) -> Tensor:
    if inverted:
        flipped = torch.roll(volume.flip(SPATIAL), (1, 1, 1), SPATIAL)
        volume = torch.conj_physical(flipped) if volume.is_complex() else flipped
    return torch.roll(volume, shift, SPATIAL)
