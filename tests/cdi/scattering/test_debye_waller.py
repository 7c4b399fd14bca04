"""Thermal motion: limits of the Debye integral, published B factors, and what the model refuses."""

import numpy as np
import pytest

from cdi.scattering.debye_waller import debye_b_factor, debye_integral, debye_waller_factor
from cdi.scattering.form_factor import atomic_amplitude, form_factor
from cdi.scattering.model import ScatteringModel


def test_the_debye_integral_has_its_limits() -> None:
    """1 − x/4 + x²/36 for small x, π²/6x for large."""
    assert debye_integral(0.0) == 1.0
    assert debye_integral(0.1) == pytest.approx(1 - 0.1 / 4 + 0.01 / 36, abs=1e-7)
    assert debye_integral(40.0) == pytest.approx(np.pi**2 / 6 / 40, rel=1e-12)
    assert debye_integral(5e4) == pytest.approx(np.pi**2 / 6 / 5e4, rel=1e-12)


def test_zero_point_motion_remains_and_classical_motion_grows_with_temperature() -> None:
    """B(0) = 6h²/(4MkΘ); far above Θ, B = 6h²T/(MkΘ²): equipartition."""
    h, k, mass, theta = 6.62607015e-34, 1.380649e-23, 63.546 * 1.66053906892e-27, 343.0
    zero = debye_b_factor("Cu", temperature_K=0, debye_temperature_K=theta)
    assert zero == pytest.approx(6 * h**2 / (4 * mass * k * theta) * 1e20, rel=1e-5)
    hot = debye_b_factor("Cu", temperature_K=50 * theta, debye_temperature_K=theta)
    assert hot == pytest.approx(6 * h**2 * 50 * theta / (mass * k * theta**2) * 1e20, rel=1e-3)


def test_silicon_at_room_temperature() -> None:
    """B = 0.461 Å² at 293 K (Aldred & Hart, Proc. R. Soc. A332, 239, 1973) from Θ = 543 K.

    Θ: Batterman & Chipman, Phys. Rev. 127, 690 (1962). To 5 %: one Θ does not hold at every temperature.
    """
    found = debye_b_factor("Si", temperature_K=293.2, debye_temperature_K=543)
    assert found == pytest.approx(0.4613, rel=0.05)


@pytest.mark.parametrize(("element", "theta"), [("Al", 394.0), ("Cu", 315.0), ("Au", 165.0), ("W", 310.0)])
def test_the_damping_of_metals_is_that_of_xrayutilities(element: str, theta: float) -> None:
    """Its Debye–Waller factor of the same Debye temperature, 80 K and 900 K, at |q| of 5 Å⁻¹; to 1e-3."""
    materials = pytest.importorskip("xrayutilities").materials
    lattice = materials.SGLattice(225, 4.0, atoms=[element], pos=["4a"])
    peer = materials.Crystal(element, lattice, thetaDebye=theta)
    for temperature in (80.0, 900.0):
        B = debye_b_factor(element, temperature_K=temperature, debye_temperature_K=theta)
        # Its factor is that of the amplitude, one for each element of the cell.
        expected = float(np.ravel(peer._debyewallerfactor(temperature, 5.0))[0])
        assert float(debye_waller_factor(5.0, B)) == pytest.approx(expected, rel=1e-3)


def test_damping_is_the_gaussian_of_sine_theta_over_lambda() -> None:
    """exp(−B s²) with s = q/4π, and it multiplies dispersion too."""
    q = np.array([0.0, 2.7, 8.1])
    np.testing.assert_allclose(debye_waller_factor(q, 0.6), np.exp(-0.6 * (q / (4 * np.pi)) ** 2))
    model = ScatteringModel(energy_keV=10, B_A2={"Au": 0.6})
    expected = form_factor("Au", q, energy_keV=10) * np.exp(-0.6 * (q / (4 * np.pi)) ** 2)
    np.testing.assert_allclose(atomic_amplitude("Au", q, model), expected)


def test_a_model_at_a_temperature_holds_the_factors_of_its_elements() -> None:
    model = ScatteringModel.at_temperature(300, {"Au": 165.0, "Cu": 343.0}, energy_keV=8.0)
    assert model.energy_keV == 8.0
    assert model.b_factor("Cu") == debye_b_factor("Cu", temperature_K=300, debye_temperature_K=343.0)
    assert ScatteringModel().b_factor("Pt") == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"element": "Xx", "temperature_K": 300, "debye_temperature_K": 300}, "element must be a chemical symbol"),
        ({"element": "Cu", "temperature_K": -1, "debye_temperature_K": 300}, "temperature_K must not be negative"),
        ({"element": "Cu", "temperature_K": np.nan, "debye_temperature_K": 300}, "temperature_K must not be negative"),
        ({"element": "Cu", "temperature_K": 300, "debye_temperature_K": 0}, "debye_temperature_K must be positive"),
    ],
)
def test_impossible_temperatures_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        debye_b_factor(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"energy_keV": 0.1}, "energy_keV must lie within the tables"),
        ({"precision": "half"}, "precision must be one of double, single, got 'half'"),
        ({"tolerance": 1e-15}, r"tolerance must lie in \[1e-13, 1\) in double precision"),
        ({"tolerance": 1e-9, "precision": "single"}, r"tolerance must lie in \[2e-06, 1\) in single precision"),
        ({"supersampling": 0}, "supersampling must be an integer of at least 1, got 0"),
        ({"threads": 0}, "threads must be an integer of at least 1, got 0"),
        ({"B_A2": {"Au": -0.1}}, "B_A2 must not be negative, got -0.1 for Au"),
        ({"B_A2": {"Xx": 0.1}}, "element must be a chemical symbol"),
    ],
)
def test_models_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScatteringModel(**settings)  # type: ignore[arg-type]


def test_an_element_without_a_factor_is_refused_where_others_have_one() -> None:
    with pytest.raises(ValueError, match="B_A2 must name every element of the crystal, got Au: no Cu"):
        ScatteringModel(B_A2={"Au": 0.6}).b_factor("Cu")
