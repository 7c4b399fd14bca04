"""Physics of coherent diffraction from crystals: lattices, dislocations, scattering, detectors.

Units are Å, Å⁻¹ (including 2π), keV and radians throughout; a name in another unit carries it.
Amplitudes are ``F(Q) = Σ_j f_j exp(+i Q·r_j)``; near a reflection G this is the transform of
the Bragg object ``s(r) exp(+i G·u(r))``.
"""

__version__ = "0.1.0"
