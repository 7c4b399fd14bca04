"""Loops on lattices: faults keep atoms apart, vacancy loops lack a layer, curved lines tend to straight ones."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cdi.crystal import Crystal
from cdi.defects.dislocation_loop import DislocationLoop
from cdi.defects.loop_shapes import circular_loop, curved_line, loop_on
from cdi.defects.medium import IsotropicMedium
from cdi.defects.straight_dislocation import StraightDislocation
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SHOCKLEY, SlipSystem, slip_systems
from cdi.shapes.ball import Ball

Array = NDArray[np.float64]
GOLD, SILICON = Lattice.of_material("Au"), Lattice.of_material("Si")
CENTRE = np.array([1.0, 2.0, 3.0])
FRANK = SlipSystem((1 / 3, 1 / 3, 1 / 3), (1, 1, 1))


def loop(system: SlipSystem, orientation: Array, lattice: Lattice = GOLD, radius: float = 18.0) -> DislocationLoop:
    return loop_on(lattice, system, centre=CENTRE, radius=radius, orientation=orientation)


def inner_atoms(found: DislocationLoop, orientation: Array, lattice: Lattice = GOLD) -> Array:
    """Atoms within 2/3 of the loop's radius around its axis."""
    positions = Crystal(lattice, Ball.of_diameter(60.0), orientation, (found,)).atoms().positions
    normal = found.area.numpy() / np.linalg.norm(found.area.numpy())
    offset = positions - found.corners.numpy().mean(0)
    return positions[np.linalg.norm(offset - np.outer(offset @ normal, normal), axis=1) < 12.0]


def nearest(positions: Array) -> float:
    return float(cKDTree(positions).query(positions, 2)[0][:, 1].min())


def test_corners_lie_on_the_circle_right_handed_about_the_normal(rotation: Array) -> None:
    found = circular_loop(CENTRE, 12.0, 3 * rotation[2], rotation[0], poisson_ratio=0.3, sides=7)
    offset = found.corners.numpy() - CENTRE
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), 12.0)
    np.testing.assert_allclose(found.area.numpy(), 7 / 2 * 144 * np.sin(2 * np.pi / 7) * rotation[2])


def test_the_radius_is_a_parameter_of_the_field(rotation: Array) -> None:
    points = torch.as_tensor(np.random.default_rng(0).normal(size=(5, 3)) * 20)
    radius, centre = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (12.0, [1.0, 2.0, 3.0]))
    assert torch.autograd.gradcheck(
        lambda r, c: circular_loop(c, r, rotation[2], rotation[0], poisson_ratio=0.3, sides=6).displacement(points),
        (radius, centre),
    )


def test_a_perfect_loop_lies_in_its_plane_with_a_lattice_vector(rotation: Array) -> None:
    for system in GOLD.slip_systems()[::5]:
        found = loop(system, rotation)
        normal = rotation @ GOLD.plane_normal(system.normal)
        np.testing.assert_allclose(np.diff(found.corners.numpy(), axis=0) @ normal, 0, atol=1e-9)
        np.testing.assert_allclose(found.burgers.numpy(), rotation @ GOLD.direction(system.burgers))
        assert found.defect_class == "loop-or-network"
        assert found.occupancy(torch.zeros(3, 3)) is None


@pytest.mark.parametrize("lattice", [GOLD, SILICON])
def test_a_shockley_loop_holds_an_intrinsic_fault_in_one_sense_alone(rotation: Array, lattice: Lattice) -> None:
    """In the accepted sense atoms keep their distance; the other would lay like layers atop of each other."""
    perfect = nearest(Crystal(lattice, Ball.of_diameter(30.0), rotation).atoms().positions)
    for system in slip_systems(SHOCKLEY, lattice.cell)[::4]:
        opposite = SlipSystem(tuple(-b for b in system.burgers), system.normal)  # type: ignore[arg-type]
        accepted = []
        for one in (system, opposite):
            try:
                accepted.append(loop(one, rotation, lattice))
            except ValueError as error:
                assert "burgers must leave an intrinsic fault inside" in str(error)  # noqa: PT017
        (found,) = accepted
        assert found.defect_class == "partial-or-fault"
        assert nearest(inner_atoms(found, rotation, lattice)) > 0.93 * perfect


def test_a_frank_loop_lacks_one_layer_and_closes_over_it(rotation: Array) -> None:
    """As many atoms as the loop's area holds in one {111} layer; above and below the fault they touch."""
    found = loop(FRANK, rotation)
    crystal = Crystal(GOLD, Ball.of_diameter(60.0), rotation, (found,))
    missing = len(crystal.reference_sites()[0]) - len(crystal.atoms().positions)
    area_per_atom = np.sqrt(3) / 4 * GOLD.constant**2
    assert missing == pytest.approx(float(found.area.norm()) / area_per_atom, rel=0.06)
    inner = inner_atoms(found, rotation)
    perfect = GOLD.constant / np.sqrt(2)
    assert nearest(inner) > 0.93 * perfect
    # No gap: every atom near the fault has 12 neighbours, hcp-like or fcc-like.
    close = np.abs((inner - found.corners.numpy().mean(0)) @ rotation @ np.ones(3) / np.sqrt(3)) < 4
    centre = inner[close][np.linalg.norm(inner[close] - found.corners.numpy().mean(0), axis=1) < 7]
    counts = [len(n) - 1 for n in cKDTree(inner).query_ball_point(centre, 1.2 * perfect)]
    assert len(counts) > 10
    assert set(counts) == {12}


def test_a_prismatic_loop_of_a_lattice_vector_heals_the_crystal_inside(rotation: Array) -> None:
    """exp(iG·u) has no jump at the removed layer: b is a lattice vector, and no fault stays."""
    found = loop(SlipSystem((0.5, 0.5, 0), (1, 1, 1)), rotation)
    assert not found.faulted
    middle, normal = found.corners.numpy().mean(0), rotation @ np.ones(3) / np.sqrt(3)
    u = found.displacement(torch.as_tensor(middle + np.array([[1e-4], [-1e-4]]) * normal)).numpy()
    phasor = np.exp(1j * u @ rotation @ GOLD.reflection_vector((1, 1, 3)))
    assert abs(phasor[0] - phasor[1]) < 1e-3
    assert nearest(inner_atoms(found, rotation)) > 0.9 * GOLD.constant / np.sqrt(2)


def test_an_interstitial_loop_is_refused(rotation: Array) -> None:
    with pytest.raises(ValueError, match="burgers must not open the loop"):
        loop(SlipSystem((-1 / 3, -1 / 3, -1 / 3), (1, 1, 1)), rotation)


def straight_and_curved(far: float, rotation: Array, scale: float) -> tuple[StraightDislocation, DislocationLoop]:
    xi, normal = rotation[2], rotation[1]
    burgers = scale * (2.1 * rotation[0] + 1.3 * xi)
    track = CENTRE + np.array([[-60.0], [5.0], [60.0]]) * xi
    straight = StraightDislocation(
        torch.as_tensor(burgers), torch.as_tensor(xi), torch.as_tensor(normal), torch.as_tensor(CENTRE),
        IsotropicMedium(0.37),
    )  # fmt: skip
    return straight, curved_line(track, burgers, 2 * normal, poisson_ratio=0.37, far=far)


def test_a_straight_track_is_the_straight_dislocation(rotation: Array) -> None:
    """Up to a rigid shift: same Burgers vector, same cut with its sites on the same side; small b, small core."""
    straight, curved = straight_and_curved(1e6, rotation, 1e-3)
    rng = np.random.default_rng(1)
    points = CENTRE + rng.normal(size=(300, 3)) * 25
    on_cut = CENTRE - rng.uniform(1, 30, (50, 1)) * rotation[0] * np.sign(
        np.cross(rotation[1], rotation[2]) @ rotation[0]
    )
    points = torch.as_tensor(np.concatenate([points, on_cut]))
    difference = (straight.displacement(points) - curved.displacement(points)) / straight.burgers.norm()
    assert (difference - difference[0]).abs().max() < 1e-3


def test_the_closing_path_adds_little(rotation: Array) -> None:
    """At a hundred crystal sizes the displacement within is off by less than a hundredth of b."""
    straight, curved = straight_and_curved(6000.0, rotation, 1e-3)
    points = np.random.default_rng(2).normal(size=(300, 3))
    points = torch.as_tensor(CENTRE + 30 * points / np.linalg.norm(points, axis=1, keepdims=True))
    difference = (straight.displacement(points) - curved.displacement(points)) / straight.burgers.norm()
    assert (difference - difference.mean(0)).norm(dim=1).max() < 0.01


def test_a_curved_line_shows_its_inner_part_alone(rotation: Array) -> None:
    angle = np.linspace(-1.2, 1.2, 9)[:, None]
    track = 50 * (np.sin(angle) * rotation[2] + (np.cos(angle) - 0.8) * rotation[0])
    found = curved_line(track, rotation[0] * 2.5, rotation[1], poisson_ratio=0.3, far=5000.0)
    (line,) = found.lines(Ball.of_diameter(60.0))
    assert not line.is_closed
    np.testing.assert_allclose(np.linalg.norm(line.points[[0, -1]], axis=1), 30.0)
    assert line.length == pytest.approx(63.9, abs=1.0)
    assert (line.points[-1] - line.points[0]) @ rotation[2] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": 0.0}, "radius must be positive"),
        ({"sides": 2}, "sides must be at least 3"),
        ({"normal": (0, 0, 0)}, "normal must be 3 finite numbers, not all 0"),
    ],
)
def test_malformed_circles_are_refused(change: dict[str, object], message: str) -> None:
    good = {"centre": CENTRE, "radius": 5.0, "normal": (0, 1, 1), "burgers": (1, 0, 0), "poisson_ratio": 0.3}
    with pytest.raises(ValueError, match=message):
        circular_loop(**{**good, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": ((0, 0, 0),)}, "points must be finite with shape"),
        ({"points": ((0, 0, 0), (9, 0, 0), (0, 0, 0))}, "points must not end where they start"),
        ({"points": ((0, 0, 0), (9, 0, 0), (18, 1, 0))}, "points must lie in the slip plane"),
        ({"far": 5.0}, "far must exceed the span"),
        ({"normal": (0, 0, 0)}, "normal must be 3 finite numbers, not all 0"),
    ],
)
def test_malformed_curved_lines_are_refused(change: dict[str, object], message: str) -> None:
    good = {
        "points": ((0, 0, 0), (9, 0, 2), (18, 0, 0)), "burgers": (2.5, 0, 0), "normal": (0, 1, 0),
        "poisson_ratio": 0.3, "far": 900.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        curved_line(**{**good, **change})  # type: ignore[arg-type]
