"""A screw along the axis of a rod: the Bragg peak is an optical vortex, known in closed form.

Within the rod the phase is G·u = mθ with m = G·b/2π, so around the reflection, q along and across the axis,

    F(G + q) = (F_cell / V) · L sinc(q∥ L/2) · 2π i^m e^{imφ} ∫₀^R J_m(q⊥ r) r dr

(Fraunhofer pattern of a spiral phase plate behind a round aperture: Kotlyar et al., Computer Optics 30, 36, 2006).
Closed forms of the integral: m = 1, NIST Handbook of Mathematical Functions (2010) eq. 10.22.2; m = 2, from
J₂(x) = 2 J₁(x)/x − J₀(x).
"""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import j0, j1, jv, struve

from cdi.crystal import Crystal
from cdi.defects.medium import IsotropicMedium
from cdi.defects.straight_dislocation import StraightDislocation
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.scattering.amplitude import amplitude
from cdi.scattering.forward import CrystalRoute, amplitudes
from cdi.scattering.model import ScatteringModel
from cdi.scattering.structure_factor import structure_factor
from cdi.shapes.rod import Rod
from cdi.shapes.shape import as_parameter
from data.simulation import orientation_from_axes

Array = NDArray[np.float64]
Volume = NDArray[np.complex128]
COPPER = Lattice.of_material("Cu")
RADIUS, LENGTH = 55.0, 90.0
REFLECTIONS = {1: (1, 1, 1), 2: (2, 2, 0)}
"""By m = g·b for b = ½[110]."""


def hankel(m: int, q: Array) -> Array:
    """``∫₀^R J_m(qr) r dr`` in Å² for m of 1 and 2, at moduli ``q`` (any shape) in Å⁻¹."""
    # Below 0.01 the closed forms cancel to nothing; there the integral is below 10⁻⁴ of its peak.
    x = np.maximum(q * RADIUS, 1e-2)
    if m == 1:
        return np.asarray(np.pi / 2 * x * (j1(x) * struve(0, x) - j0(x) * struve(1, x)) * (RADIUS / x) ** 2)
    return np.asarray((2 - 2 * j0(x) - x * j1(x)) * (RADIUS / x) ** 2)


def rod(rotation: Array) -> Crystal:
    """A turned rod along [110], a screw of b = ½[110] along its axis."""
    orientation = rotation @ orientation_from_axes((0, 0, 1), (1, 1, 0))
    burgers, axis = orientation @ COPPER.direction((0.5, 0.5, 0)), rotation[:, 2]
    b, xi, n, origin = (as_parameter(value) for value in (burgers, axis, rotation[:, 1], np.zeros(3)))
    line = StraightDislocation(b, xi, n, origin, IsotropicMedium(COPPER.poisson_ratio))
    return Crystal(COPPER, Rod(as_parameter(RADIUS), as_parameter(LENGTH), as_parameter(axis)), orientation, (line,))


def grid_around(crystal: Crystal, m: int, rotation: Array) -> QGrid:
    """Uneven, along the rod's own axes, oversampled differently on each."""
    extent = np.array([2 * RADIUS, 2 * RADIUS, LENGTH])
    step = np.diag(2 * np.pi / (extent * np.array([3.1, 2.7, 2.3]))) @ rotation.T
    return QGrid(crystal.reflection_vector(REFLECTIONS[m]), step, (31, 28, 9))


def vortex(grid: QGrid, m: int, rotation: Array) -> Volume:
    """The closed form on ``grid``, in electrons."""
    q = (np.stack(grid.axes(), -1) - grid.centre) @ rotation
    across, angle = np.hypot(q[..., 0], q[..., 1]), np.arctan2(q[..., 1], q[..., 0])
    # numpy's sinc is sin(πx)/πx.
    along = LENGTH * np.sinc(q[..., 2] * LENGTH / (2 * np.pi))
    cell = structure_factor(COPPER, REFLECTIONS[m], grid.modulus()) / COPPER.cell_volume
    return np.asarray(cell * along * 2 * np.pi * 1j**m * np.exp(1j * m * angle) * hankel(m, across))


def amplitude_by(route: CrystalRoute, crystal: Crystal, grid: QGrid, m: int) -> Volume:
    """The Bragg object is refined four times: a rod's smooth side aliases on coarser voxels."""
    model = ScatteringModel(supersampling=4)
    return np.asarray(amplitudes(crystal, [(REFLECTIONS[m], grid)], route=route, model=model)[0].numpy())


@pytest.mark.parametrize("m", [1, 2])
def test_the_closed_form_is_the_hankel_transform(m: int) -> None:
    """Against the integral, at seven moduli."""
    q = np.linspace(0.01, 0.5, 7)
    integral = [quad(lambda r, q=value: jv(m, q * r) * r, 0, RADIUS)[0] for value in q]
    np.testing.assert_allclose(hankel(m, q), integral, rtol=1e-7)


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("route", ["object", "nufft"])
def test_a_screw_along_a_rod_is_an_optical_vortex(route: CrystalRoute, m: int, rotation: Array) -> None:
    """Complex overlap with the closed form above 0.999; modulus and phase in electrons to 3 % of the peak."""
    crystal = rod(rotation)
    grid = grid_around(crystal, m, rotation)
    found, expected = amplitude_by(route, crystal, grid, m), vortex(grid, m, rotation)
    overlap = abs(np.vdot(found, expected)) / np.linalg.norm(found) / np.linalg.norm(expected)
    assert overlap > 0.999
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("route", ["object", "nufft"])
def test_the_peak_of_a_vortex_is_dark_on_the_axis(route: CrystalRoute, m: int, rotation: Array) -> None:
    """Without the screw all electrons add up at G; with it less than 10⁻³ of them is left, for g·b of 1 and 2."""
    crystal = rod(rotation)
    at_G = QGrid(crystal.reflection_vector(REFLECTIONS[m]), grid_around(crystal, m, rotation).step, (3, 3, 3))
    dark, bright = (abs(amplitude(replace(crystal, defects=d).atoms(), at_G)[1, 1, 1]) for d in (crystal.defects, ()))
    assert dark < 1e-3 * bright
