"""Crystals by hand: a sheared grid, a lopsided support, a turned fcc lattice and lines with their vortices."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cdi.identifiability import equivalent_burgers
from cdi.lattices.lattice import Lattice
from training.metrics import CrystalObject, KnownLine, Line, PredictedCrystal, TrueCrystal
from training.metrics.joint_group import Alignment
from training.metrics.volumes import grid_points

Array = NDArray[np.float64]

GOLD = Lattice.of_material("Au")
SHAPE = (15, 16, 17)
VOXEL = np.array([[9.0, 0, 0], [1.5, 10.0, 0], [-0.7, 1.2, 11.0]])
TURN = np.linalg.qr(np.array([[1.0, 0.3, -0.2], [0.1, 1.0, 0.5], [0.4, -0.3, 1.0]]))[0]
TURN *= np.sign(np.linalg.det(TURN))
SPANNING = ((1, 1, 1), (1, -1, 1), (2, 0, 0))
"""They generate the reciprocal lattice of fcc, and fix every Burgers vector."""
MORE = (*SPANNING, (-1, 1, 1), (2, 2, 0))
BURGERS, OTHER = np.array([0.5, -0.5, 0]), np.array([0.0, 0.5, 0.5])


def vectors(reflections: tuple[tuple[int, int, int], ...]) -> Array:
    """G of ``GOLD`` turned by ``TURN``."""
    return GOLD.plane_normal(reflections) @ TURN.T


def support(shape: tuple[int, int, int] = SHAPE) -> Array:
    """Lopsided and off the centre: unlike its own twin."""
    x, y, z = np.moveaxis(grid_points(shape), -1, 0)
    return (((x - 0.6) / 4) ** 2 + ((y + 0.4) / 4.5) ** 2 + (z / 5) ** 2 < 1).astype(float) * (x + y - z < 4)


def known(points: Array, burgers: Array, reflections: tuple[tuple[int, int, int], ...]) -> KnownLine:
    """The line with what the reflections see of it."""
    windings = np.asarray(reflections) @ burgers
    alone = len(equivalent_burgers(burgers, GOLD, reflections)) == 1 and bool(np.abs(windings).max() > 1e-6)
    return KnownLine(points, windings, burgers, determined=alone)


def crystal(
    reflections: tuple[tuple[int, int, int], ...] = SPANNING, *, lines: int = 1, index: int = 0, seed: int = 0
) -> TrueCrystal:
    """Up to two straight lines along z of the grid with the vortex of an isotropic screw, over a smooth strain."""
    G, points = vectors(reflections), grid_points(SHAPE)
    at, burgers = ((1.3, 0.4), (-1.6, -1.8)), (BURGERS, OTHER)
    generator = np.random.default_rng(seed)
    smooth = np.einsum(
        "xyzi,ij->xyzj", np.sin(points / 3 + generator.uniform(0, 6, 3)), generator.normal(0, 0.1, (3, 3))
    )
    displacement = smooth + 0.1 * generator.normal(size=3)
    polylines = []
    for (x, y), b in list(zip(at, burgers, strict=True))[:lines]:
        angle = np.arctan2(points[..., 1] - y, points[..., 0] - x) / (2 * np.pi)
        displacement = displacement + angle[..., None] * (TURN @ GOLD.direction(b))
        polylines.append(known(np.array([[x, y, -4.0], [x, y, 0.5], [x, y, 4]]) @ VOXEL, b, reflections))
    phase = np.einsum("rj,xyzj->rxyz", G, displacement)
    return TrueCrystal(
        index, CrystalObject(support(), phase), tuple(polylines), ("none", "screw", "mixed")[lines],
        lines == 0 or any(line.visible for line in polylines), np.asarray(reflections), G, VOXEL, GOLD.cell_volume / 4,
    )  # fmt: skip


def oracle(true: TrueCrystal) -> PredictedCrystal:
    """The truth, said by a method that is sure of it."""
    lines = tuple(Line(line.points, line.windings, line.burgers, 1.0) for line in true.lines if line.visible)
    named = {"none": 0, "screw": 2, "mixed": 3}[true.defect]
    return PredictedCrystal(true.volumes, lines, np.eye(6)[named], count=len(lines), confidence=1.0)


def image(predicted: PredictedCrystal, group: Alignment, voxel: Array = VOXEL) -> PredictedCrystal:
    """A prediction under an element of the joint group."""
    assert predicted.volumes is not None
    assert predicted.lines is not None
    lines = tuple(group.line(line, voxel) for line in predicted.lines)
    return replace(predicted, volumes=group.volumes(predicted.volumes), lines=lines)


@dataclass(frozen=True)
class Element:
    """An element of the joint group by its numbers."""

    twinned: bool
    shift: tuple[float, float, float]
    seed: int = 0

    def on(self, reflections: int) -> Alignment:
        phases = np.random.default_rng(self.seed).uniform(-3, 3, reflections)
        return Alignment(self.twinned, np.array(self.shift), phases)
