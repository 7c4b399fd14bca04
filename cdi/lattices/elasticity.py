"""Elastic constants: Voigt matrices, their tensors, and the isotropic average.

Voigt order 11, 22, 33, 23, 13, 12 with engineering shear strains, so that C₄₄ multiplies 2ε₂₃
(Nye, Physical Properties of Crystals, 1985, ch. VIII).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
"""Voigt index of each pair of axes, from 0."""


def cubic_stiffness(c11: float, c12: float, c44: float) -> Array:
    """Voigt matrix ``(6, 6)`` in the constants' unit, crystal axes."""
    return hexagonal_stiffness(c11, c12, c12, c11, c44, c66=c44)


def hexagonal_stiffness(
    c11: float, c12: float, c13: float, c33: float, c44: float, *, c66: float | None = None
) -> Array:
    """Voigt matrix ``(6, 6)``, c along z; C₆₆ = (C₁₁ − C₁₂)/2 unless given."""
    stiffness = np.diag([c11, c11, c33, c44, c44, (c11 - c12) / 2 if c66 is None else c66])
    stiffness[0, 1] = stiffness[1, 0] = c12
    stiffness[:2, 2] = stiffness[2, :2] = c13
    return stiffness


def isotropic_stiffness(shear_modulus: float, poisson_ratio: float) -> Array:
    """Voigt matrix ``(6, 6)`` of an isotropic medium."""
    lame = 2 * shear_modulus * poisson_ratio / (1 - 2 * poisson_ratio)
    return cubic_stiffness(lame + 2 * shear_modulus, lame, shear_modulus)


def check_stiffness(stiffness: ArrayLike) -> Array:
    """The Voigt matrix as float64.

    Raises
    ------
    ValueError
        Unless it is a finite, symmetric, positive definite (6, 6) matrix.
    """
    matrix = np.asarray(stiffness, np.float64)
    if matrix.shape != (6, 6) or not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T):
        raise ValueError(f"stiffness must be a finite symmetric (6, 6) matrix, got {np.asarray(stiffness).tolist()}")
    if np.linalg.eigvalsh(matrix).min() <= 0:
        raise ValueError("stiffness must be positive definite: a crystal must resist every strain")
    return matrix


def stiffness_tensor(stiffness: ArrayLike, rotation: ArrayLike | None = None) -> Array:
    """C_ijkl ``(3, 3, 3, 3)``, turned by ``rotation`` (crystal to laboratory) where given."""
    tensor: Array = np.asarray(stiffness, np.float64)[VOIGT[:, :, None, None], VOIGT[None, None]]
    if rotation is None:
        return tensor
    turn = np.asarray(rotation, np.float64)
    return np.asarray(np.einsum("ai,bj,ck,dl,ijkl->abcd", turn, turn, turn, turn, tensor, optimize=True))


def voigt_average(stiffness: ArrayLike) -> tuple[float, float]:
    """Shear modulus (unit of the constants) and Poisson ratio of the isotropic polycrystal.

    λ + 2μ/3 = C_iijj/9 and μ = (3 C_ijij − C_iijj)/30 (Hirth & Lothe, Theory of Dislocations,
    2nd ed., 1982, eqs. 13-11, 13-12).
    """
    tensor = stiffness_tensor(stiffness)
    volume, shear = np.einsum("iijj", tensor), np.einsum("ijij", tensor)
    mu = (3 * shear - volume) / 30
    lame = volume / 9 - 2 * mu / 3
    return float(mu), float(lame / (2 * (lame + mu)))


def zener_ratio(stiffness: ArrayLike) -> float:
    """2 C₄₄/(C₁₁ − C₁₂) of a cubic crystal: 1 where it is isotropic."""
    matrix = np.asarray(stiffness, np.float64)
    return float(2 * matrix[3, 3] / (matrix[0, 0] - matrix[0, 1]))
