"""Kinematic amplitude of atoms on q-grids: the exact direct sum and the NUFFT.

``F(Q) = Σ_s f_s(|Q|) T_s(|Q|) Σ_{j∈s} exp(+i Q·r_j)`` with Q = centre + m @ step. Both routes carry
Q·r (10⁴ rad and more) in float64. The sum over atoms is linear: amplitudes of disjoint sets
of atoms add up, which is how MPI ranks share a crystal. Free of torch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cdi.atoms import Atoms
from cdi.grid import QGrid
from cdi.scattering.form_factor import atomic_amplitude
from cdi.scattering.geometric_sum import Route, check_route, geometric_sums
from cdi.scattering.model import DEFAULT_ENERGY_KEV, ScatteringModel

__all__ = ["DEFAULT_ENERGY_KEV", "Route", "amplitude", "atomic_amplitudes"]


def amplitude(
    atoms: Atoms,
    grid: QGrid,
    *,
    energy_keV: float = DEFAULT_ENERGY_KEV,
    route: Route = "nufft",
    tolerance: float = 1e-9,
) -> NDArray[np.complex128]:
    """Amplitude ``grid.shape`` in electrons of atoms at rest; see ``atomic_amplitudes``."""
    model = ScatteringModel(energy_keV=energy_keV, tolerance=tolerance)
    return atomic_amplitudes(atoms, [grid], route=route, model=model)[0]


def atomic_amplitudes(
    atoms: Atoms, grids: Sequence[QGrid], *, route: Route = "nufft", model: ScatteringModel | None = None
) -> tuple[NDArray[np.complex128], ...]:
    """Amplitude of ``atoms`` on each of ``grids``, of the grid's shape, in electrons.

    ``route="direct"`` adds up every atom at every voxel; ``"nufft"`` reaches the model's relative
    ``tolerance`` (L2) in a time of order atoms + voxels.

    Raises
    ------
    ValueError
        For an unknown route or library, or an element without a B factor where others have one.
    """
    check_route(route)
    chosen = model or ScatteringModel()
    moduli = [grid.modulus() for grid in grids]
    totals: list[NDArray[np.complex128]] = []
    for index, element in enumerate(atoms.elements):
        positions = atoms.positions if len(atoms.elements) == 1 else atoms.positions[atoms.species == index]
        if len(positions):
            sums = geometric_sums(positions, grids, route=route, model=chosen)
            parts = [atomic_amplitude(element, q, chosen) * part for q, part in zip(moduli, sums, strict=True)]
            totals = [total + part for total, part in zip(totals, parts, strict=True)] if totals else parts
    return tuple(totals)
