"""Residues of a complex volume: the plaquettes of its grid that phase winds about.

A plaquette is the square of four neighbouring voxel centres with its normal along axis a, run through
right-handed about +a. The sum of the four phase steps, each wrapped into half a turn, is a whole
number of turns: its residue (Nye & Berry, Proc. R. Soc. A 336, 165, 1974; on grids Goldstein, Zebker &
Werner, Radio Sci. 23, 713, 1988). Every edge of a cell belongs to two of its faces, in opposite senses: what
enters a cell through its faces also leaves it, so residues are the flux of lines without ends.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Index = NDArray[np.int64]

CIRCUIT = np.stack(np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij"), -1).reshape(-1, 2)
"""The plaquettes (9, 2) that a circuit one voxel wider on all sides encloses."""


def residues(density: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Residues, −1, 0 or 1, of the plaquettes normal to x, y and z, int8, of a complex ``density`` (..., x, y, z).

    Shapes ``(..., x, y−1, z−1)``, ``(..., x−1, y, z−1)`` and ``(..., x−1, y−1, z)``. A step of half a turn
    counts in the sense that the stored phases differ. Four wrapped steps that return to their start never sum to two
    turns: a line of winding 2 shows as two residues side by side.
    """
    turns = density.angle() / (2 * torch.pi)
    # Steps along an edge sum to 0 around a plaquette; what wrapping took off is left, in whole numbers.
    taken_off = [torch.round(torch.diff(turns, dim=axis)).to(torch.int8) for axis in (-3, -2, -1)]
    normal_x, normal_y, normal_z = (
        torch.diff(taken_off[b], dim=c - 3) - torch.diff(taken_off[c], dim=b - 3) for b, c in ((1, 2), (2, 0), (0, 1))
    )
    return normal_x, normal_y, normal_z


@dataclass(frozen=True, eq=False)
class Crossings:
    """Plaquettes that lines of winding pierce, n of them.

    Parameters
    ----------
    axis : (n,)
        Of the normal, 0 to 2.
    corner : (n, 3)
        The corner of lowest index.
    sign : (n,)
        Residue: +1 where the line runs along +axis, −1 against it.
    circuit : (n,)
        Winding, in the sense of the line, on the circuit one voxel wider on all sides.
    """

    axis: Index
    corner: Index
    sign: Index
    circuit: Index

    @property
    def cells(self) -> tuple[Index, Index]:
        """The cells ``(n, 3)`` that the line leaves and enters, by their corner of lowest index."""
        below = self.corner - np.eye(3, dtype=np.int64)[self.axis]
        forward = self.sign[:, None] > 0
        return np.where(forward, below, self.corner), np.where(forward, self.corner, below)

    def at_corners(self, volume: NDArray[np.generic]) -> NDArray[np.generic]:
        """``volume`` (x, y, z) at the corners ``(n, 4)`` in the order of the right-handed circuit."""
        b, c = np.eye(3, dtype=np.int64)[(self.axis + 1) % 3], np.eye(3, dtype=np.int64)[(self.axis + 2) % 3]
        corners = self.corner[:, None] + np.stack([0 * b, b, b + c, c], 1)
        return np.asarray(volume[tuple(np.moveaxis(corners, -1, 0))])

    def positions(self, density: NDArray[np.complex128]) -> Array:
        """Zeros ``(n, 3)`` of ``density``, bilinear within each plaquette, in voxels from the first voxel."""
        along_b, along_c = _bilinear_zero(self.at_corners(density).astype(np.complex128)).T
        unit = np.eye(3)
        return np.asarray(
            self.corner + along_b[:, None] * unit[(self.axis + 1) % 3] + along_c[:, None] * unit[(self.axis + 2) % 3]
        )


def crossings(density: Tensor, support: Tensor) -> Crossings:
    """The plaquettes with a residue whose corners all lie in ``support`` (x, y, z) bool; circuits count these alone."""
    found = []
    for axis, residue in enumerate(residues(density)):
        inside = support
        for other in {0, 1, 2} - {axis}:
            low, high = (
                inside.narrow(other, 0, inside.shape[other] - 1),
                inside.narrow(other, 1, inside.shape[other] - 1),
            )
            inside = low & high
        flux = (residue * inside).cpu().numpy()
        corner = np.argwhere(flux).astype(np.int64)
        sign = flux[tuple(corner.T)].astype(np.int64)
        found.append((np.full(len(corner), axis), corner, sign, sign * _enclosed(flux, corner, axis)))
    return Crossings(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _enclosed(flux: NDArray[np.int8], corner: Index, axis: int) -> Index:
    """Sum ``(n,)`` of the residues that a circuit one voxel wider around each of the plaquettes encloses."""
    offsets = np.insert(CIRCUIT, axis, 0, 1)
    places = corner[:, None] + offsets + 1
    return np.asarray(np.pad(flux, 1)[tuple(np.moveaxis(places, -1, 0))].sum(1, dtype=np.int64))


def _bilinear_zero(values: NDArray[np.complex128]) -> Array:
    """(s, t) ``(n, 2)`` in the unit square where the bilinear field with these corner ``values`` (n, 4) is 0.

    f = a + b s + c t + d s t. With t = −(a + b s)/(c + d s) real, Im[(a + b s) conj(c + d s)] = 0 is
    quadratic in s. On the boundary f winds once about 0, so one of the roots lies within.
    """
    first, second, third, fourth = values.T
    a, b, c, d = first, second - first, fourth - first, first - second + third - fourth
    p, q, r = (b * d.conj()).imag, (a * d.conj() + b * c.conj()).imag, (a * c.conj()).imag
    # The stable form: −2r/(q ± √) keeps its meaning where p vanishes.
    big = q + np.where(q >= 0, 1, -1) * np.sqrt(np.maximum(q * q - 4 * p * r, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        s = np.clip(np.nan_to_num(np.stack([-2 * r / big, -big / (2 * p)])), 0, 1)
        numerator, denominator = a + b * s, c + d * s
        t = np.clip(np.nan_to_num(-(numerator * denominator.conj()).real / np.abs(denominator) ** 2), 0, 1)
    best = np.abs(a + b * s + c * t + d * s * t).argmin(0)
    rows = np.arange(len(best))
    return np.stack([s[best, rows], t[best, rows]], 1)
