"""A crystal's class follows from its defects, the rarer thing first."""

from dataclasses import dataclass

import numpy as np
import pytest

from cdi.defects.classes import CLASSES, character, defect_class
from cdi.defects.smooth_strain import SmoothStrain
from cdi.defects.straight_dislocation import dislocation_on
from cdi.lattices.lattice import Lattice
from cdi.shapes.shape import as_parameter

STRAIN = SmoothStrain(as_parameter(np.ones((1, 3))), as_parameter(np.ones((1, 3))), as_parameter(np.zeros(1)))


@dataclass(frozen=True)
class Of:
    defect_class: str


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        ((), "none"), ((0.0,), "screw"), ((90.0, -90.0), "edge"), ((60.0,), "mixed"), ((0.0, 90.0), "mixed"),
        ((180.0, 0.0), "screw"), ((-60.0, 30.0), "mixed"),
    ],
)  # fmt: skip
def test_straight_lines_are_of_the_character_that_all_share(angles: tuple[float, ...], expected: str) -> None:
    """Strain beside them changes nothing."""
    lattice = Lattice.of_material("W")
    lines = [dislocation_on(lattice, lattice.slip_systems()[5], character_deg=angle, point=np.array([1.0, -2, 3]),
                            orientation=np.eye(3)) for angle in angles]  # fmt: skip
    assert defect_class([STRAIN, *lines]) == expected


def test_a_fault_comes_before_a_loop_and_a_loop_before_a_line() -> None:
    order = ["none", "edge", "loop-or-network", "partial-or-fault"]
    assert set(order) <= set(CLASSES)
    for i in range(1, 5):
        assert defect_class(map(Of, order[:i])) == order[i - 1]
        assert defect_class(map(Of, reversed(order[:i]))) == order[i - 1]


@pytest.mark.parametrize(("angle", "name"), [(0, "screw"), (15, "screw"), (16, "mixed"), (74, "mixed"), (75, "edge")])
def test_characters_are_pure_within_15_degrees(angle: float, name: str) -> None:
    assert character(angle) == name
