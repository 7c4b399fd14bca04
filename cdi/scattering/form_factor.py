"""Atomic form factors ``f0(|Q|) + f′(E) + i f″(E)`` from the tables of xraydb.

f0: Waasmaier & Kirfel, Acta Cryst. A51, 416 (1995), as a function of sin θ/λ = |Q|/4π;
f′, f″: Chantler, J. Phys. Chem. Ref. Data 24, 71 (1995). Within ~20 eV of an absorption edge
tabulations differ by 20 %: keep clear of edges. f″ > 0 absorbs with the sign exp(+iQ·r).
"""

import json
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
    if q.size and q.max() > 24 * np.pi:
        raise ValueError(f"q must be at most {24 * np.pi:.1f} Å⁻¹ (the tables' end), got {q.max():.1f}")
    constant, scales, exponents = _gaussians(element)
    square = (q / (4 * np.pi)) ** 2
    f = np.full(q.shape, constant + anomalous(element, energy_keV), np.complex128)
    for scale, exponent in zip(scales, exponents, strict=True):
        f.real += scale * np.exp(-exponent * square)
    return f


@lru_cache(maxsize=128)
def _gaussians(element: str) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Constant, scales and exponents in Å² of f0 as a sum of Gaussians in sin θ/λ: the table is slow to search."""
    import xraydb

    row = next(row for row in xraydb.get_xraydb().get_cache("Waasmaier") if row.ion == element)
    return float(row.offset), tuple(json.loads(row.scale)), tuple(json.loads(row.exponents))


def atomic_amplitude(element: str, q: NDArray[np.float64], model: ScatteringModel) -> NDArray[np.complex128]:
    """What one vibrating atom scatters: ``(f0 + f′ + i f″) exp(−B (q/4π)²)`` in electrons, of the shape of ``q``."""
    B = model.b_factor(element)
    f = form_factor(element, q, energy_keV=model.energy_keV)
    return f * debye_waller_factor(q, B) if B else f
