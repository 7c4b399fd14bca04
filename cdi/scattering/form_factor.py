"""Atomic form factors ``f0(|Q|) + f′(E) + i f″(E)`` from the tables of xraydb.

f0: Waasmaier & Kirfel, Acta Cryst. A51, 416 (1995), as a function of sin θ/λ = |Q|/4π;
f′, f″: Chantler, J. Phys. Chem. Ref. Data 24, 71 (1995). Within ~20 eV of an absorption edge
tabulations differ by 20 %: keep clear of edges. f″ > 0 absorbs with the sign exp(+iQ·r).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cdi.scattering.debye_waller import debye_waller_factor
from cdi.scattering.model import ScatteringModel


@lru_cache(maxsize=128)
def anomalous(element: str, energy_keV: float) -> complex:
    """Dispersion correction ``f′ + i f″`` in electrons."""
    import xraydb

    if not 0.25 <= energy_keV <= 100:
        raise ValueError(f"energy_keV must lie within the tables, 0.25 to 100, got {energy_keV}")
    return complex(
        float(xraydb.f1_chantler(element, energy_keV * 1e3)), float(xraydb.f2_chantler(element, energy_keV * 1e3))
    )


def form_factor(element: str, q: NDArray[np.float64], *, energy_keV: float) -> NDArray[np.complex128]:
    """Form factor in electrons at moduli ``q`` (any shape) in Å⁻¹ (2π included).

    Raises
    ------
    ValueError
        If the energy lies outside the tables or |q| exceeds their 24π Å⁻¹.
    """
    import xraydb

    if q.size and q.max() > 24 * np.pi:
        raise ValueError(f"q must be at most {24 * np.pi:.1f} Å⁻¹ (the tables' end), got {q.max():.1f}")
    f0 = xraydb.f0(element, (q / (4 * np.pi)).ravel()).reshape(q.shape)
    return np.asarray(f0 + anomalous(element, energy_keV), np.complex128)


def atomic_amplitude(element: str, q: NDArray[np.float64], model: ScatteringModel) -> NDArray[np.complex128]:
    """What one vibrating atom scatters: ``(f0 + f′ + i f″) exp(−B (q/4π)²)`` in electrons, of the shape of ``q``."""
    B = model.b_factor(element)
    f = form_factor(element, q, energy_keV=model.energy_keV)
    return f * debye_waller_factor(q, B) if B else f
