"""Stacking faults: neighbours stay, layers change their order, and nothing is a dislocation."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cdi.crystal import Crystal
from cdi.defects.stacking_fault import StackingFault, stacking_fault_on
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball

Array = NDArray[np.float64]
PLANES = [("Au", (1, -1, 1)), ("Au", (-1, -1, -1)), ("Si", (-1, 1, 1)), ("Mg", (0, 0, 1)), ("Zn", (0, 0, -1))]
BOND = {"Au": 1.2, "Si": 1.2, "Mg": 1.2, "Zn": 1.15}


def atoms(name: str, plane: tuple[int, int, int], level: float, orientation: Array) -> tuple[Array, Array]:
    """Positions of a faulted ball, and of the perfect one."""
    lattice, ball = Lattice.of_material(name), Ball.of_diameter(42.0)
    up = orientation @ lattice.plane_normal(plane)
    fault = stacking_fault_on(lattice, plane, point=level * up / np.linalg.norm(up), orientation=orientation)
    crystals = (Crystal(lattice, ball, orientation, (fault,)), Crystal(lattice, ball, orientation))
    faulted, perfect = (crystal.atoms().positions for crystal in crystals)
    return faulted, perfect


@pytest.mark.parametrize("level", [0.0, 0.6, 1.7])
@pytest.mark.parametrize(("name", "plane"), PLANES)
def test_the_fault_is_intrinsic(rotation: Array, name: str, plane: tuple[int, int, int], level: float) -> None:
    """Wherever it is asked for, every inner atom keeps its distance and the number of its neighbours."""
    faulted, perfect = atoms(name, plane, level, rotation)
    bond = float(cKDTree(perfect).query(perfect, 2)[0][:, 1].min())
    assert cKDTree(faulted).query(faulted, 2)[0][:, 1].min() > 0.99 * bond
    counts = [
        {
            len(n) - 1
            for n in cKDTree(found).query_ball_point(found[np.linalg.norm(found, axis=1) < 14], BOND[name] * bond)
        }
        for found in (faulted, perfect)
    ]
    assert counts[0] == counts[1]
    assert len(counts[0]) == 1


def test_the_order_of_layers_changes(rotation: Array) -> None:
    """In fcc atoms two layers apart lie atop of each other at the fault alone, as in hcp."""
    lattice = Lattice.of_material("Au")
    faulted, perfect = atoms("Au", (1, -1, 1), 0.5, rotation)
    spacing = lattice.constant / np.sqrt(3)
    up = rotation @ [1, -1, 1] / np.sqrt(3)
    for found, expected in ((perfect, False), (faulted, True)):
        gap = cKDTree(found).query(found + 2 * spacing * up)[0]
        assert bool((gap < 0.01).any()) is expected


def test_the_phase_steps_by_a_third_of_a_turn_or_not_at_all(rotation: Array) -> None:
    """G·shift = ±2π/3 where the fault is seen, a multiple of 2π where it is not (Hirth & Lothe 1982, ch. 10)."""
    lattice = Lattice.of_material("Au")
    fault = stacking_fault_on(lattice, (1, 1, 1), point=np.zeros(3), orientation=rotation)
    sides = torch.as_tensor(np.array([[5.0], [-5.0]]) * (rotation @ np.ones(3)))
    above, below = fault.displacement(sides).numpy()
    for hkl, seen in (
        ((1, 1, 1), False),
        ((2, -2, 0), False),
        ((2, 0, 0), True),
        ((1, 1, -1), True),
        ((3, 1, 1), True),
    ):
        turns = (above - below) @ rotation @ lattice.reflection_vector(hkl) / (2 * np.pi)
        assert abs(turns - round(turns)) == pytest.approx(1 / 3 if seen else 0, abs=1e-9)


def test_it_has_no_lines_and_every_circuit_closes(rotation: Array) -> None:
    fault = StackingFault((1, 2, 3), rotation[1], rotation[0] * 1.7)
    assert fault.lines(Ball.of_diameter(50.0)) == ()
    assert fault.defect_class == "partial-or-fault"
    angle = np.linspace(0, 2 * np.pi, 50)[:, None]
    u = fault.displacement(torch.as_tensor(20 * np.cos(angle) * rotation[1] + 20 * np.sin(angle) * rotation[2])).numpy()
    np.testing.assert_allclose(u[-1], u[0], atol=1e-12)
    assert np.ptp(u, axis=0).max() > 0.5


def test_sites_on_the_plane_belong_to_the_part_above(rotation: Array) -> None:
    fault = StackingFault((0, 0, 0), rotation[1], rotation[0])
    sites = torch.as_tensor(3 * rotation[2] + np.array([[1e-13], [-1e-13]]) * rotation[1])
    np.testing.assert_allclose(fault.displacement(sites).numpy(), [rotation[0]] * 2)


def test_the_shift_is_differentiable(rotation: Array) -> None:
    shift = torch.as_tensor(rotation[0]).clone().requires_grad_()
    points = torch.as_tensor(np.array([[4.0, 5, 6], [-4, -5, -6]]))
    fault = StackingFault((0, 0, 0), rotation[1], shift)
    (gradient,) = torch.autograd.grad(fault.displacement(points).sum(), shift)
    assert gradient.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"point": (0, np.nan, 0)}, "point must be 3 finite numbers"),
        ({"normal": (0, 0, 2)}, "normal must be a unit vector"),
        ({"shift": (1, 0, 1)}, "shift must lie in the plane"),
    ],
)
def test_malformed_faults_are_refused(change: dict[str, object], message: str) -> None:
    good = {"point": (0, 0, 0), "normal": (0, 0, 1), "shift": (1, 0.5, 0)}
    with pytest.raises(ValueError, match=message):
        StackingFault(**{**good, **change})  # type: ignore[arg-type]


def test_planes_and_structures_without_faults_are_refused() -> None:
    with pytest.raises(ValueError, match="structure must be one of fcc, diamond, hcp to fault, got 'bcc'"):
        stacking_fault_on(Lattice.of_material("Fe"), (1, 1, 2), point=np.zeros(3), orientation=np.eye(3))
    with pytest.raises(ValueError, match="normal must be a plane of the form"):
        stacking_fault_on(Lattice.of_material("Au"), (1, 1, 0), point=np.zeros(3), orientation=np.eye(3))
