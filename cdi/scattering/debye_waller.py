"""Thermal motion: the B factor of the Debye model and the damping exp(−B (sin θ/λ)²).

One isotropic B per element, B = 8π²⟨u²⟩ with ⟨u²⟩ the mean square displacement along Q. Free of torch.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants
from scipy.integrate import quad

from cdi.lattices.materials import check_element


def debye_integral(x: float) -> float:
    """φ(x) = 1/x ∫₀ˣ t/(eᵗ − 1) dt: 1 − x/4 for small x, π²/6x for large.

    Warren, X-ray Diffraction (1969), eq. 11.76.
    """
    # Beyond 700 the integrand has vanished and its exponential overflows.
    value, _ = quad(lambda t: t / np.expm1(t) if t > 0 else 1.0, 0, min(x, 700.0), limit=200)
    return float(value / x) if x > 0 else 1.0


def debye_b_factor(element: str, *, temperature_K: float, debye_temperature_K: float) -> float:
    """B in Å² of a monatomic crystal of ``element``.

    ``B = 6h²/(M k Θ) [φ(x)/x + 1/4]`` with x = Θ/T (Warren, X-ray Diffraction, 1969, eq. 11.77;
    Willis & Pryor, Thermal Vibrations in Crystallography, 1975, ch. 4). At T = 0 the zero-point
    motion 1/4 remains. For a compound it is an estimate: light and heavy atoms share one Θ.

    Raises
    ------
    ValueError
        For an unknown element, a negative temperature or a Debye temperature that is not positive.
    """
    from ase.data import atomic_masses, atomic_numbers

    check_element(element)
    if not 0 <= temperature_K < np.inf:
        raise ValueError(f"temperature_K must not be negative, got {temperature_K}")
    if not 0 < debye_temperature_K < np.inf:
        raise ValueError(f"debye_temperature_K must be positive, got {debye_temperature_K}")
    mass = atomic_masses[atomic_numbers[element]] * constants.atomic_mass
    scale = 6 * constants.h**2 / (mass * constants.k * debye_temperature_K) / constants.angstrom**2
    thermal = 0.0
    if temperature_K > 0:
        x = debye_temperature_K / temperature_K
        thermal = debye_integral(x) / x
    return float(scale * (thermal + 0.25))


def debye_waller_factor(q: ArrayLike, B_A2: float) -> NDArray[np.float64]:
    """Damping ``exp(−B (q/4π)²)`` of the amplitude at moduli ``q`` (any shape) in Å⁻¹."""
    return np.exp(-B_A2 * (np.asarray(q, np.float64) / (4 * np.pi)) ** 2)
