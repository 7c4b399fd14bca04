"""Scattering of other crystals in the field of view, found as cohere finds it. Free of torch.

``AutoAlien1`` of cohere (Pelzer & Harder; AdvancedPhotonSource): voxels above a threshold form clusters by DBSCAN
(Ester, Kriegel, Sander & Xu, KDD 1996), and a cluster that is small beside the largest, and lacks its mirror image
about the brightest voxel, is an alien: a crystal's own pattern is nearly centrosymmetric.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class AlienConfig:
    """When a cluster is an alien; cohere's names and defaults.

    Parameters
    ----------
    threshold : counts below it belong to no cluster (``AA1_amp_threshold``).
    size : clusters larger than this share of the largest one stay (``AA1_size_threshold``).
    asymmetry : mean of |I(q) − I(−q)| over the mean of both, 0 to 2, above which one goes (``AA1_asym_threshold``).
    least_neighbours : voxels above the threshold among a voxel and its six neighbours that make it a core of a
        cluster (``AA1_min_pts``).

    Raises
    ------
    ValueError
        For a value out of its range.
    """

    threshold: float = 6.0
    size: float = 0.01
    asymmetry: float = 1.75
    least_neighbours: int = 5

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueError(f"threshold must be positive, got {self.threshold}")
        if not 0 <= self.size <= 1:
            raise ValueError(f"size must lie in [0, 1], got {self.size}")
        if not 0 <= self.asymmetry <= 2:
            raise ValueError(f"asymmetry must lie in [0, 2], got {self.asymmetry}")
        if not 1 <= self.least_neighbours <= 7:
            raise ValueError(f"least_neighbours must lie in [1, 7], got {self.least_neighbours}")


def aliens(counts: NDArray[np.float32], config: AlienConfig) -> Mask:
    """Voxels of ``counts`` (x, y, z) that belong to aliens.

    Only voxels whose mirror image lies within the volume are asked for it; a cluster without any stays. (cohere cuts
    away whatever has no mirror image, clusters or not.)
    """
    found = counts >= config.threshold
    bright = np.where(found, counts, 0)
    mirrored, judged = _mirror_image(bright)
    asymmetry = np.abs(bright - mirrored) / np.maximum((bright + mirrored) / 2, 1e-30)
    labels, number = clusters(found, config.least_neighbours)
    every = np.arange(1, number + 1)
    sizes = np.asarray(ndimage.sum_labels(found, labels, every))
    seen = np.asarray(ndimage.sum_labels(judged, labels, every))
    means = np.asarray(ndimage.sum_labels(asymmetry * judged, labels, every)) / np.maximum(seen, 1)
    alien = (sizes < config.size * sizes.max(initial=0)) & (means > config.asymmetry)
    return np.asarray(np.append(False, alien)[labels])


def clusters(found: Mask, least_neighbours: int) -> tuple[NDArray[np.int64], int]:
    """DBSCAN of voxels with a reach of one step along an axis: labels from 1 (0: in no cluster), and their number.

    A voxel with ``least_neighbours`` of its kind among itself and its six neighbours is a core; cores that touch are
    one cluster; others that touch cores belong to the first of their clusters.
    """
    cross = ndimage.generate_binary_structure(3, 1)
    around = ndimage.convolve(found.astype(np.int8), cross.astype(np.int8), mode="constant")
    cores = found & (around >= least_neighbours)
    labels, number = ndimage.label(cores, cross)
    beside = ndimage.minimum_filter(
        np.where(cores, labels, number + 1), footprint=cross, mode="constant", cval=number + 1
    )
    edge = np.where(beside <= number, beside, 0)
    return np.where(found & ~cores, edge, labels).astype(np.int64), int(number)


def _mirror_image(counts: NDArray[np.float32]) -> tuple[NDArray[np.float32], Mask]:
    """``counts`` inverted about its brightest voxel, and where that image lies within the volume."""
    peak = np.unravel_index(int(counts.argmax()), counts.shape)
    half = [min(int(p), n - 1 - int(p)) for p, n in zip(peak, counts.shape, strict=True)]
    box = tuple(slice(int(p) - h, int(p) + h + 1) for p, h in zip(peak, half, strict=True))
    mirrored, judged = np.zeros_like(counts), np.zeros(counts.shape, bool)
    mirrored[box], judged[box] = counts[box][::-1, ::-1, ::-1], True
    return mirrored, judged
