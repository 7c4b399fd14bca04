"""One entry, three routes: they agree in electrons, for several reflections at once, and refuse the same requests."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.atoms import Atoms
from cdi.crystal import Crystal
from cdi.defects.defect import Defect
from cdi.defects.straight_dislocation import dislocation_on
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Reflection
from cdi.scattering.form_factor import form_factor
from cdi.scattering.forward import CRYSTAL_ROUTES, amplitudes
from cdi.scattering.model import ScatteringModel
from cdi.scattering.object_amplitude import object_amplitudes
from cdi.shapes.ball import Ball
from cdi.shapes.polyhedron import truncated_octahedron

Array = NDArray[np.float64]
GOLD = Lattice.of_material("Au")
MODEL = ScatteringModel(energy_keV=10.0, B_A2={"Au": 0.6, "Mg": 1.7, "Na": 1.6, "Cl": 1.3, "Si": 0.5})
SHEAR = np.eye(3) + np.array([[0, 0.15, -0.1], [0, 0, 0.12], [0, 0, 0]])


def grid_for(crystal: Crystal, reflection: Reflection, *, offset: float = 0.4, ratio: float = 2.6) -> QGrid:
    """Sheared and uneven, its centre beside G."""
    shape = (20, 24, 22)
    voxel = SHEAR * (crystal.shape.extent(np.linalg.inv(SHEAR).T) * ratio / np.asarray(shape))[:, None]
    step = 2 * np.pi * np.linalg.inv(voxel).T / np.asarray(shape)[:, None]
    return QGrid(crystal.reflection_vector(reflection) + offset * (step[0] - step[2]), step, shape)


def dislocated(rotation: Array, diameter: float = 110.0) -> Crystal:
    line = dislocation_on(
        GOLD, GOLD.slip_systems()[3], character_deg=60, point=np.array([8.0, -5, 11]), orientation=rotation
    )
    return Crystal(GOLD, truncated_octahedron(diameter, rotation, ratio=1.2), rotation, (line,))


def scale(found: Tensor, reference: Tensor) -> complex:
    """The factor that fits ``reference`` to ``found`` best."""
    return complex(
        torch.vdot(reference.flatten(), found.flatten()) / torch.vdot(reference.flatten(), reference.flatten())
    )


@pytest.mark.parametrize(
    ("material", "reflection"),
    [("Au", (1, 1, 1)), ("Mg", (1, 0, 1)), ("NaCl", (2, 0, 0)), ("NaCl", (1, 1, 1)), ("Si", (2, 2, 0))],
)  # fmt: skip
def test_the_bragg_object_scatters_as_many_electrons_as_the_atoms(
    material: str, reflection: Reflection, rotation: Array
) -> None:
    """A smooth crystal: scale factor 1 to 1.5 %, phase included, for lattices of one and of two species."""
    crystal = Crystal(Lattice.of_material(material), Ball.of_diameter(160), rotation)
    views = [(reflection, grid_for(crystal, reflection))]
    (atoms,), (obj,) = (amplitudes(crystal, views, route=route, model=MODEL) for route in ("nufft", "object"))
    factor = scale(obj, atoms)
    print(f"{material} {reflection}: Bragg object / atoms = {factor:.4f}")
    assert abs(factor - 1) < 0.015


def test_the_three_routes_agree_for_a_dislocated_crystal(rotation: Array) -> None:
    """NUFFT and direct sum to 1e-8; the Bragg object to 0.99 in overlap and 2 % in scale, on two reflections."""
    crystal = dislocated(rotation)
    views: list[tuple[Reflection, QGrid]] = [(h, grid_for(crystal, h)) for h in ((1, 1, 1), (2, 0, 0))]
    direct, nufft, obj = (amplitudes(crystal, views, route=r, model=MODEL) for r in ("direct", "nufft", "object"))
    for a, b, c in zip(direct, nufft, obj, strict=True):
        assert (a - b).norm() < 1e-8 * a.norm()
        overlap = abs(complex(torch.vdot(a.flatten(), c.flatten()))) / float(a.norm() * c.norm())
        assert overlap > 0.99
        assert abs(scale(c, a) - 1) < 0.02


@pytest.mark.parametrize("route", CRYSTAL_ROUTES)
def test_several_reflections_at_once_equal_one_by_one(route: str, rotation: Array) -> None:
    """Each on its own grid; two of them share voxels, one has another shape."""
    crystal = dislocated(rotation, 60.0)
    first = grid_for(crystal, (1, 1, 1))
    shared = QGrid(crystal.reflection_vector((2, 0, 0)) + 0.2 * first.step[1], first.step, first.shape)
    other = QGrid.orthogonal(crystal.reflection_vector((2, 2, 0)), crystal.shape.extent(np.eye(3)), 2.3, (17, 16, 18))
    views: list[tuple[Reflection, QGrid]] = [((1, 1, 1), first), ((2, 2, 0), other), ((2, 0, 0), shared)]
    together = amplitudes(crystal, views, route=route)  # type: ignore[arg-type]
    for view, found in zip(views, together, strict=True):
        (alone,) = amplitudes(crystal, [view], route=route)  # type: ignore[arg-type]
        torch.testing.assert_close(found, alone, rtol=1e-8, atol=1e-8 * float(alone.abs().max()))


def test_atoms_and_their_crystal_are_one(rotation: Array) -> None:
    crystal = dislocated(rotation, 60.0)
    views: list[tuple[Reflection, QGrid]] = [((1, 1, 1), grid_for(crystal, (1, 1, 1), ratio=2.9))]
    (from_crystal,), (from_atoms,) = amplitudes(crystal, views), amplitudes(crystal.atoms(), views)
    torch.testing.assert_close(from_crystal, from_atoms)


def test_a_few_atoms_scatter_as_debye_wrote() -> None:
    """Averaged over orientations |F|² is Σ f_i f_j sin(qr)/(qr) (Debye, Ann. Phys. 351, 809, 1915): to 4 %."""
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(12, 3)) * 3
    atoms = Atoms.of_element("Cu", positions)
    q = 3.0
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    f = abs(form_factor("Cu", np.array(q), energy_keV=9.0)) ** 2
    expected = f * np.sinc(q * distance / np.pi).sum()
    directions = rng.normal(size=(1500, 3))
    directions *= q / np.linalg.norm(directions, axis=1, keepdims=True)
    grids = [QGrid(centre, 0.01 * np.eye(3), (1, 1, 1)) for centre in directions]
    views: list[tuple[Reflection, QGrid]] = [((1, 1, 1), grid) for grid in grids]
    mean = float(np.mean([abs(complex(value.squeeze())) ** 2 for value in amplitudes(atoms, views, route="direct")]))
    assert mean == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize(("diameter", "shape"), [(110.0, (20, 24, 22)), (2000.0, (40, 44, 36))])
def test_single_precision_is_exact_enough_to_train_on(
    diameter: float, shape: tuple[int, int, int], rotation: Array
) -> None:
    """1e-5 relative (L2) of the double-precision amplitude, for a small and for a large crystal; printed."""
    crystal = dislocated(rotation, diameter)
    grid = replace(grid_for(crystal, (1, 1, 1)), shape=shape)
    single, double = (
        object_amplitudes(crystal, [((1, 1, 1), grid)], model=ScatteringModel(precision=p))[0]  # type: ignore[arg-type]
        for p in ("single", "double")
    )
    error = float((single - double).norm() / double.norm())
    print(f"object route in single precision, {diameter:.0f} Å: {error:.1e}")
    assert single.dtype == torch.complex64
    assert error < 1e-5


@pytest.mark.parametrize("diameter", [300.0, 3000.0])
def test_phases_in_single_precision_are_within_a_milliradian(diameter: float, rotation: Array) -> None:
    """|ΔG·u| modulo 2π at random points of crystals up to 0.3 µm, beyond 0.5 Å from the line."""
    crystal = dislocated(rotation, diameter)
    points = torch.as_tensor(np.random.default_rng(1).uniform(-0.4, 0.4, (100_000, 3)) * diameter)
    line = crystal.defects[0]
    across = (points - line.point) @ torch.eye(3, dtype=torch.float64)  # type: ignore[attr-defined]
    across = across - (across @ line.direction)[:, None] * line.direction  # type: ignore[attr-defined]
    points = points[torch.linalg.vector_norm(across, dim=1) > 0.5]
    G = torch.as_tensor(crystal.reflection_vector((2, 2, 0)))
    exact, coarse = crystal.displacement(points) @ G, crystal.displacement(points.float()) @ G.float()
    difference = torch.remainder(coarse.double() - exact + torch.pi, 2 * torch.pi) - torch.pi
    print(f"largest phase error in single precision, {diameter:.0f} Å: {float(difference.abs().max()):.1e} rad")
    assert difference.abs().max() < 1e-3


@dataclass(frozen=True, eq=False)
class _Half(Defect):
    """Takes every site on one side away, or turns that side out of the reflection."""

    mode: str
    kind = "half"

    def displacement(self, points: Tensor) -> Tensor:
        return torch.zeros_like(points)

    def occupancy(self, points: Tensor, width: float = 0.0) -> Tensor | None:
        return torch.heaviside(-points[..., 0], points.new_tensor(0.5)) if self.mode == "vacant" else None

    def in_reflection(self, points: Tensor, G: Array, width: float = 0.0) -> Tensor | None:
        return torch.heaviside(-points[..., 0], points.new_tensor(0.5)) if self.mode == "turned" and G[0] > 0 else None


def test_vacant_and_turned_parts_do_not_scatter() -> None:
    """Half of a ball: half the peak on the reflections that lose it, all of it on the others."""
    ball = Crystal(GOLD, Ball.of_diameter(120))
    peaks = {}
    for mode, reflection in (("vacant", (1, 1, 1)), ("turned", (1, 1, 1)), ("turned", (-1, 1, 1)), ("none", (1, 1, 1))):
        view = [(reflection, grid_for(ball, reflection, offset=0.0))]
        peaks[mode, reflection] = float(object_amplitudes(replace(ball, defects=(_Half(mode),)), view)[0].abs().max())
    whole = peaks["none", (1, 1, 1)]
    assert peaks["vacant", (1, 1, 1)] == pytest.approx(whole / 2, rel=0.05)
    assert peaks["turned", (1, 1, 1)] == pytest.approx(whole / 2, rel=0.05)
    assert peaks["turned", (-1, 1, 1)] == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("route", CRYSTAL_ROUTES)
def test_undersampling_after_rotation_is_refused_on_every_route(route: str, rotation: Array) -> None:
    """Before any work: the crystal would hold 10⁹ atoms."""
    turned = Crystal(GOLD, truncated_octahedron(3000, rotation, ratio=0.5), rotation)
    grid = QGrid.orthogonal(turned.reflection_vector((1, 1, 1)), [1500] * 3, 2.4, (16, 18, 20))
    with pytest.raises(ValueError, match="oversampling must be at least 2 along every axis after rotation"):
        amplitudes(turned, [((1, 1, 1), grid)], route=route)  # type: ignore[arg-type]


def test_undersampled_atoms_are_refused(rotation: Array) -> None:
    atoms = dislocated(rotation, 60.0).atoms()
    grid = QGrid.orthogonal([0, 0, 2.7], atoms.extent * [1, 1, 0.8], 2.1, (16, 18, 20))
    with pytest.raises(ValueError, match="oversampling must be at least 2 along every axis of the grid"):
        amplitudes(atoms, [((1, 1, 1), grid)])


@pytest.mark.parametrize("route", ["nufft", "direct"])
def test_too_many_atoms_name_the_object_route(route: str) -> None:
    """A micrometre of gold has 6·10¹⁰ atoms; the Bragg object takes it."""
    crystal = Crystal(GOLD, Ball.of_diameter(10_000))
    view = [((1, 1, 1), grid_for(crystal, (1, 1, 1)))]
    with pytest.raises(ValueError, match=r"at most 10000000 atoms.*route 'object'"):
        amplitudes(crystal, view, route=route)  # type: ignore[arg-type]
    assert torch.isfinite(amplitudes(crystal, view, route="object")[0].abs()).all()


def test_an_unknown_route_of_a_crystal_lists_the_choices(rotation: Array) -> None:
    with pytest.raises(ValueError, match="route must be one of nufft, direct, object, got 'fft'"):
        amplitudes(dislocated(rotation), [], route="fft")  # type: ignore[arg-type]


def test_atoms_have_no_bragg_object(rotation: Array) -> None:
    with pytest.raises(ValueError, match="route must be one of nufft, direct for atoms, got 'object'"):
        amplitudes(dislocated(rotation, 60.0).atoms(), [], route="object")
