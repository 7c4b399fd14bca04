"""Convex shapes: sizes, chords, centroids, and planes that bound nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cdi.shapes.ball import Ball
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron
from cdi.shapes.shape import Shape

Array = NDArray[np.float64]


def random_polyhedron(seed: int) -> Shape:
    rng = np.random.default_rng(seed)
    normals = np.concatenate([np.eye(3), -np.eye(3), rng.normal(size=(5, 3))]) @ Rotation.random(rng=rng).as_matrix()
    return Polyhedron.centred(normals, 50 * rng.uniform(0.6, 1.2, len(normals)))


def test_a_ball_measures_its_diameter_along_any_axis() -> None:
    """The extent along an axis of length l is l × diameter."""
    np.testing.assert_allclose(Ball.of_diameter(60).extent(np.array([[0, 0, 1.0], [3.0, 4, 0]])), [60, 300])


def test_a_cube_measures_its_edges_however_it_is_turned(rotation: Array) -> None:
    """Ratio below 1/√3 leaves the cube: along an axis e of the laboratory it measures edge · Σ|e · cube axis|."""
    cube = truncated_octahedron(100, rotation, ratio=0.5)
    np.testing.assert_allclose(cube.extent(np.eye(3)), 50 * np.abs(rotation).sum(1))
    np.testing.assert_allclose(cube.extent(rotation.T), [50, 50, 50])


def test_an_octahedron_reaches_its_tips(rotation: Array) -> None:
    """Ratio just below √3: {111} facets at d/2 meet at √3 d/2 along ⟨100⟩."""
    shape = truncated_octahedron(100, rotation, ratio=np.sqrt(3) - 1e-9)
    np.testing.assert_allclose(shape.extent(rotation.T), [100 * np.sqrt(3)] * 3, rtol=1e-6)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_chords_end_on_the_boundary(seed: int, ball: bool) -> None:
    """Both ends at distance 0, the middle inside; a line that reports no chord never enters."""
    rng = np.random.default_rng(seed)
    shape = Ball.of_diameter(90) if ball else random_polyhedron(seed)
    point, direction = rng.normal(size=3) * 25, rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    chord = shape.chord(point, direction)
    if chord is None:
        line = point + np.linspace(-300, 300, 2001)[:, None] * direction
        assert (shape.signed_distance(torch.as_tensor(line)) > -0.2).all()
    else:
        low, high = chord
        ends = torch.as_tensor(point + np.array([[low], [(low + high) / 2], [high]]) * direction)
        distance = shape.signed_distance(ends).numpy()
        np.testing.assert_allclose(distance[[0, 2]], 0, atol=1e-9)
        assert distance[1] < 0


def test_a_line_beside_the_shape_has_no_chord() -> None:
    """Parallel to a face as well as oblique."""
    cube = Polyhedron.centred(np.concatenate([np.eye(3), -np.eye(3)]), np.full(6, 10.0))
    assert cube.chord(np.array([0, 11.0, 0]), np.array([1.0, 0, 0])) is None
    assert cube.chord(np.array([0, 25.0, 0]), np.array([0.6, 0.8, 0])) is None
    assert Ball.of_diameter(20).chord(np.array([0, 11.0, 0]), np.array([1.0, 0, 0])) is None
    assert cube.chord(np.array([0, 9.0, 0]), np.array([1.0, 0, 0])) == pytest.approx((-10, 10))


@pytest.mark.parametrize("seed", range(4))
def test_a_polyhedron_is_centred_on_its_centroid(seed: int) -> None:
    """The mean of uniform points inside is 0 within four standard errors (Monte Carlo)."""
    shape = random_polyhedron(seed)
    half = shape.extent(np.eye(3))
    points = torch.as_tensor(np.random.default_rng(seed).uniform(-half, half, (200_000, 3)))
    inside = points[shape.signed_distance(points) <= 0].numpy()
    assert (np.abs(inside.mean(0)) < 4 * inside.std(0) / np.sqrt(len(inside))).all()


def test_a_polyhedron_does_not_depend_on_where_its_planes_are_counted_from() -> None:
    """Planes shifted by t, normals of any length: the same shape about its centroid."""
    normals = np.concatenate([np.eye(3), -np.eye(3), [[1, 1, 1.0]]])
    distances = np.array([10, 12, 14, 9, 8, 7, 13.0])
    first = Polyhedron.centred(normals, distances)
    shift = np.array([1.0, -2, 0.5])
    unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    second = Polyhedron.centred(3 * normals, distances + unit @ shift)
    np.testing.assert_allclose(first.distances, second.distances)


OPEN = {
    "half space": ([(0, 0, 1)] * 4, [1] * 4),
    "slab": ([(0, 0, 1), (0, 0, -1)], [1, 1]),
    "prism": ([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, -1)], [1] * 5),
    "cone": ([(1, 0, 1), (-1, 0, 1), (0, 1, 1), (0, -1, 1), (0, 0, 1)], [1, 1, 1, 1, 0.9]),
    "funnel": ([(1, 0, -0.1), (-1, 0, -0.1), (0, 1, -0.1), (0, -1, -0.1), (0, 0, -1)], [1, 1, 1, 1, 5]),
    "beside the origin": (np.concatenate([np.eye(3), -np.eye(3)]), [-1, 1, 1, 2, 1, 1]),
}


@pytest.mark.parametrize("name", OPEN)
def test_planes_that_bound_nothing_are_refused(name: str) -> None:
    normals, distances = OPEN[name]
    with pytest.raises(ValueError, match="planes must enclose"):
        Polyhedron.centred(np.asarray(normals, float), np.asarray(distances, float))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a radius or normals with distances"),
        ({"radius": 1.0, "normals": np.eye(3), "distances": np.ones(3)}, "either a radius or normals with distances"),
        ({"radius": 0.0}, "radius must be positive"),
        ({"normals": 2 * np.eye(3), "distances": np.ones(3)}, "normals must be unit vectors"),
        ({"normals": np.eye(3), "distances": np.array([1, 0, 1.0])}, "distances must be positive"),
    ],
)
def test_malformed_shapes_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shape(**arguments)  # type: ignore[arg-type]
