"""Objects without symmetry, straight vortices at any angle, and their patterns, on uneven voxels."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdi.fourier import amplitude_from_object, centre_pad
from models.pattern_set import PatternSet

Array = NDArray[np.float64]

HALF = (8, 12, 8)
WHOLE = (16, 24, 16)
VOXEL = np.array([[9.0, 0, 0], [1.5, 10.0, 0], [-0.7, 1.2, 11.0]])
TURN = np.linalg.qr(np.array([[1.0, 0.3, -0.2], [0.1, 1.0, 0.5], [0.4, -0.3, 1.0]]))[0]
TURN *= np.sign(np.linalg.det(TURN))


def indices(shape: Sequence[int]) -> Array:
    """Voxel indices ``(x, y, z, 3)`` from ``N // 2``."""
    return np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), -1).astype(float)


def vortex(shape: Sequence[int], point: ArrayLike, direction: ArrayLike, winding: int = 1) -> Array:
    """Phase ``(x, y, z)`` of a straight line through ``point``: ``winding`` turns, right-handed about ``direction``."""
    along = np.asarray(direction, float) / np.linalg.norm(direction)
    first = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    first /= np.linalg.norm(first)
    away = indices(shape) - np.asarray(point, float)
    return np.asarray(winding * np.arctan2(away @ np.cross(along, first), away @ first))


def tube(shape: Sequence[int], point: ArrayLike, direction: ArrayLike, sigma: float = 0.9) -> Array:
    """exp(−d²/2σ²) of the distance in voxels to the line."""
    along = np.asarray(direction, float) / np.linalg.norm(direction)
    away = indices(shape) - np.asarray(point, float)
    squared = (away**2).sum(-1) - (away @ along) ** 2
    return np.asarray(np.exp(-squared / (2 * sigma**2)))


def lopsided(shape: Sequence[int] = HALF) -> Array:
    """A support unlike its own twin, well within ``shape``."""
    x, y, z = np.moveaxis(indices(shape) / (np.asarray(shape) / 2), -1, 0)
    return (((x - 0.05) ** 2 + (y + 0.05) ** 2 + z**2 < 0.6) & (x + y - z < 0.5) & (y < 0.55)).astype(float)


def crystal_object(seed: int = 0, shape: Sequence[int] = HALF) -> Tensor:
    """Complex density ``(x, y, z)``: ``lopsided`` with a smooth phase of about a turn and a vortex."""
    generator = np.random.default_rng(seed)
    waves = np.sin(indices(shape) * generator.uniform(0.2, 0.6, 3) + generator.uniform(0, 6, 3)) @ generator.normal(
        0, 0.8, 3
    )
    phase = waves + vortex(shape, (0.5, -1.5, 0), (0.2, 0.1, 1))
    return torch.as_tensor(lopsided(shape) * np.exp(1j * phase), dtype=torch.complex64)


def intensity(density: Tensor) -> Tensor:
    """|F|² ``(..., 2x, 2y, 2z)`` of an object on the central half, without noise."""
    x, y, z = density.shape[-3:]
    return amplitude_from_object(centre_pad(density, (2 * x, 2 * y, 2 * z))).abs().square()


def crystals(batch: int = 2, reflections: int = 3, photons: float = 1e5) -> PatternSet:
    """Sets of patterns of lopsided crystals with known geometry, every voxel measured."""
    generator = torch.Generator().manual_seed(4)
    seeds = range(batch * reflections)
    pattern = torch.stack([intensity(crystal_object(seed)) for seed in seeds])
    counts = torch.poisson(photons * pattern / pattern.amax((1, 2, 3), keepdim=True), generator)
    G = np.random.default_rng(1).normal(0, 2, (batch, reflections, 3))
    present = torch.ones(batch, reflections, dtype=torch.bool)
    counts = counts.reshape(batch, reflections, *WHOLE)
    voxel = torch.as_tensor(np.stack([VOXEL * (1 + 0.1 * b) for b in range(batch)]))
    return PatternSet(counts, torch.ones_like(counts, dtype=torch.bool), present, torch.as_tensor(G), voxel)
