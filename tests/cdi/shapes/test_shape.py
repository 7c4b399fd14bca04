"""What every shape promises: volume, centroid, reach, chords, clipping and derivatives, against dense sampling."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball
from cdi.shapes.ellipsoid import Ellipsoid
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron
from cdi.shapes.rod import Rod
from cdi.shapes.shape import Shape, as_rotation
from cdi.shapes.solids import cube, cuboid, dodecahedron, random_polyhedron
from cdi.shapes.wulff import wulff

Array = NDArray[np.float64]
TURN = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()


def rotation_of(vector: Tensor) -> Tensor:
    """exp of the cross-product matrix: a rotation that stays in the graph."""
    x, y, z = vector
    o = torch.zeros_like(x)
    rows = (torch.stack([o, -z, y]), torch.stack([z, o, -x]), torch.stack([-y, x, o]))
    return torch.linalg.matrix_exp(torch.stack(rows))


SHAPES: dict[str, Shape] = {
    "ball": Ball.of_diameter(90),
    "ellipsoid": Ellipsoid(torch.tensor([31.0, 44.0, 67.0]), torch.as_tensor(TURN)),
    "rod": Rod(torch.tensor(23.0), torch.tensor(110.0), torch.tensor([1.0, -2.0, 0.7])),
    "disc": Rod(torch.tensor(55.0), torch.tensor(20.0), torch.tensor([0.3, 1.0, 0.2])),
    "cube": cube(70.0, TURN),
    "cuboid": cuboid([35.0, 60, 95], TURN),
    "truncated octahedron": truncated_octahedron(90, TURN, 1.2),
    "dodecahedron": dodecahedron(90, TURN),
    "lopsided": Polyhedron.centred([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]] @ TURN.T, [30, 40, 25, 33.0]),
    "polyhedron": random_polyhedron(90, np.random.default_rng(5)),
    "wulff": wulff(Lattice.of_material("Mg"), TURN, 90, {(0, 0, 1): 1.0, (1, 0, 0): 1.3, (1, 0, 1): 1.15}),
}

TURNED = torch.tensor([0.3, -1.0, 0.5])
MAKERS: dict[str, tuple[Callable[..., Shape], tuple[Tensor, ...]]] = {
    "ball": (Ball, (torch.tensor(41.0),)),
    "ellipsoid": (lambda s, v: Ellipsoid(s, rotation_of(v)), (torch.tensor([31.0, 44, 67]), TURNED)),
    "rod": (Rod, (torch.tensor(23.0), torch.tensor(61.0), torch.tensor([1.0, -2.0, 0.7]))),
    "cuboid": (lambda e, v: cuboid(e, rotation_of(v)), (torch.tensor([35.0, 60, 95]), TURNED)),
    "truncated octahedron": (
        lambda d, v, r: truncated_octahedron(d, rotation_of(v), r),
        (torch.tensor(90.0), TURNED, torch.tensor(1.2)),
    ),
    "polyhedron": (lambda d: Polyhedron(SHAPES["lopsided"].normals, d), (torch.tensor([30.0, 41, 25, 33]),)),
}  # fmt: skip


def cloud(shape: Shape, count: int, seed: int = 0) -> tuple[Array, Array, float]:
    """Uniform points of a box around ``shape``, which of them are inside, and the box's volume."""
    low, high = shape.reach(np.eye(3))
    points = np.random.default_rng(seed).uniform(low - 1, high + 1, (count, 3))
    return points, (shape.signed_distance(torch.as_tensor(points)) <= 0).numpy(), float(np.prod(high - low + 2))


@pytest.mark.parametrize("name", SHAPES)
def test_volume_and_centroid_are_those_of_the_points_inside(name: str) -> None:
    """Monte Carlo within four standard errors: the volume, and a centroid at the origin."""
    points, inside, box = cloud(SHAPES[name], 200_000)
    share = inside.mean()
    assert abs(SHAPES[name].volume - box * share) < 4 * box * (share * (1 - share) / len(points)) ** 0.5
    held = points[inside]
    assert (np.abs(held.mean(0)) < 4 * held.std(0) / len(held) ** 0.5).all()


@pytest.mark.parametrize("name", SHAPES)
def test_reach_bounds_the_shape_tightly(name: str) -> None:
    """No point inside lies beyond it, and the plane at the reach touches: sampled rays come within 2 %."""
    shape = SHAPES[name]
    axes = np.random.default_rng(3).normal(size=(5, 3)) * [[1.0], [2], [0.3], [1], [1]]
    low, high = shape.reach(axes)
    rays = np.random.default_rng(4).normal(size=(6000, 3))
    ends = np.array([shape.surface_point(ray) for ray in rays])
    along = ends @ axes.T
    assert (along >= low - 1e-9).all()
    assert (along <= high + 1e-9).all()
    margin = 0.05 * (high - low)
    assert (along.min(0) < low + margin).all()
    assert (along.max(0) > high - margin).all()
    np.testing.assert_allclose(shape.extent(axes), high - low)


@given(st.sampled_from(sorted(SHAPES)), st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_chords_are_what_a_dense_line_finds_inside(name: str, seed: int) -> None:
    """Inside exactly between the two ends; a line that reports no chord never enters."""
    shape, rng = SHAPES[name], np.random.default_rng(seed)
    point, direction = rng.normal(size=3) * 25, rng.normal(size=3)
    t = np.linspace(-300, 300, 4001)
    distance = shape.signed_distance(torch.as_tensor(point + t[:, None] * direction)).numpy()
    chord = shape.chord(point, direction)
    if chord is None:
        assert (distance > -0.5).all()
        return
    low, high = chord
    ends = point + np.array([[low], [high]]) * direction
    np.testing.assert_allclose(shape.signed_distance(torch.as_tensor(ends)).numpy(), 0, atol=1e-9)
    np.testing.assert_array_equal(distance < 0, (t > low) & (t < high))


@given(st.sampled_from(sorted(SHAPES)), st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_clip_keeps_the_length_that_lies_inside(name: str, seed: int) -> None:
    """A polyline of 6 points: parts are inside, in order, and as long as dense sampling says."""
    shape, rng = SHAPES[name], np.random.default_rng(seed)
    corners = rng.normal(size=(6, 3)) * 45
    parts = shape.clip(corners)
    fine = np.concatenate([a + np.linspace(0, 1, 2000, endpoint=False)[:, None] * (b - a)
                           for a, b in pairwise(corners)])  # fmt: skip
    inside = (shape.signed_distance(torch.as_tensor(fine)) < 0).numpy()
    steps = np.repeat(np.linalg.norm(np.diff(corners, axis=0), axis=1) / 2000, 2000)
    length = sum(np.linalg.norm(np.diff(part, axis=0), axis=1).sum() for part in parts)
    assert abs(length - steps[inside].sum()) < 10 * steps.max()
    for part in parts:
        assert (shape.signed_distance(torch.as_tensor(part)) < 1e-9).all()
    entries = int(inside[0]) + int((np.diff(inside.astype(int)) == 1).sum())
    assert len(parts) >= entries  # a short dip outside may fall between the samples


def test_clip_passes_over_repeated_points() -> None:
    """A polyline that stands still for a moment is one part."""
    line = np.array([[-100.0, 1, 2], [0, 1, 2], [0, 1, 2], [100, 1, 2]])
    parts = SHAPES["ball"].clip(line)
    assert len(parts) == 1
    np.testing.assert_allclose(np.abs(parts[0][[0, -1], 0]), (45**2 - 5) ** 0.5)


@pytest.mark.parametrize("name", MAKERS)
def test_signed_distance_is_differentiable_in_shape_and_points(name: str) -> None:
    """gradcheck in every parameter and in the points."""
    maker, parameters = MAKERS[name]
    leaves = tuple(parameter.double().requires_grad_() for parameter in parameters)
    points = torch.as_tensor(np.random.default_rng(1).normal(size=(7, 3)) * 40).requires_grad_()
    torch.autograd.gradcheck(lambda p, *rest: maker(*rest).signed_distance(p), (points, *leaves))


@pytest.mark.parametrize("name", MAKERS)
def test_signed_distance_has_unit_slope_at_the_boundary(name: str) -> None:
    """|∇d| = 1 where a ray leaves the shape, and d is linear there to first order."""
    maker, parameters = MAKERS[name]
    shape = maker(*parameters)
    rays = np.random.default_rng(2).normal(size=(20, 3))
    ends = torch.as_tensor(np.array([shape.surface_point(ray) for ray in rays])).requires_grad_()
    (slope,) = torch.autograd.grad(shape.signed_distance(ends).sum(), ends)
    np.testing.assert_allclose(torch.linalg.vector_norm(slope, dim=-1).numpy(), 1, atol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_signed_distance_takes_float32_grids_with_their_centre(name: str) -> None:
    """Values and derivatives are finite on a grid that holds the origin, in the points' dtype; the origin is inside."""
    axis = torch.linspace(-60, 60, 7, dtype=torch.float32)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).requires_grad_()
    distance = SHAPES[name].signed_distance(points)
    assert distance.dtype == torch.float32
    assert distance.shape == (7, 7, 7)
    (slope,) = torch.autograd.grad(distance.sum(), points)
    assert torch.isfinite(distance).all()
    assert torch.isfinite(slope).all()
    assert distance[3, 3, 3] < 0


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_convex(name: str) -> None:
    """The middle of two points inside is inside."""
    points, inside, _ = cloud(SHAPES[name], 4000, seed=9)
    held = points[inside]
    middles = (held[: len(held) // 2] + held[len(held) // 2 :][: len(held) // 2]) / 2
    assert (SHAPES[name].signed_distance(torch.as_tensor(middles)) <= 1e-9).all()


def test_a_rotation_must_be_one() -> None:
    for matrix in (np.diag([1, 1, -1.0]), 2 * np.eye(3), np.eye(2), np.full((3, 3), np.nan)):
        with pytest.raises(ValueError, match=r"rotation must be a \(3, 3\) rotation matrix"):
            as_rotation(matrix)


def test_corners_follow_planes_that_an_optimiser_moves() -> None:
    """Corners are kept only where nothing can move the planes."""
    distances = torch.tensor([20.0, 25, 30, 20, 25, 30], dtype=torch.float64, requires_grad=True)
    shape = Polyhedron(torch.cat([torch.eye(3), -torch.eye(3)]).double(), distances)
    before = shape.volume
    with torch.no_grad():
        distances *= 2
    assert shape.volume == pytest.approx(8 * before)
    still = Polyhedron(shape.normals, distances.detach())
    assert still.vertices is still.vertices


@pytest.mark.parametrize("direction", [(0.0, 0.0, 0.0), (np.nan, 0.0, 1.0)])
def test_a_direction_that_leads_nowhere_is_told(direction: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="direction must be finite and not zero"):
        Ball.of_diameter(10.0).surface_point(direction)
