"""The NUFFT seam: every library, both types, forced by name; and exp(iφ) of large phases."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cdi.atoms import Atoms
from cdi.errors import MissingDependencyError
from cdi.grid import QGrid
from cdi.scattering import direct_sum
from cdi.scattering.amplitude import atomic_amplitudes
from cdi.scattering.geometric_sum import geometric_sums, position_derivatives
from cdi.scattering.model import ScatteringModel
from cdi.scattering.nufft import LIBRARIES, installed_libraries, nufft_library
from cdi.scattering.phase import unit_phase

SHAPE = (9, 10, 7)
ON_CPU = [library.name for library in LIBRARIES.values() if not library.on_gpu]


def needs(name: str) -> None:
    if name not in installed_libraries():
        pytest.skip(f"{name} is not installed")


def points(seed: int, count: int = 200) -> NDArray[np.float64]:
    """Angles far beyond ±π."""
    return np.random.default_rng(seed).normal(size=(count, 3)) * 300


def by_definition(angles: NDArray[np.float64], strengths: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """``Σ_j s_j exp(+i m·θ_j)`` term by term."""
    modes = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij"), -1)
    return np.exp(1j * (modes @ angles.T)) @ strengths


def strengths(seed: int, *shape: int) -> NDArray[np.complex128]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@pytest.mark.parametrize("name", ON_CPU)
def test_type_1_is_the_sum_over_points(name: str) -> None:
    """To the tolerance asked for, wherever the points lie."""
    needs(name)
    angles, values = points(0), strengths(1, 200)
    expected = by_definition(angles, values)
    for tolerance in (1e-4, 1e-9):
        found = nufft_library(name).plan(angles, SHAPE, 1, tolerance, 1)(values)
        assert np.linalg.norm(found - expected) < 5 * tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["direct", *ON_CPU])
def test_type_2_is_the_adjoint_of_type_1(name: str) -> None:
    """⟨A s, g⟩ = ⟨s, A* g⟩ on an uneven grid."""
    angles, values, modes = points(2), strengths(3, 200), strengths(4, *SHAPE)
    if name == "direct":
        forward, adjoint = direct_sum.sum_over_points(angles, SHAPE), direct_sum.sum_over_modes(angles, SHAPE)
    else:
        needs(name)
        forward, adjoint = (nufft_library(name).plan(angles, SHAPE, kind, 1e-12, 1) for kind in (1, 2))
    assert np.vdot(modes, forward(values)) == pytest.approx(np.vdot(adjoint(modes), values), rel=1e-10)


def test_the_direct_sum_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Term by term to rounding, also in chunks that do not divide the points."""
    angles, values = points(5), strengths(6, 200)
    expected = by_definition(angles, values)
    np.testing.assert_allclose(direct_sum.sum_over_points(angles, SHAPE)(values), expected, rtol=1e-10, atol=1e-10)
    monkeypatch.setattr(direct_sum, "TERMS_AT_ONCE", 7 * SHAPE[0] * SHAPE[1])
    np.testing.assert_allclose(direct_sum.sum_over_points(angles, SHAPE)(values), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ON_CPU)
def test_a_library_can_be_forced_and_says_its_name(name: str, sheared_grid: QGrid) -> None:
    needs(name)
    assert nufft_library(name).name == name
    rng = np.random.default_rng(7)
    atoms = Atoms(rng.normal(size=(300, 3)) * 25, rng.integers(0, 2, 300), ("Ni", "Al"))
    (found,) = atomic_amplitudes(atoms, [sheared_grid], model=ScatteringModel(library=name))
    (expected,) = atomic_amplitudes(atoms, [sheared_grid], route="direct")
    assert np.linalg.norm(found - expected) < 1e-8 * np.linalg.norm(expected)


def test_the_fastest_installed_library_is_picked_up() -> None:
    assert nufft_library().name == installed_libraries()[0]


def test_single_precision_keeps_large_phases(sheared_grid: QGrid) -> None:
    """Q·r of 10⁵ rad is folded in float64 first: 1e-4 relative (L2) in float32."""
    positions = np.random.default_rng(8).normal(size=(300, 3)) * 25 + np.array([1e4, -2e4, 3e4])
    (exact,) = geometric_sums(positions, [sheared_grid], route="direct", model=ScatteringModel())
    (found,) = geometric_sums(positions, [sheared_grid], route="nufft", model=ScatteringModel(precision="single"))
    assert found.dtype == np.complex64
    assert np.linalg.norm(found - exact) < 1e-4 * np.linalg.norm(exact)


@pytest.mark.parametrize("route", ["nufft", "direct"])
def test_chunks_of_atoms_add_up(route: str, sheared_grid: QGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the derivatives come back in the order of the atoms."""
    positions, cotangent = np.random.default_rng(9).normal(size=(3000, 3)) * 25, strengths(10, *sheared_grid.shape)
    arguments = {"route": route, "model": ScatteringModel()}
    (whole,) = geometric_sums(positions, [sheared_grid], **arguments)  # type: ignore[arg-type]
    derivative = position_derivatives(positions, [sheared_grid], [cotangent], **arguments)  # type: ignore[arg-type]
    monkeypatch.setattr("cdi.scattering.geometric_sum.ATOMS_AT_ONCE", 700)
    (parts,) = geometric_sums(positions, [sheared_grid], **arguments)  # type: ignore[arg-type]
    assert np.linalg.norm(parts - whole) < 1e-8 * np.linalg.norm(whole)
    in_parts = position_derivatives(positions, [sheared_grid], [cotangent], **arguments)  # type: ignore[arg-type]
    assert np.linalg.norm(in_parts - derivative) < 1e-8 * np.linalg.norm(derivative)


def test_grids_that_share_steps_equal_grids_one_by_one(sheared_grid: QGrid) -> None:
    """Two with the same steps, one without, in an order that mixes them."""
    positions = np.random.default_rng(11).normal(size=(300, 3)) * 25
    grids = [
        sheared_grid,
        QGrid(2 * sheared_grid.centre, 1.1 * sheared_grid.step, (8, 8, 9)),
        QGrid([0.3, 1.7, -2.0], sheared_grid.step, sheared_grid.shape),
    ]
    together = geometric_sums(positions, grids, route="nufft", model=ScatteringModel())
    for grid, found in zip(grids, together, strict=True):
        (alone,) = geometric_sums(positions, [grid], route="direct", model=ScatteringModel())
        assert np.linalg.norm(found - alone) < 1e-8 * np.linalg.norm(alone)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e5])
def test_unit_phases_are_as_exact_as_their_angles(size: float) -> None:
    """|exp(iφ) − ours| stays within two roundings of φ, and within 1e-15 for small φ."""
    angle = np.random.default_rng(12).uniform(-size, size, (3, 7001))
    error = np.abs(unit_phase(angle) - (np.cos(angle) + 1j * np.sin(angle))).max()
    assert error < 1e-15 + 4e-16 * size


def test_an_unknown_library_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="library must be one of ducc0, finufft, cufinufft, got 'fftw'"):
        nufft_library("fftw")


def test_a_library_of_the_other_device_is_refused() -> None:
    with pytest.raises(ValueError, match="library must be one of ducc0, finufft on a CPU, got 'cufinufft'"):
        nufft_library("cufinufft")
    with pytest.raises(ValueError, match="library must be one of cufinufft on a GPU, got 'ducc0'"):
        nufft_library("ducc0", on_gpu=True)


def test_a_missing_library_gives_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cufinufft", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'crystal-defects-insitu\[cuda\]'"):
        nufft_library(on_gpu=True)
