"""Regular grids of scattering vectors and the real-space voxels dual to them.

Symbols: index m ∈ ℤ³ counted from the centre voxel ``N // 2``; ``step[i]`` is the q vector of
one voxel along axis i, so ``q(m) = centre + m @ step``. The dual real-space voxel vectors
``a_i`` satisfy ``a_i · step_j = 2π δ_ij / N_i``. Free of torch, so that simulation ranks
import it in milliseconds.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_VOXELS = 2**28
"""Largest grid accepted (4 GiB of complex128): a larger request is a typing error."""

Array = NDArray[np.float64]


def real_space_step(step: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Real-space voxel vectors ``(3, 3)`` in Å (row i along axis i) dual to q ``step``."""
    return (2 * np.pi * np.linalg.inv(np.asarray(step, np.float64)) / np.asarray(shape, np.float64)).T


def check_sampling(positions: Array, grid: "QGrid") -> None:
    """|F|² of atoms at ``positions`` (n, 3) Å is known from its samples if they fill at most half of the field of view.

    Raises
    ------
    ValueError
        If they fill more along an axis of the grid.
    """
    ratio = np.asarray(grid.shape) / np.maximum(np.ptp(positions @ np.linalg.inv(grid.voxel), axis=0), 1e-9)
    if ratio.min() < 2:
        raise ValueError(f"oversampling must be at least 2 along every axis of the grid, got {ratio.round(2).tolist()}")


@dataclass(frozen=True)
class QGrid:
    """Sampled scattering vectors around ``centre``, orthogonal or sheared.

    Parameters
    ----------
    centre : (3,)
        Scattering vector of the voxel ``N // 2`` in Å⁻¹, the reflection G included.
    step : (3, 3)
        Row i is the increment of q in Å⁻¹ per voxel along axis i.
    shape : (nx, ny, nz)

    Raises
    ------
    ValueError
        For a malformed or non-finite centre, a singular step, or a shape that is not three
        positive integers with at most ``MAX_VOXELS`` voxels.
    """

    centre: Array
    step: Array
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        centre = np.asarray(self.centre, np.float64)
        step = np.asarray(self.step, np.float64)
        shape = tuple(int(n) for n in self.shape)
        if centre.shape != (3,) or not np.isfinite(centre).all():
            raise ValueError(f"centre must be 3 finite numbers in Å⁻¹, got {self.centre!r}")
        if step.shape != (3, 3) or not np.isfinite(step).all():
            raise ValueError(f"step must be a finite (3, 3) matrix in Å⁻¹, got {self.step!r}")
        lengths = np.linalg.norm(step, axis=1)
        if lengths.min() == 0 or abs(np.linalg.det(step / lengths[:, None])) < 1e-6:
            raise ValueError(f"step must have three independent rows, got {step.tolist()}")
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape must be three positive integers, got {self.shape}")
        if int(np.prod(shape, dtype=object)) > MAX_VOXELS:
            raise ValueError(f"shape must have at most {MAX_VOXELS} voxels, got {shape}")
        for name, value in (("centre", centre), ("step", step), ("shape", shape)):
            object.__setattr__(self, name, value)

    @classmethod
    def orthogonal(
        cls, centre: ArrayLike, extent: ArrayLike, oversampling: ArrayLike, shape: tuple[int, int, int]
    ) -> "QGrid":
        """Grid along x, y, z that oversamples an object of ``extent`` (3,) Å.

        ``step_i = 2π / (extent_i · oversampling_i)``; the scalar oversampling applies to all axes.

        Raises
        ------
        ValueError
            If an oversampling lies below 2 (Shannon sampling of |F|²) or an extent is not positive.
        """
        extent_, ratio = np.broadcast_arrays(np.asarray(extent, np.float64), np.asarray(oversampling, np.float64))
        if not (np.isfinite(extent_).all() and (extent_ > 0).all()):
            raise ValueError(f"extent must be positive and finite in Å, got {extent_.tolist()}")
        if not (np.isfinite(ratio).all() and (ratio >= 2).all()):
            raise ValueError(f"oversampling must be at least 2 along every axis, got {ratio.tolist()}")
        lengths = np.broadcast_to(2 * np.pi / (extent_ * ratio), (3,))
        return cls(np.asarray(centre, np.float64), np.diag(lengths), shape)

    @cached_property
    def voxel(self) -> Array:
        """Real-space voxel vectors ``(3, 3)`` in Å, row i along axis i."""
        return real_space_step(self.step, self.shape)

    def axes(self) -> tuple[Array, Array, Array]:
        """Absolute q components ``(q_x, q_y, q_z)`` in Å⁻¹, each of the grid's ``shape``."""
        x, y, z = (np.arange(n) - n // 2 for n in self.shape)
        q_x, q_y, q_z = (
            (x[:, None, None] * a + c) + y[:, None] * b + z * d
            for (a, b, d), c in zip(self.step.T, self.centre, strict=True)
        )
        return q_x, q_y, q_z

    def modulus(self) -> Array:
        """|Q| in Å⁻¹ on every voxel."""
        q_x, q_y, q_z = self.axes()
        return np.sqrt(q_x * q_x + q_y * q_y + q_z * q_z)
