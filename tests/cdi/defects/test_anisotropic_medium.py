"""Stroh's field: in equilibrium, equal to a kept library's and to the isotropic one in its limit."""

import numpy as np
import pytest
import torch
from derivatives_of_fields import gradient, hessian
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from cdi.defects.anisotropic_medium import AnisotropicMedium
from cdi.defects.media import medium_of
from cdi.defects.medium import IsotropicMedium
from cdi.defects.straight_dislocation import StraightDislocation, dislocation_on
from cdi.lattices.elasticity import cubic_stiffness, isotropic_stiffness, stiffness_tensor
from cdi.lattices.lattice import Lattice

Array = NDArray[np.float64]
FAR = 1e6
"""Å at which the softened core is below the rounding of the field."""
SAMPLES = {
    "Cu": (("octahedral",), (0.0, 30.0, 60.0, 90.0)),
    "Fe": (("{110}", "{112}"), (0.0, 70.5, 90.0, -41.0)),
    "Zn": (("pyramidal c+a", "pyramidal a"), (13.0, 90.0, -57.0)),
    "Si": (("octahedral",), (0.0, 60.0, 17.0)),
    "NaCl": (("{110}", "{100}"), (35.0, 90.0)),
}


def lines_of(name: str, orientation: Array) -> list[tuple[Lattice, StraightDislocation]]:
    lattice = Lattice.of_material(name)
    families, characters = SAMPLES[name]
    medium = medium_of(lattice, orientation, "anisotropic")
    return [
        (
            lattice,
            dislocation_on(
                lattice, system, character_deg=angle, point=np.zeros(3), orientation=orientation, medium=medium
            ),
        )
        for family in families
        for system in lattice.slip_systems(family)[::5]
        for angle in characters
    ]


def points_about(count: int, scale: float, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(count, 3)) * scale


@pytest.mark.parametrize("name", SAMPLES)
def test_the_field_is_that_of_a_kept_library(name: str, rotation: Array) -> None:
    """matscipy's Stroh solution at points all around, up to a constant, at 1e-9 Å."""
    peer = pytest.importorskip("matscipy.dislocation", reason="the peer matscipy is not installed")
    points = points_about(60, FAR)
    for lattice, line in lines_of(name, rotation):
        normal, direction, burgers = (rotation.T @ v.numpy() for v in (line.normal, line.direction, line.burgers))
        reference = peer.AnisotropicDislocation(np.eye(3), normal, direction, burgers, C=lattice.stiffness)
        expected = reference.displacement(points @ rotation) @ rotation.T
        difference = line.displacement(torch.as_tensor(points)).numpy() - expected
        np.testing.assert_allclose(difference, np.broadcast_to(difference[0], difference.shape), atol=1e-9)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_medium_is_in_equilibrium(name: str, rotation: Array) -> None:
    """C_ijkl ∂²u_k/∂r_l∂r_j = 0 away from the line, in the lattice's own elasticity."""
    points = torch.as_tensor(points_about(5, FAR, seed=1))
    for lattice, line in lines_of(name, rotation)[::3]:
        second = hessian(line.displacement, points).numpy()
        stiffness = stiffness_tensor(lattice.stiffness, rotation)
        force = np.einsum("ijkl,nklj->ni", stiffness, second)
        assert np.abs(force).max() < 1e-9 * np.abs(stiffness).max() * np.abs(second).max()


@pytest.mark.parametrize("name", SAMPLES)
def test_no_net_force_acts_on_the_line(name: str, rotation: Array) -> None:
    """∮ σ·n ds = 0 on a circle about the line."""
    angle = np.arange(360) * (2 * np.pi / 360) + 0.001
    for lattice, line in lines_of(name, rotation)[::3]:
        across = line.frame[:2].numpy()
        outward = np.cos(angle)[:, None] * across[0] + np.sin(angle)[:, None] * across[1]
        strain = gradient(line.displacement, torch.as_tensor(FAR * outward)).detach().numpy()
        stress = np.einsum("ijkl,nkl->nij", stiffness_tensor(lattice.stiffness, rotation), strain)
        traction = np.einsum("nij,nj->ni", stress, outward)
        assert np.abs(traction.mean(0)).max() < 1e-9 * np.abs(traction).max()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_traction_on_the_slip_plane_is_the_energy_factor_times_b(name: str, rotation: Array) -> None:
    """σ·n = K b/(2πx): the work that opens the cut, and with it E/L = b·K·b/(4π) ln(R/r₀)."""
    for lattice, line in lines_of(name, rotation)[::2]:
        frame = line.frame.numpy()
        point = 0.7 * FAR * frame[0]
        strain = gradient(line.displacement, torch.as_tensor(point[None])).detach().numpy()[0]
        traction = np.einsum("ijkl,kl,j->i", stiffness_tensor(lattice.stiffness, rotation), strain, frame[1])
        assert isinstance(line.medium, AnisotropicMedium)
        factor = line.medium.energy_factor(line.frame).numpy()
        expected = frame.T @ factor @ frame @ line.burgers.numpy() / (2 * np.pi * 0.7 * FAR)
        np.testing.assert_allclose(traction, expected, atol=1e-9 * np.abs(traction).max())


@pytest.mark.parametrize("nu", [-0.2, 0.1, 0.3, 0.45])
def test_isotropic_constants_give_the_isotropic_field(nu: float) -> None:
    """The degenerate sextic within 1e-9 Å, inside the core too, for lines along axes and along none."""
    medium = AnisotropicMedium(isotropic_stiffness(50.0, nu), Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix())
    burgers = torch.tensor([1.3, 0.0, -0.9], dtype=torch.float64)
    x, y = torch.as_tensor(np.random.default_rng(2).normal(size=(2, 300)) * np.geomspace(0.05, 200, 300))
    frames = [*Rotation.create_group("O").as_matrix(), *Rotation.random(20, rng=3).as_matrix()]
    for frame in map(torch.as_tensor, frames):
        field = medium.straight_line_field(x, y, burgers, frame)
        expected = IsotropicMedium(nu).straight_line_field(x, y, burgers, frame)
        torch.testing.assert_close(field, expected, atol=1e-9, rtol=0)


def test_the_isotropic_limit_is_approached_in_proportion_to_the_anisotropy() -> None:
    """Halving C₄₄'s excess halves the difference from the isotropic field, from 1e-3 down to 1e-6."""
    burgers = torch.tensor([1.3, 0.0, -0.9], dtype=torch.float64)
    x, y = torch.as_tensor(np.random.default_rng(4).normal(size=(2, 100)) * 10)
    frame = torch.as_tensor(Rotation.random(rng=5).as_matrix())
    limit = IsotropicMedium(0.3).straight_line_field(x, y, burgers, frame)
    stiffness = isotropic_stiffness(50.0, 0.3)
    previous = np.inf
    for excess in 1e-3 * 0.5 ** np.arange(10):
        cubic = cubic_stiffness(stiffness[0, 0], stiffness[0, 1], stiffness[3, 3] * (1 + excess))
        field = AnisotropicMedium(cubic, np.eye(3)).straight_line_field(x, y, burgers, frame)
        difference = float((field - limit).norm())
        assert previous == np.inf or difference == pytest.approx(previous / 2, rel=1e-3)
        previous = difference


def integral_energy_factor(stiffness: Array, axes: Array) -> Array:
    """K by the integral method: −(1/π) ∫₀^π N₃ dθ, m and n turning about the line (Bacon et al. 1980)."""
    tensor = stiffness_tensor(stiffness)
    total = np.zeros((3, 3))
    steps = 256
    for angle in np.arange(steps) * np.pi / steps:
        m = np.cos(angle) * axes[0] + np.sin(angle) * axes[1]
        n = -np.sin(angle) * axes[0] + np.cos(angle) * axes[1]
        Q, R, T = (np.einsum("ijkl,j,l->ik", tensor, a, c) for a, c in ((m, m), (m, n), (n, n)))
        total += (Q - R @ np.linalg.inv(T) @ R.T) / steps
    return np.asarray(axes @ total @ axes.T)


@pytest.mark.parametrize("name", ["Cu", "Fe", "Zn", "W"])
def test_the_energy_factor_is_that_of_the_integral_method(name: str) -> None:
    """Roots and eigenvectors on one side, an integral without either on the other, degenerate lines too."""
    stiffness = Lattice.of_material(name).stiffness
    medium = AnisotropicMedium(stiffness, np.eye(3))
    for axes in (*Rotation.random(6, rng=6).as_matrix(), np.eye(3), np.eye(3)[[1, 2, 0]]):
        factor = medium.energy_factor(torch.as_tensor(axes)).numpy()
        np.testing.assert_allclose(factor, integral_energy_factor(stiffness, axes), rtol=1e-7, atol=1e-7 * 50)


@pytest.mark.parametrize("name", ["Al", "Cu", "Ag", "Au", "Si"])
def test_screws_along_110_have_the_published_energy_factor(name: str) -> None:
    """K = √(C₄₄ (C₁₁ − C₁₂)/2), the line being a two-fold axis (Hirth & Lothe 1982, ch. 13): 42.1 GPa in Cu."""
    lattice = Lattice.of_material(name)
    c11, c12, c44 = lattice.stiffness[0, 0], lattice.stiffness[0, 1], lattice.stiffness[3, 3]
    line = dislocation_on(
        lattice, lattice.slip_systems()[0], character_deg=0.0, point=np.zeros(3), orientation=np.eye(3)
    )
    factor = AnisotropicMedium(lattice.stiffness, np.eye(3)).energy_factor(line.frame)
    np.testing.assert_allclose(factor[2, :2], 0, atol=1e-9)
    assert float(factor[2, 2]) == pytest.approx(np.sqrt(c44 * (c11 - c12) / 2))
    assert name != "Cu" or float(factor[2, 2]) == pytest.approx(42.1, abs=0.05)


@pytest.mark.parametrize("name", ["Cu", "Fe", "NaCl"])
def test_edges_along_100_have_the_published_energy_factor(name: str) -> None:
    """K = (C₁₁ + C₁₂) √(C₄₄ (C₁₁ − C₁₂)/(C₁₁ (C₁₁ + C₁₂ + 2C₄₄))) (Hirth & Lothe 1982, ch. 13)."""
    stiffness = Lattice.of_material(name).stiffness
    c11, c12, c44 = stiffness[0, 0], stiffness[0, 1], stiffness[3, 3]
    factor = AnisotropicMedium(stiffness, np.eye(3)).energy_factor(torch.eye(3, dtype=torch.float64))
    edge = (c11 + c12) * np.sqrt(c44 * (c11 - c12) / (c11 * (c11 + c12 + 2 * c44)))
    np.testing.assert_allclose(factor, np.diag([edge, edge, c44]), rtol=1e-8, atol=1e-8 * edge)


def test_only_ratios_of_the_constants_enter_displacements(rotation: Array) -> None:
    stiffness = Lattice.of_material("Fe").stiffness
    x, y = torch.as_tensor(np.random.default_rng(7).normal(size=(2, 50)) * 10)
    burgers, frame = torch.tensor([1.3, 0.0, -0.9], dtype=torch.float64), torch.as_tensor(rotation)
    fields = [
        AnisotropicMedium(scale * stiffness, np.eye(3)).straight_line_field(x, y, burgers, frame)
        for scale in (1.0, 1e-3)
    ]
    torch.testing.assert_close(fields[1], fields[0])


def test_derivatives_hold_in_the_elastic_constants_and_the_orientation() -> None:
    """gradcheck where the roots differ: copper, its three constants and a turn about an axis."""
    x, y = torch.as_tensor(np.random.default_rng(9).normal(size=(2, 7)) * 10)
    burgers = torch.tensor([1.3, 0.0, -0.9], dtype=torch.float64)
    frame = torch.as_tensor(Rotation.from_rotvec([0.2, 0.5, -0.4]).as_matrix())
    parts = [torch.as_tensor(cubic_stiffness(*unit)) for unit in np.eye(3)]

    def field(constants: Tensor, angle: Tensor) -> Tensor:
        stiffness = sum(constant * part for constant, part in zip(constants, parts, strict=True))
        zero, one = torch.zeros_like(angle), torch.ones_like(angle)
        turn = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one])
        return AnisotropicMedium(stiffness, turn.reshape(3, 3)).straight_line_field(x, y, burgers, frame)

    constants = torch.tensor([1.684, 1.214, 0.754], dtype=torch.float64, requires_grad=True)
    angle = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(field, (constants, angle))


@pytest.mark.parametrize(
    ("stiffness", "orientation", "message"),
    [
        (np.eye(3), np.eye(3), r"stiffness must be a finite symmetric \(6, 6\) matrix"),
        (-np.eye(6), np.eye(3), "stiffness must be positive definite"),
        (np.eye(6), 2 * np.eye(3), r"orientation must be a \(3, 3\) rotation matrix"),
        (np.eye(6), -np.eye(3), r"orientation must be a \(3, 3\) rotation matrix"),
    ],
)
def test_malformed_media_are_refused(stiffness: Array, orientation: Array, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnisotropicMedium(stiffness, orientation)  # type: ignore[arg-type]


def test_an_unknown_elasticity_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="medium must be one of isotropic, anisotropic, got 'plastic'"):
        medium_of(Lattice.of_material("Cu"), np.eye(3), "plastic")
