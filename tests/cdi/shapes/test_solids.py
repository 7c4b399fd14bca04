"""Balls, ellipsoids, rods and polyhedra: sizes by formula, and what is refused."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cdi.shapes.ball import Ball
from cdi.shapes.ellipsoid import Ellipsoid
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron
from cdi.shapes.rod import Rod
from cdi.shapes.solids import ball_volume, cube, cuboid, dodecahedron, random_polyhedron

Array = NDArray[np.float64]
FACES = np.concatenate([np.eye(3), -np.eye(3)])


def tensors(*values: object) -> tuple[torch.Tensor, ...]:
    return tuple(torch.as_tensor(value, dtype=torch.float64) for value in values)


def test_a_ball_measures_its_diameter_along_any_axis() -> None:
    """The extent along an axis of length l is l × diameter."""
    np.testing.assert_allclose(Ball.of_diameter(60).extent(np.array([[0, 0, 1.0], [3.0, 4, 0]])), [60, 300])


def test_a_cube_measures_its_edges_however_it_is_turned(rotation: Array) -> None:
    """Along an axis e of the laboratory it measures edge · Σ|e · cube axis|; below ratio 1/√3 only the cube is left."""
    for shape in (truncated_octahedron(100, rotation, ratio=0.5), cube(50.0, rotation)):
        np.testing.assert_allclose(shape.extent(np.eye(3)), 50 * np.abs(rotation).sum(1))
        np.testing.assert_allclose(shape.extent(rotation.T), [50, 50, 50])


def test_a_cuboid_has_its_edges_along_the_columns_of_its_rotation(rotation: Array) -> None:
    shape = cuboid([30.0, 50, 80], rotation)
    np.testing.assert_allclose(shape.extent(rotation.T), [30, 50, 80])
    assert shape.volume == pytest.approx(30 * 50 * 80)


def test_an_octahedron_reaches_its_tips(rotation: Array) -> None:
    """Ratio just below √3: {111} facets at d/2 meet at √3 d/2 along ⟨100⟩."""
    shape = truncated_octahedron(100, rotation, ratio=np.sqrt(3) - 1e-9)
    np.testing.assert_allclose(shape.extent(rotation.T), [100 * np.sqrt(3)] * 3, rtol=1e-6)


def test_the_regular_truncated_octahedron_has_its_published_volume(rotation: Array) -> None:
    """V = 8√2 e³, {100} squares e², {111} hexagons 3√3/2 e², hexagons √6 e apart (Weisstein, MathWorld)."""
    edge = 20.0
    shape = truncated_octahedron(6**0.5 * edge, rotation, ratio=2 / 3**0.5)
    assert shape.volume == pytest.approx(8 * 2**0.5 * edge**3)
    np.testing.assert_allclose(shape.facet_areas, [3 * 3**0.5 / 2 * edge**2] * 8 + [edge**2] * 6)


def test_the_dodecahedron_has_its_published_shape(rotation: Array) -> None:
    """Twelve equal pentagons; area/V^⅔ = 5.3117 (isoperimetric: 36π V²/A³ = 0.7547)."""
    shape = dodecahedron(80, rotation)
    areas = shape.facet_areas
    np.testing.assert_allclose(areas, areas[0])
    assert 36 * np.pi * shape.volume**2 / areas.sum() ** 3 == pytest.approx(0.7547, abs=1e-4)
    assert shape.volume == pytest.approx(np.pi / 6 * 80**3)


def test_an_ellipsoid_with_equal_axes_is_a_ball(rotation: Array) -> None:
    """Distance, reach and chord at every point, inside and outside."""
    ball, ellipsoid = Ball.of_diameter(80), Ellipsoid(*tensors([40, 40, 40], rotation))
    points = torch.as_tensor(np.random.default_rng(0).normal(size=(50, 3)) * 40)
    np.testing.assert_allclose(ellipsoid.signed_distance(points), ball.signed_distance(points), atol=1e-12)
    np.testing.assert_allclose(ellipsoid.reach(rotation), ball.reach(rotation))
    assert ellipsoid.chord([5, 3, 1], [1, 2, 3]) == pytest.approx(ball.chord([5, 3, 1], [1, 2, 3]))
    assert ellipsoid.volume == pytest.approx(ball.volume)


def test_an_ellipsoid_has_its_axes_along_the_columns_of_its_rotation(rotation: Array) -> None:
    shape = Ellipsoid(*tensors([20, 35, 50], rotation))
    np.testing.assert_allclose(shape.extent(rotation.T), [40, 70, 100])
    tips = torch.as_tensor((rotation * [20, 35, 50]).T.copy())
    np.testing.assert_allclose(shape.signed_distance(tips), 0, atol=1e-12)
    np.testing.assert_allclose(shape.signed_distance(torch.zeros(1, 3, dtype=torch.float64)), -20)


def test_an_ellipsoids_distance_is_right_to_first_order(rotation: Array) -> None:
    """1 Å along the normal off the boundary it errs by the curvature only: less than 2 %."""
    shape = Ellipsoid(*tensors([200, 350, 500], rotation))
    rays = np.random.default_rng(0).normal(size=(40, 3))
    ends = torch.as_tensor(np.array([shape.chord(np.zeros(3), ray)[1] * ray for ray in rays])).requires_grad_()
    (normal,) = torch.autograd.grad(shape.signed_distance(ends).sum(), ends)
    for step in (-1.0, 1.0):
        np.testing.assert_allclose(shape.signed_distance(ends + step * normal).detach(), step, rtol=0.02)


def test_a_rod_measures_its_length_and_diameter(rotation: Array) -> None:
    shape = Rod(*tensors(15, 90, 2 * rotation[:, 1]))
    np.testing.assert_allclose(shape.extent(rotation.T), [30, 90, 30])
    assert shape.volume == pytest.approx(np.pi * 15**2 * 90)
    assert shape.chord(rotation[:, 1] * 100, -rotation[:, 1]) == pytest.approx((55, 145))
    assert shape.chord(rotation[:, 0] * 16, rotation[:, 1]) is None
    assert shape.chord(rotation[:, 1] * 46, rotation[:, 0]) is None


def test_a_line_beside_the_shape_has_no_chord() -> None:
    """Parallel to a face as well as oblique."""
    shape = Polyhedron.centred(FACES, np.full(6, 10.0))
    assert shape.chord(np.array([0, 11.0, 0]), np.array([1.0, 0, 0])) is None
    assert shape.chord(np.array([0, 25.0, 0]), np.array([0.6, 0.8, 0])) is None
    assert Ball.of_diameter(20).chord(np.array([0, 11.0, 0]), np.array([1.0, 0, 0])) is None
    assert shape.chord(np.array([0, 9.0, 0]), np.array([1.0, 0, 0])) == pytest.approx((-10, 10))


@pytest.mark.parametrize("seed", range(4))
def test_a_random_polyhedron_is_bounded_by_all_its_planes(seed: int) -> None:
    """Every plane holds a facet, Σ area · normal = 0 (Minkowski), and (1/3) Σ area · distance is the volume."""
    shape = random_polyhedron(300, np.random.default_rng(seed))
    areas = shape.facet_areas
    assert (areas > 0).all()
    np.testing.assert_allclose(areas @ shape.normals.numpy(), 0, atol=1e-9 * areas.sum())
    assert areas @ shape.distances.numpy() / 3 == pytest.approx(shape.volume) == pytest.approx(ball_volume(300))


def test_a_random_polyhedron_is_its_generators() -> None:
    """The same seed gives the same solid; the next draw another one."""
    first, again = (random_polyhedron(80, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.distances, again.distances)
    generator = np.random.default_rng(7)
    random_polyhedron(80, generator)
    assert not np.array_equal(random_polyhedron(80, generator).distances, first.distances)


def test_a_polyhedron_does_not_depend_on_where_its_planes_are_counted_from() -> None:
    """Planes shifted by t, normals of any length: the same shape about its centroid."""
    normals = np.concatenate([FACES, [[1, 1, 1.0]]])
    distances = np.array([10, 12, 14, 9, 8, 7, 13.0])
    first = Polyhedron.centred(normals, distances)
    shift = np.array([1.0, -2, 0.5])
    unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    second = Polyhedron.centred(3 * normals, distances + unit @ shift)
    np.testing.assert_allclose(first.distances, second.distances)


def test_idle_planes_are_dropped_and_nothing_else(rotation: Array) -> None:
    """A plane that touches a corner, or misses the solid, bounds nothing."""
    normals = np.concatenate([FACES, [[1, 1, 1], [1, 0, 1], [0.0, -1, -1]]]) @ rotation.T
    distances = np.array([10.0] * 6 + [30 / 3**0.5, 25, 12])
    shape = Polyhedron.centred(normals, distances)
    kept = shape.without_idle_planes()
    assert len(kept.distances) == 7
    assert kept.volume == pytest.approx(shape.volume)


OPEN = {
    "half space": ([(0, 0, 1)] * 4, [1] * 4),
    "slab": ([(0, 0, 1), (0, 0, -1)], [1, 1]),
    "prism": ([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, -1)], [1] * 5),
    "cone": ([(1, 0, 1), (-1, 0, 1), (0, 1, 1), (0, -1, 1), (0, 0, 1)], [1, 1, 1, 1, 0.9]),
    "funnel": ([(1, 0, -0.1), (-1, 0, -0.1), (0, 1, -0.1), (0, -1, -0.1), (0, 0, -1)], [1, 1, 1, 1, 5]),
    "beside the origin": (FACES, [-1, 1, 1, 2, 1, 1]),
}


@pytest.mark.parametrize("name", OPEN)
def test_planes_that_bound_nothing_are_refused(name: str) -> None:
    normals, distances = OPEN[name]
    with pytest.raises(ValueError, match="planes must enclose"):
        Polyhedron.centred(np.asarray(normals, float), np.asarray(distances, float))


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (Ball, (0.0,), "radius must be positive"),
        (Ball, (np.inf,), "radius must be positive"),
        (Ellipsoid, ([1.0, 2, 0], np.eye(3)), "semi_axes must be 3 positive lengths"),
        (Ellipsoid, ([1.0, 2], np.eye(3)), "semi_axes must be 3 positive lengths"),
        (Ellipsoid, ([1.0, 2, 3], np.ones((3, 3))), "rotation must be a"),
        (Rod, (-1.0, 2.0, [0, 0, 1.0]), "radius must be positive"),
        (Rod, (1.0, np.nan, [0, 0, 1.0]), "length must be positive"),
        (Rod, (1.0, 2.0, [0, 0, 0.0]), "axis must be a direction"),
        (Polyhedron, (2 * np.eye(3), np.ones(3)), "normals must be unit vectors"),
        (Polyhedron, (np.eye(3), np.array([1, 0, 1.0])), "distances must be positive"),
        (Polyhedron, (np.eye(3), np.ones(4)), r"normals must be \(f, 3\), one for each distance"),
        (cuboid, ([1.0, -2, 3], np.eye(3)), "edges must be 3 positive lengths"),
        (ball_volume, (0.0,), "diameter must be positive"),
    ],
)
def test_malformed_shapes_are_refused(build: type, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(*arguments)


def test_scaling_keeps_the_form() -> None:
    """Twice the edge is eight times the volume, facets in the same proportions."""
    shape = random_polyhedron(100, np.random.default_rng(1))
    larger = shape.with_volume(8 * shape.volume)
    np.testing.assert_allclose(larger.distances, 2 * shape.distances)
    turn = Rotation.from_rotvec([1, 2, 3.0]).as_matrix()
    np.testing.assert_allclose(larger.extent(turn), 2 * shape.extent(turn))
