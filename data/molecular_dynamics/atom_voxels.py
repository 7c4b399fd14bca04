"""Support, phase and displacement on voxels, from the atoms themselves. Free of torch.

Each atom counts where its lattice site is, as in the Bragg object s(R) exp(iG·u(R)). A voxel's kernel is its own
box with soft edges, a third of a voxel wide, so that no plane of atoms falls in or out as a whole. The
support is the share of the kernel's sites that hold an atom: 1 inside whatever the voxel's size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice

Array = NDArray[np.float64]

PARTS = 3
"""Soft edges are one part of this many of a voxel wide; odd, so that a part has the voxel's centre."""


@dataclass(frozen=True, eq=False)
class DisplacedSites:
    """Atoms as displaced lattice sites, laboratory frame, in Å.

    Parameters
    ----------
    sites : (n, 3)
        Lattice sites that hold an atom.
    displacement : (n, 3)
        From the site to its atom.
    empty : (m, 3)
        Lattice sites around the crystal that hold none, to a voxel or two beyond its surface.
    """

    sites: Array
    displacement: Array
    empty: Array


@dataclass(frozen=True, eq=False)
class VoxelTruth:
    """What voxels hold: ``support`` (x, y, z), ``phases`` of each peak (k, x, y, z) in radians with the ramp of an
    off-centre grid, ``displacement`` (x, y, z, 3) in Å; 0 where the support is."""

    support: Array
    phases: Array
    displacement: Array


def voxel_truth(
    atoms: DisplacedSites, lattice: Lattice, orientation: Array, peaks: Sequence[tuple[Array, QGrid]]
) -> VoxelTruth:
    """The truth of ``atoms`` on the voxels that the grids of ``peaks`` (G (3,), grid) share.

    φ = arg of the kernel's mean of exp(iG·u_j), on the branch of G·u at the atom nearest to the voxel's
    centre, plus (centre − G)·r. The displacement is the mean of what lies nearest to that atom's
    modulo lattice vectors: across a cut u jumps by b, which no phase sees.
    """
    grid = peaks[0][1]
    kernel, filled = _kernel(atoms.sites, grid), np.zeros(int(np.prod(grid.shape)))
    weight = kernel @ np.ones(len(atoms.sites))
    around = _kernel(atoms.empty, grid) @ np.ones(len(atoms.empty)) if len(atoms.empty) else filled
    seen = np.flatnonzero(weight > 0)
    centres = _centres(grid)[seen]
    nearest = atoms.displacement[cKDTree(atoms.sites).query(centres)[1]]
    rows = kernel[seen]
    beside = _mean_difference(rows, atoms.displacement, nearest, lattice, orientation)
    displacement = nearest + beside / weight[seen, None]
    phases = [
        _phase(rows, atoms.displacement @ G, nearest @ G) + centres @ (of_peak.centre - G) for G, of_peak in peaks
    ]
    support = weight[seen] / (weight + around)[seen]
    return VoxelTruth(
        _placed(support, seen, grid), np.stack([_placed(phase, seen, grid) for phase in phases]),
        _placed(displacement, seen, grid),
    )  # fmt: skip


def _kernel(sites: Array, grid: QGrid) -> csr_array:
    """Weight of each site in each voxel's kernel ``(voxels, n)``; sites beyond the grid have none."""
    shape = np.asarray(grid.shape)
    place = PARTS * (sites @ np.linalg.inv(grid.voxel) + shape // 2) + PARTS // 2
    low = np.floor(place).astype(np.int64)
    share = place - low
    entries = []
    for corner in product((0, 1), repeat=3):
        voxel = (low + corner) // PARTS
        weight = np.where(corner, share, 1 - share).prod(1)
        inside = ((voxel >= 0) & (voxel < shape)).all(1) & (weight > 0)
        number = np.ravel_multi_index(tuple(voxel[inside].T), grid.shape)
        entries.append((weight[inside], number, np.flatnonzero(inside)))
    weights, voxels, atoms = (np.concatenate(part) for part in zip(*entries, strict=True))
    return csr_array(coo_array((weights, (voxels, atoms)), shape=(int(np.prod(shape)), len(sites))))


def _phase(rows: csr_array, phase: Array, branch: Array) -> Array:
    """Phase of the kernel's mean of exp(i ``phase``), within π of ``branch``."""
    return np.asarray(branch + np.angle((rows @ np.exp(1j * phase)) * np.exp(-1j * branch)))


def _mean_difference(rows: csr_array, displacement: Array, nearest: Array, lattice: Lattice, turn: Array) -> Array:
    """Weighted sum over each kernel of u_j − u_nearest, each the shortest modulo lattice vectors."""
    entries = rows.tocoo()
    voxel, atom = entries.coords
    fractions = lattice.fractions((displacement[atom] - nearest[voxel]) @ turn)
    choices = fractions[None] - lattice.translations[:, None]
    choices = lattice.direction(choices - np.round(choices))
    shortest = choices[np.linalg.norm(choices, axis=-1).argmin(0), np.arange(len(atom))]
    weighted = entries.data[:, None] * (shortest @ turn.T)
    return np.stack([np.bincount(voxel, weighted[:, axis], rows.shape[0]) for axis in range(3)], 1)


def _centres(grid: QGrid) -> Array:
    """Centres ``(voxels, 3)`` in Å."""
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in grid.shape), indexing="ij"), -1)
    return np.asarray((index @ grid.voxel).reshape(-1, 3))


def _placed(values: Array, seen: NDArray[np.int64], grid: QGrid) -> Array:
    volume = np.zeros((int(np.prod(grid.shape)), *values.shape[1:]))
    volume[seen] = values
    return volume.reshape(*grid.shape, *values.shape[1:])
