"""Networks: Burgers vectors are conserved at nodes, each line appears once and winds by its own b."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cdi.defects.dislocation_loop import DislocationLoop
from cdi.defects.dislocation_network import DislocationNetwork, junction_on
from cdi.defects.line import DislocationLine
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SlipSystem
from cdi.shapes.ball import Ball

Array = NDArray[np.float64]
GOLD = Lattice.of_material("Au")
LOMER = (SlipSystem((0.5, -0.5, 0), (1, 1, 1)), SlipSystem((0, 0.5, 0.5), (1, 1, -1)))

NODES = np.array([[-20.0, 1, 3], [18, -2, 4], [2, 19, -5], [1, -17, -6], [3, 2, 22]])
SEGMENTS = [(0, 1), (1, 2), (2, 0), (3, 0), (1, 3), (3, 2), (4, 0), (1, 4)]


def conserved_burgers(rotation: Array) -> Array:
    """Sum of four loops, each with its own b: what every network is."""
    loops = {(0, 1, 2): (2.0, 0.4, -1), (0, 1, 3): (-1.0, 1.5, 0.3), (0, 1, 4): (0.2, 0.1, 1.8), (0, 2, 3): (0, 1, 1)}
    total = np.zeros((len(SEGMENTS), 3))
    for ring, burgers in loops.items():
        for pair in zip(ring, (*ring[1:], ring[0]), strict=True):
            if pair in SEGMENTS:
                total[SEGMENTS.index(pair)] += burgers
            else:
                total[SEGMENTS.index(pair[::-1])] -= burgers
    return np.asarray(total @ rotation.T)


def network(rotation: Array) -> DislocationNetwork:
    return DislocationNetwork.of_segments(NODES @ rotation.T, SEGMENTS, conserved_burgers(rotation), 0.33)


def winding(found: DislocationNetwork, line: DislocationLine, part: int = 0) -> Array:
    """Σ du on a right-handed circle around the middle of one side, without jumps (each a lone large step)."""
    start, end = line.points[part : part + 2]
    along = (end - start) / np.linalg.norm(end - start)
    x = np.cross(along, [0.36, 0.48, 0.8])
    x /= np.linalg.norm(x)
    angle = np.linspace(0, 2 * np.pi, 2001)[:, None]
    path = (start + end) / 2 + 1.5 * (np.cos(angle) * x + np.sin(angle) * np.cross(along, x))
    steps = np.diff(found.displacement(torch.as_tensor(path)).numpy(), axis=0)
    smooth = np.linalg.norm(steps, axis=1) < 0.05
    assert (~smooth).sum() <= len(found.loops)
    # A step across a cut is as smooth as its neighbours besides the jump.
    return steps[smooth].sum(0) * len(steps) / smooth.sum()


def test_the_burgers_circuit_around_every_segment_closes_to_its_own_b(rotation: Array) -> None:
    """Of tree and chords alike, though the field is a sum of loops."""
    found = network(rotation)
    burgers = conserved_burgers(rotation)
    nodes = NODES @ rotation.T
    for (start, end), expected in zip(SEGMENTS, burgers, strict=True):
        line = DislocationLine(nodes[[start, end]], expected)
        np.testing.assert_allclose(winding(found, line), expected, atol=0.02)


def test_lines_of_a_network_are_its_segments_each_once(rotation: Array) -> None:
    """Joined where only two meet (node 4), cut where more do; b in the sense of each line."""
    found = network(rotation).lines(Ball.of_diameter(100.0))
    burgers, nodes = conserved_burgers(rotation), NODES @ rotation.T
    assert len(found) == 7
    assert sum(line.length for line in found) == pytest.approx(
        sum(np.linalg.norm(nodes[j] - nodes[i]) for i, j in SEGMENTS)
    )
    for line in found:
        ends = [int(np.linalg.norm(nodes - point, axis=1).argmin()) for point in line.points[:2]]
        sign = 1 if tuple(ends) in SEGMENTS else -1
        np.testing.assert_allclose(line.burgers, sign * burgers[SEGMENTS.index(tuple(ends[::sign]))], atol=1e-9)


def test_a_long_ring_of_segments_is_the_loop(rotation: Array) -> None:
    """Paths through the spanning tree keep their order; the segments may be listed in any sense and order."""
    angle = np.arange(7) * 2 * np.pi / 7
    ring = np.stack([20 * np.cos(angle), 14 * np.sin(angle), 3 * np.cos(3 * angle)], -1) @ rotation.T
    segments = [(3, 4), (1, 0), (1, 2), (5, 4), (5, 6), (0, 6), (2, 3)]
    burgers = np.array([1, -1, 1, -1, 1, -1, 1])[:, None] * np.array([1.5, 0.3, -2])
    found = DislocationNetwork.of_segments(ring, segments, burgers, 0.3)
    points = torch.as_tensor(np.random.default_rng(2).normal(size=(100, 3)) * 20)
    expected = DislocationLoop(ring, burgers[0], 0.3)
    # The loop may run the other way round, so that it is seen from 10⁻⁶ Å on the other side.
    torch.testing.assert_close(found.displacement(points), expected.displacement(points), atol=1e-5, rtol=0)
    (line,) = found.lines(Ball.of_diameter(60.0))
    assert line.is_closed


def test_burgers_vectors_add_up_to_nothing_at_every_node(rotation: Array) -> None:
    leaving: dict[tuple[float, ...], Array] = {}
    for line in network(rotation).lines(Ball.of_diameter(100.0)):
        for point, sign in ((line.points[0], 1), (line.points[-1], -1)):
            key = tuple(point.round(3))
            leaving[key] = leaving.get(key, np.zeros(3)) + sign * line.burgers
    assert len(leaving) == 4
    np.testing.assert_allclose(list(leaving.values()), 0, atol=1e-9)


def test_two_halves_of_a_loop_are_the_loop() -> None:
    """The shared side carries b − b = 0: it is no line, though one half has a corner on it."""
    corners = np.array([[0.0, 0, 0], [20, 0, 0], [20, 12, 3], [0, 12, 3]])
    whole = DislocationLoop(corners, (1, 2, 0.5), 0.3, cap=(10.0, 0, 0))
    middle, other, inner = (np.array([[10.0, 0, 0]]), np.array([[10.0, 12, 3]]), np.array([[10.0, 6, 1.5]]))
    left = DislocationLoop(np.concatenate([corners[:1], middle, other, corners[3:]]), (1, 2, 0.5), 0.3)
    right = DislocationLoop(np.concatenate([middle, corners[1:3], other, inner]), (1, 2, 0.5), 0.3)
    halves = DislocationNetwork((left, right))
    (line,) = halves.lines(Ball.of_diameter(90.0))
    assert line.is_closed
    assert line.length == pytest.approx(40 + 2 * 153**0.5)
    points = torch.as_tensor(np.random.default_rng(0).normal(size=(200, 3)) * 15)
    torch.testing.assert_close(halves.displacement(points), whole.displacement(points))


def test_a_lomer_junction_carries_the_sum_of_both_burgers_vectors(rotation: Array) -> None:
    """½[1-10] + ½[011] = ½[101], a third ⟨110⟩, over the length asked for; four arms leave its ends."""
    found = junction_on(GOLD, LOMER, centre=np.array([2.0, 1, -3]), length=24.0, reach=300.0, orientation=rotation)
    lines = found.lines(Ball.of_diameter(80.0))
    assert len(lines) == 5
    (lock,) = [line for line in lines if line.length == pytest.approx(24.0)]
    direction = lock.points[1] - lock.points[0]
    burgers = rotation @ GOLD.direction((0.5, 0, 0.5))
    np.testing.assert_allclose(lock.burgers, burgers * np.sign(direction @ rotation @ [-1, 1, 0]))
    assert GOLD.is_lattice_vector(GOLD.fractions(rotation.T @ lock.burgers))
    np.testing.assert_allclose(winding(found, lock), lock.burgers, atol=0.02)
    for arm in lines:
        if arm is not lock:
            assert min(np.linalg.norm(arm.points[0] - end) for end in lock.points) < 1e-6 or (
                min(np.linalg.norm(arm.points[-1] - end) for end in lock.points) < 1e-6
            )
            plane = [s for s in LOMER if np.allclose(np.abs(arm.burgers @ rotation @ GOLD.plane_normal(s.normal)), 0)]
            assert any(
                abs((arm.points[1] - arm.points[0]) @ rotation @ GOLD.plane_normal(s.normal)) < 1e-9 for s in plane
            )


def test_derivatives_with_respect_to_nodes_and_burgers_vectors_pass_gradcheck(rotation: Array) -> None:
    points = torch.as_tensor(np.random.default_rng(1).normal(size=(3, 3)) * 20)
    nodes = torch.as_tensor(NODES @ rotation.T, dtype=torch.float64).requires_grad_()
    burgers = torch.as_tensor([[2.0, 0.4, -1.0]] * 3, dtype=torch.float64).requires_grad_()

    def field(nodes: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        return DislocationNetwork.of_segments(nodes, SEGMENTS[:3], vector.expand(3, 3), 0.3).displacement(points)

    assert torch.autograd.gradcheck(field, (nodes, burgers[:1].detach().requires_grad_()))


def test_a_network_with_a_partial_loop_counts_as_a_fault(rotation: Array) -> None:
    perfect = network(rotation)
    assert perfect.defect_class == "loop-or-network"
    partial = DislocationLoop(NODES[:3], (1, 0, 0), 0.3, faulted=True)
    assert DislocationNetwork((*perfect.loops, partial)).defect_class == "partial-or-fault"


def test_only_loops_with_missing_layers_empty_sites(rotation: Array) -> None:
    square = np.array([[9.0, 9, 0], [-9, 9, 0], [-9, -9, 0], [9, -9, 0]])
    glide, vacancy = DislocationLoop(square, (2, 0, 0), 0.3), DislocationLoop(square, (0, 0, 2), 0.3)
    points = torch.tensor([[1.0, 2.0, 0.5], [1.0, 2.0, 3.0], [14.0, 2.0, 0.5]])
    assert DislocationNetwork((glide,)).occupancy(points) is None
    present = DislocationNetwork((glide, vacancy)).occupancy(points)
    assert present is not None
    assert present.tolist() == [0, 1, 1]


def test_an_open_node_is_named(rotation: Array) -> None:
    burgers = conserved_burgers(rotation)
    burgers[7] *= 2
    with pytest.raises(ValueError, match=r"burgers must add up to 0 at every node, at node [14]"):
        DislocationNetwork.of_segments(NODES, SEGMENTS, burgers, 0.3)


RING = {"nodes": NODES[:3], "segments": SEGMENTS[:3], "burgers": np.tile([1.0, 0, 2], (3, 1))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": NODES[:3, :2]}, "nodes must have shape"),
        ({"segments": [(0, 1), (1, 2), (2, 3)]}, "segments must be pairs of indices below 3"),
        ({"segments": [(0, 1), (1, 0), (2, 0)]}, "segments must each join two nodes"),
        ({"burgers": np.ones((2, 3))}, "burgers must have shape"),
    ],
)
def test_malformed_networks_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DislocationNetwork.of_segments(**{**RING, **change}, poisson_ratio=0.3)  # type: ignore[arg-type]


def test_a_network_needs_a_loop_and_one_that_meets_the_crystal(rotation: Array) -> None:
    with pytest.raises(ValueError, match="loops must hold at least one loop"):
        DislocationNetwork(())
    with pytest.raises(ValueError, match="a dislocation must cross the crystal"):
        network(rotation).lines(Ball.of_diameter(1.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": 0.0}, "length must be positive"),
        ({"reach": -1.0}, "reach must be positive"),
        (
            {"systems": (LOMER[0], SlipSystem((0, 0.5, -0.5), (1, 1, 1)))},
            "systems must have two slip planes that cross",
        ),
        ({"systems": (LOMER[0], SlipSystem((0, -0.5, -0.5), (1, 1, -1)))}, "burgers must react"),
    ],
)
def test_malformed_junctions_are_refused(change: dict[str, object], message: str) -> None:
    good = {"systems": LOMER, "centre": np.zeros(3), "length": 20.0, "reach": 300.0, "orientation": np.eye(3)}
    with pytest.raises(ValueError, match=message):
        junction_on(GOLD, **{**good, **change})  # type: ignore[arg-type]
