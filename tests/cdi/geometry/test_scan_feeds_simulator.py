"""A rocking curve's grid in the simulator: on the points that it shares with an orthogonal grid, one amplitude."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from cdi.atoms import Atoms
from cdi.geometry.diffractometer import DIFFRACTOMETERS
from cdi.geometry.rocking_scan import RockingScan
from cdi.geometry.scan_design import rocking_scan_for, with_oversampling
from cdi.grid import QGrid
from cdi.scattering.amplitude import amplitude

A = 4.078


@pytest.fixture
def scan(rotation: NDArray[np.float64]) -> RockingScan:
    """Gold (111) of a turned crystal of 30 Å, rocked by φ of ID01 with η and μ off zero."""
    template = RockingScan(
        DIFFRACTOMETERS["ID01"], "phi", 0.2, {"mu": 3.0, "eta": 15.0}, 9.0, 0.01, (75.0, 55.0), (9, 7, 11)
    )
    G = rotation @ np.array([1, 1, 1]) * 2 * np.pi / A
    return with_oversampling(rocking_scan_for(G, template), 30.0, 3.0)


def crystal(orientation: NDArray[np.float64], strain: float) -> Atoms:
    """A lopsided fcc crystal, smoothly displaced by up to ``strain`` Å."""
    cells = np.stack(np.meshgrid(*(np.arange(-4, 5),) * 3, indexing="ij"), -1).reshape(-1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = A * (cells[:, None] + basis).reshape(-1, 3)
    sites = sites[(np.linalg.norm(sites, axis=1) < 15) & (sites[:, 0] + sites[:, 1] < 9)]
    return Atoms.of_element("Au", (sites + strain * np.sin(sites[:, [1, 2, 0]] / 7)) @ orientation.T)


@pytest.fixture
def atoms(scan: RockingScan, rotation: NDArray[np.float64]) -> Atoms:
    """A strained crystal as it stands in the laboratory at the middle frame."""
    return crystal(scan.sample_rotation @ rotation, strain=0.2)


def test_the_pattern_peaks_at_the_reflection_that_was_aimed_at(
    scan: RockingScan, rotation: NDArray[np.float64]
) -> None:
    intensity = np.abs(amplitude(crystal(scan.sample_rotation @ rotation, strain=0.0), scan.grid())) ** 2
    assert np.unravel_index(np.argmax(intensity), intensity.shape) == (4, 3, 5)


def test_sheared_and_orthogonal_grids_agree_on_a_detector_plane(scan: RockingScan, atoms: Atoms) -> None:
    """At the middle frame the detector's axes and k_f are perpendicular: a whole plane is shared (NUFFT, direct)."""
    sheared = scan.grid()
    along = scan.exit_direction(3, 5)
    square = QGrid(sheared.centre, np.stack([0.02 * along, *sheared.step[1:]]), (5, 7, 11))
    gram = square.step @ square.step.T
    assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-15)
    assert abs(sheared.step[0] @ sheared.step[1]) > 1e-3 * np.prod(np.linalg.norm(sheared.step[:2], axis=1))
    ours, reference = amplitude(atoms, sheared)[4], amplitude(atoms, square, route="direct")[2]
    assert np.linalg.norm(ours - reference) < 1e-8 * np.linalg.norm(reference)


@pytest.mark.parametrize("voxel", [(0, 0, 0), (7, 2, 9), (8, 6, 0)])
def test_every_voxel_is_a_point_of_an_orthogonal_grid(
    scan: RockingScan, atoms: Atoms, voxel: tuple[int, int, int]
) -> None:
    sheared = scan.grid()
    q = np.stack([axis[voxel] for axis in sheared.axes()])
    square = QGrid.orthogonal(q, (30.0, 40.0, 50.0), 2.5, (3, 5, 4))
    expected = amplitude(atoms, square, route="direct")[1, 2, 2]
    assert amplitude(atoms, sheared)[voxel] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_grid_is_the_scan_to_first_order(scan: RockingScan) -> None:
    """Halving the voxel quarters the departure of the tangent grid from the exact q."""
    offset = np.array([4.0, -3.0, 5.0])
    grid, centre = scan.grid(), np.array([4.0, 3.0, 5.0])
    far, near = (
        np.linalg.norm(scan.q(*(centre + scale * offset)) - (grid.centre + scale * offset @ grid.step))
        for scale in (0.1, 0.05)
    )
    assert far / near == pytest.approx(4, rel=0.05)
