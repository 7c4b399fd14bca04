"""Pixels that count what is no photon of the crystal, found in the frames themselves, and the level of the background.

An oversampled pattern cannot vary from one pixel to the next as they do: its speckles are two pixels wide or more.
Free of torch.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Volume = NDArray[np.float32]

SIGNIFICANCE = 8.0
"""Standard deviations of counting by which a bad voxel exceeds what its neighbours allow: none in 10⁷ by chance."""
DARK_SHARE = 0.2
"""The share of frames, the darkest of a pixel, in which it is judged hot: there the crystal scatters elsewhere."""
STEEPEST = 3.0
"""Times the largest face neighbour that a voxel of a pattern with an oversampling of 2 may reach: 2.5 for a plate."""
BLOCK = 8
FAINTEST = 0.1
"""The share of blocks, the faintest, whose mean is the background."""


def hot_pixels(counts: Volume) -> Mask:
    """Pixels ``(rows, columns)`` that go on counting while the crystal is dark; at most pairs of neighbours."""
    dark = np.quantile(counts, DARK_SHARE, axis=0, method="higher")
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    # The second largest neighbour: a pair of hot pixels does not hide itself.
    around = ndimage.rank_filter(dark, rank=-2, footprint=ring, mode="nearest")
    return np.asarray(dark > STEEPEST * around + SIGNIFICANCE * np.sqrt(STEEPEST * around + 1))


def zingers(counts: Volume) -> Mask:
    """Single voxels ``(frames, rows, columns)`` far above their six neighbours: cosmic rays, electronic spikes."""
    faces = ndimage.generate_binary_structure(3, 1)
    faces[1, 1, 1] = False
    around = ndimage.maximum_filter(counts, footprint=faces, mode="nearest")
    return np.asarray(counts > STEEPEST * around + SIGNIFICANCE * np.sqrt(STEEPEST * around + 1))


def background_level(counts: Volume, usable: Mask | None = None) -> float:
    """Mean counts a voxel where the pattern is faintest: of the tenth of blocks of 8 × 8 × 8 that hold the least.

    What the crystal itself scatters there counts as background too. Volumes of less than a block count as one.
    """
    sides = [max(n // BLOCK, 1) for n in counts.shape]
    used = tuple(slice(0, n if n < BLOCK else s * BLOCK) for n, s in zip(counts.shape, sides, strict=True))
    good = np.ones(counts.shape, bool) if usable is None else usable
    shape = [m for n, s in zip(counts.shape, sides, strict=True) for m in (s, n if n < BLOCK else BLOCK)]
    photons = np.where(good, counts, 0)[used].reshape(shape).sum(axis=(1, 3, 5), dtype=np.float64)
    voxels = good[used].reshape(shape).sum(axis=(1, 3, 5))
    means = np.sort((photons[voxels > 0] / voxels[voxels > 0]).ravel())
    return float(means[: max(1, int(FAINTEST * len(means)))].mean()) if len(means) else 0.0
