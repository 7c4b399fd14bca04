"""Vacancies and voids: how many atoms they take, and the strain of the cloud."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.crystal import Crystal
from cdi.defects.vacancies import VacancyCloud, Void
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball

Array = NDArray[np.float64]
CENTRE = np.array([3.0, -2.0, 5.0])


def cloud(fraction: float = 0.12, volume: float = -0.3, nu: float = 0.36) -> VacancyCloud:
    return VacancyCloud(CENTRE, 9.0, fraction, volume, nu)


def points(count: int = 60) -> torch.Tensor:
    """Around the centre, some within the range of the series."""
    offset = np.random.default_rng(0).normal(size=(count, 3))
    return torch.as_tensor(CENTRE + offset * np.geomspace(0.01, 40, count)[:, None])


def test_the_dilatation_follows_the_concentration() -> None:
    """∇·u = v c (1 + ν)/(3(1 − ν)) and ∇ × u = 0 (Eshelby 1956)."""
    found, sites = cloud(), points()
    gradient = torch.vmap(torch.func.jacrev(lambda p: found.displacement(p[None])[0]))(sites)
    expected = -0.3 * (1 - found.occupancy(sites)) * 1.36 / (3 * 0.64)
    torch.testing.assert_close(gradient.diagonal(dim1=-2, dim2=-1).sum(-1), expected, rtol=1e-7, atol=1e-12)
    torch.testing.assert_close(gradient, gradient.mT)


def test_far_away_the_cloud_is_one_centre_of_dilatation() -> None:
    """u = ΔV (1 + ν)/(3(1 − ν)) r̂/(4π r²), ΔV of all vacancies (per atomic volume: c integrates to (2π)^1.5 w³ c₀)."""
    away = torch.tensor([[0.0, 300.0, 400.0]], dtype=torch.float64)
    volume = -0.3 * 0.12 * (2 * np.pi) ** 1.5 * 9.0**3
    expected = volume * 1.36 / (3 * 0.64) / (4 * np.pi * 500.0**2) * away / 500.0
    torch.testing.assert_close(cloud().displacement(torch.as_tensor(CENTRE) + away), expected)


def test_the_cloud_takes_its_share_of_the_atoms(rotation: Array) -> None:
    """As many as Σ c, within five standard deviations of the draw."""
    found = cloud(fraction=0.4)
    crystal = Crystal(Lattice.of_material("Cu"), Ball.of_diameter(60.0), rotation, (found,))
    sites, _ = crystal.reference_sites()
    concentration = 1 - found.occupancy(torch.as_tensor(sites)).numpy()
    missing = len(sites) - len(crystal.atoms(np.random.default_rng(1)).positions)
    assert abs(missing - concentration.sum()) < 5 * np.sqrt((concentration * (1 - concentration)).sum())
    assert missing > 100


def test_neighbours_relax_inwards_for_a_negative_relaxation_volume() -> None:
    sites = points()
    inward = (cloud().displacement(sites) * (sites - torch.as_tensor(CENTRE))).sum(-1)
    assert (inward < 0).all()


def test_derivatives_of_the_cloud_pass_gradcheck() -> None:
    inputs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (list(CENTRE), 9.0, 0.12, -0.3)]
    sites = points(6)
    for field in (VacancyCloud.displacement, VacancyCloud.occupancy):
        assert torch.autograd.gradcheck(lambda *a, field=field: field(VacancyCloud(*a, 0.36), sites), inputs)


def test_a_void_is_empty_inside_and_nothing_outside(rotation: Array) -> None:
    crystal = Crystal(Lattice.of_material("Cu"), Ball.of_diameter(60.0), rotation, (Void(CENTRE, 11.0),))
    sites, _ = crystal.reference_sites()
    expected = sites[np.linalg.norm(sites - CENTRE, axis=1) > 11.0]
    np.testing.assert_allclose(crystal.atoms().positions, expected)
    assert 0 < len(expected) < len(sites)


@pytest.mark.parametrize("found", [cloud(), Void(CENTRE, 11.0)])
def test_neither_is_a_dislocation(found: VacancyCloud | Void) -> None:
    assert found.lines(Ball.of_diameter(60.0)) == ()
    assert found.defect_class == "none"
    angle = np.linspace(0, 2 * np.pi, 200)[:, None]
    u = found.displacement(torch.as_tensor(CENTRE + np.cos(angle) * [6, 0, 0] + np.sin(angle) * [0, 4, 3])).numpy()
    np.testing.assert_allclose(u[-1], u[0], atol=1e-12)
    assert np.abs(np.diff(u, axis=0)).max() < 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre": (0, 0)}, "centre must be finite with shape"),
        ({"width": 0.0}, "width must be positive"),
        ({"fraction": 1.2}, r"fraction must lie in \[0, 1\]"),
        ({"relaxation_volume": np.inf}, "relaxation_volume must be finite"),
        ({"poisson_ratio": 0.5}, "poisson_ratio must lie in"),
    ],
)
def test_malformed_clouds_are_refused(change: dict[str, object], message: str) -> None:
    good = {"centre": CENTRE, "width": 9.0, "fraction": 0.1, "relaxation_volume": -0.3, "poisson_ratio": 0.3}
    with pytest.raises(ValueError, match=message):
        VacancyCloud(**{**good, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("centre", "radius", "message"),
    [((0, 0), 3.0, "centre must be finite"), (CENTRE, 0.0, "radius must be positive")],
)
def test_malformed_voids_are_refused(centre: Array, radius: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Void(centre, radius)  # type: ignore[arg-type]
