"""Structure factor of a cell: what turns the transform of a shape into electrons.

Near a reflection G the phases exp(iG·x_j) of a cell's sites hold still, while f(|Q|) and the
thermal damping go on falling. Free of torch.
"""

from functools import lru_cache

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray

from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Reflection
from cdi.scattering.form_factor import atomic_amplitude
from cdi.scattering.model import ScatteringModel

INTERPOLATION_NODES = {"double": 15, "single": 7}
"""Chebyshev nodes per axis over a peak: form factors are sums of broad Gaussians."""


def structure_factor(
    lattice: Lattice,
    reflection: Reflection,
    q: NDArray[np.float64] | None = None,
    *,
    model: ScatteringModel | None = None,
) -> NDArray[np.complex128]:
    """``Σ_j f_j(q) T_j(q) exp(2πi h·x_j)`` over a cell, in electrons, at moduli ``q`` (any shape; None: at |G|).

    (0, 0, 0) is allowed: the forward direction. Als-Nielsen & McMorrow, Elements of Modern X-ray
    Physics, 2nd ed. (2011), eq. 5.19.
    """
    modulus = np.asarray(np.linalg.norm(lattice.plane_normal(reflection))) if q is None else q
    phases = np.exp(2j * np.pi * lattice.sites @ np.asarray(reflection, np.float64))
    total = np.zeros(modulus.shape, np.complex128)
    for element in dict.fromkeys(lattice.elements):
        geometric = sum(phase for phase, name in zip(phases, lattice.elements, strict=True) if name == element)
        total = total + geometric * atomic_amplitude(element, modulus, model or ScatteringModel())
    return total


def structure_factor_nodes(
    lattice: Lattice, reflection: Reflection, grid: QGrid, model: ScatteringModel
) -> NDArray[np.complex128]:
    """The structure factor on few nodes over ``grid``, ``(k_x, k_y, k_z)``; ``chebyshev_nodes`` spreads it.

    A smooth factor of every voxel is interpolated along each axis by a polynomial through Chebyshev's
    nodes, so that exponentials are evaluated on k³ points instead of N³.
    """
    most = INTERPOLATION_NODES[model.precision]
    x, y, z = (chebyshev_nodes(n, min(n, most))[0] for n in grid.shape)
    square = 0.0
    for (a, b, d), c in zip(grid.step.T, grid.centre, strict=True):
        square = square + ((x[:, None, None] * a + c) + y[:, None] * b + z * d) ** 2
    return structure_factor(lattice, reflection, np.sqrt(square), model=model)


@lru_cache(maxsize=64)
def chebyshev_nodes(size: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes ``(count,)`` among voxel numbers −(N // 2) …, and their Lagrange polynomials on them ``(N, count)``."""
    voxels = np.arange(size) - size // 2
    middle, half = (size - 1) / 2 - size // 2, max(size / 2, 0.5)
    unit = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    lagrange = np.linalg.solve(chebvander(unit, count - 1).T, chebvander((voxels - middle) / half, count - 1).T).T
    return middle + half * unit, np.asarray(lagrange, np.float64)
