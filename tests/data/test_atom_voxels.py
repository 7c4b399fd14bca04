"""Support, phase and displacement from atoms: against the Bragg object of the same crystal, and by identities."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball
from data.molecular_dynamics.atom_voxels import DisplacedSites, voxel_truth

TURNED = Rotation.from_rotvec([0.4, -0.9, 0.3]).as_matrix()
DIAMETER = 52.0
STEP = np.array([[0.038, 0.004, 0.0], [0.0, 0.04, -0.003], [0.002, 0.0, 0.043]])


def ball(material: str) -> tuple[Lattice, np.ndarray, np.ndarray]:
    """Lattice, sites within a turned ball, and sites within 25 Å around it."""
    lattice = Lattice.of_material(material)
    reach = np.full(3, DIAMETER / 2 + 25)
    sites = lattice.sites_in_box(-reach, reach)[0] @ TURNED.T
    distance = np.linalg.norm(sites, axis=1) - DIAMETER / 2
    return lattice, sites[distance <= 0], sites[(distance > 0) & (distance < 25)]


def peak(lattice: Lattice, reflection: tuple[int, int, int], offset: float, shape: tuple[int, int, int]) -> tuple:
    G = TURNED @ lattice.reflection_vector(reflection)
    return G, QGrid(G + offset * STEP.sum(0), STEP, shape)


@pytest.mark.parametrize(("material", "shape"), [("Cu", (22, 26, 24)), ("Fe", (40, 36, 34))])
def test_inside_the_support_is_one_and_it_adds_up_to_the_volume(material: str, shape: tuple[int, int, int]) -> None:
    """For voxels of two sizes, some smaller than a cell; outside it is zero."""
    lattice, sites, empty = ball(material)
    view = peak(lattice, (2, 0, 0), 0.0, shape)
    truth = voxel_truth(DisplacedSites(sites, 0 * sites, empty), lattice, TURNED, [view])
    voxel = np.linalg.det(view[1].voxel)
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), -1)
    radius = np.linalg.norm(index @ view[1].voxel, axis=-1)
    reach = np.linalg.norm(view[1].voxel, axis=1).max()
    np.testing.assert_allclose(truth.support[radius < DIAMETER / 2 - 1.5 * reach], 1.0)
    assert not truth.support[radius > DIAMETER / 2 + 1.5 * reach].any()
    assert truth.support.sum() * voxel == pytest.approx(len(sites) * lattice.cell_volume / len(lattice.sites), rel=0.03)
    assert not truth.phases.any()
    assert not truth.displacement.any()


def test_a_uniform_strain_is_the_phase_of_its_reflection_with_the_ramp_of_its_grid() -> None:
    """Phase G·εr + (centre − G)·r for two reflections off their centres; displacement εr; zero outside."""
    lattice, sites, empty = ball("Cu")
    strain = np.array([[4e-3, 1e-3, 0.0], [0.0, -3e-3, 2e-3], [1e-3, 0.0, 2e-3]])
    views = [peak(lattice, (1, 1, 1), 0.7, (22, 26, 24)), peak(lattice, (0, 2, 2), -0.4, (22, 26, 24))]
    truth = voxel_truth(DisplacedSites(sites, sites @ strain.T, empty), lattice, TURNED, views)
    full = truth.support > 0.999
    assert full.sum() > 100
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in truth.support.shape), indexing="ij"), -1)
    points = index @ views[0][1].voxel
    np.testing.assert_allclose(truth.displacement[full], points[full] @ strain.T, atol=3e-3)
    for (G, grid), phase in zip(views, truth.phases, strict=True):
        expected = points @ (strain.T @ G + grid.centre - G)
        np.testing.assert_allclose(phase[full], expected[full], atol=0.02)
        assert not phase[truth.support == 0].any()


def test_a_dislocation_s_phase_is_that_of_the_medium_and_its_cut_is_seen_in_none() -> None:
    """exp(iφ) of the point field G·u away from the line; the jump of b across the cut spoils no mean."""
    lattice, sites, empty = ball("Fe")
    line = dislocation_on(
        lattice, lattice.slip_systems()[2], character_deg=60, point=TURNED @ [0.5, 0.3, 0.4], orientation=TURNED
    )  # fmt: skip
    crystal = Crystal(lattice, Ball.of_diameter(DIAMETER), TURNED, (line,))
    import torch

    views = [peak(lattice, (1, 1, 0), 0.3, (22, 26, 24)), peak(lattice, (2, 0, 0), 0.0, (22, 26, 24))]
    moved = crystal.displacement(torch.as_tensor(sites)).numpy()
    truth = voxel_truth(DisplacedSites(sites, moved, empty), lattice, TURNED, views)
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in truth.support.shape), indexing="ij"), -1)
    points = index @ views[0][1].voxel
    field = crystal.displacement(torch.as_tensor(points)).numpy()
    apart = np.linalg.norm(np.cross(points - line.point.numpy(), line.direction.numpy()), axis=-1)
    far = (truth.support > 0.999) & (apart > 12)
    for (G, grid), phase in zip(views, truth.phases, strict=True):
        difference = np.angle(np.exp(1j * (phase - field @ G - points @ (grid.centre - G))))
        assert np.abs(difference[far]).max() < 0.15
        # Continuous but for whole turns: the branch is that of the nearest atom.
        np.testing.assert_allclose(
            np.exp(1j * phase[far]), np.exp(1j * (truth.displacement @ G + points @ (grid.centre - G)))[far], atol=0.1
        )


def test_thermal_motion_averages_out_of_the_phase() -> None:
    """⟨u²⟩ lowers the mean's modulus and not its phase."""
    lattice, sites, empty = ball("Cu")
    shake = np.random.default_rng(5).normal(scale=0.12, size=sites.shape)
    view = peak(lattice, (1, 1, 1), 0.0, (22, 26, 24))
    truth = voxel_truth(DisplacedSites(sites, shake, empty), lattice, TURNED, [view])
    full = truth.support > 0.999
    assert truth.phases[0][full].std() < 2 * 0.12 * np.linalg.norm(view[0]) / np.sqrt(40)
