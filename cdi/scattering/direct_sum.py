"""The direct sum over atoms at every voxel, in float64: the reference of the other routes.

On a grid the phase of an atom is a product of one factor per axis, exp(i m·θ) = Π exp(i m_a θ_a),
so the sum over atoms is a matrix product. No term is left out and nothing is interpolated. Works on
numpy arrays and on torch tensors of any device; free of torch itself.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from cdi.scattering.phase import constant_like, unit_phase

TERMS_AT_ONCE = 2**20
"""Atoms × voxels of a plane that are held at a time."""

Array = Any


def sum_over_points(angles: Array, shape: tuple[int, int, int]) -> Callable[[Array], Array]:
    """``strengths (n,) → Σ_j strengths_j exp(+i m·θ_j)`` of ``shape``; ``angles`` θ (n, 3) in radians."""

    def apply(strengths: Array) -> Array:
        total = 0.0
        for part in _parts(angles, shape):
            x, y, z = _factors(angles[part], shape)
            total = total + _plane(x * strengths[part][:, None], y).T @ z
        return total.reshape(shape)  # type: ignore[attr-defined]

    return apply


def sum_over_modes(angles: Array, shape: tuple[int, int, int]) -> Callable[[Array], Array]:
    """``modes (shape) → Σ_m modes_m exp(−i m·θ_j)`` ``(n,)``: the adjoint."""

    def apply(modes: Array) -> Array:
        values = constant_like(np.zeros(len(angles), np.complex128), angles)
        columns = modes.reshape(shape[0] * shape[1], shape[2])
        for part in _parts(angles, shape):
            x, y, z = _factors(-angles[part], shape)
            values[part] = ((_plane(x, y) @ columns) * z).sum(1)
        return values

    return apply


def _parts(angles: Array, shape: tuple[int, int, int]) -> list[slice]:
    size = max(1, TERMS_AT_ONCE // (shape[0] * shape[1]))
    return [slice(start, start + size) for start in range(0, len(angles), size)]


def _factors(angles: Array, shape: tuple[int, int, int]) -> list[Array]:
    """``exp(i m_a θ_a)`` ``(n, N_a)`` for each axis."""
    modes = (constant_like(np.arange(n, dtype=np.float64) - n // 2, angles) for n in shape)
    return [unit_phase(angles[:, axis, None] * m) for axis, m in enumerate(modes)]


def _plane(x: Array, y: Array) -> Array:
    """Products of two axes' factors ``(n, N_x · N_y)``."""
    return (x[:, :, None] * y[:, None, :]).reshape(len(x), -1)
