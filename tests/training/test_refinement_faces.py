"""Faces of a refined crystal are named after the lattice planes that lie near them."""

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure, Reflection
from models.known_crystal import KnownCrystal
from training.measured_crystal import MeasuredCrystal
from training.refinement_faces import name_faces
from training.refinement_text import report

GOLD = Lattice.of_material("Au")
TURN = np.asarray(Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix())


def measured(reflections: tuple[Reflection, ...], lattice: Lattice | None = GOLD) -> MeasuredCrystal:
    exposures = tuple(
        Exposure(
            np.ones((8, 8, 8), np.float32), QGrid(TURN @ GOLD.reflection_vector(hkl), 0.004 * np.eye(3), (8, 8, 8))
        )
        for hkl in reflections
    )
    known = None if lattice is None else KnownCrystal(lattice, reflections)
    return MeasuredCrystal(tuple(f"{hkl}" for hkl in reflections), exposures, known)


def faces(*directions: tuple[float, float, float]) -> list[dict[str, Any]]:
    found = []
    for direction in directions:
        normal = TURN @ np.array(direction)
        found.append({"normal": list(normal / np.linalg.norm(normal)), "distance": 200.0, "standard_error": 0.1})
    return found


def test_a_face_has_the_lowest_plane_near_its_normal_and_how_far_off_it_is() -> None:
    told = faces((1, -1, 1), (0, 0, -1), (1, 1, 0.9), (1, 0.5, 0.05))
    name_faces(told, measured(((1, 1, 1), (2, 0, 0))))
    assert [face["miller"] for face in told] == [[1, -1, 1], [0, 0, -1], [1, 1, 1], [2, 1, 0]]
    assert [face["off_deg"] for face in told[:2]] == [0.0, 0.0]
    assert 0 < told[2]["off_deg"] < 4


def test_a_face_near_no_low_plane_has_no_name() -> None:
    told = faces((1, 0.19, 0.07))
    name_faces(told, measured(((1, 1, 1), (2, 0, 0))))
    assert told[0]["miller"] is None
    assert told[0]["off_deg"] is None


@pytest.mark.parametrize("crystal", [measured(((1, 1, 1),)), measured(((1, 1, 1), (2, 0, 0)), None)])
def test_without_lattice_or_orientation_nothing_is_named(crystal: MeasuredCrystal) -> None:
    told = faces((1, 1, 1))
    name_faces(told, crystal)
    assert "miller" not in told[0]


def test_the_text_tells_every_face() -> None:
    told = faces((1, -1, 1), (1, 0.19, 0.07))
    name_faces(told, measured(((1, 1, 1), (2, 0, 0))))
    outline = {"faces": told, "rejected": True, "difference": 12.0, "standard_error_of_difference": 3.0}
    hypothesis = {"lines": 0}
    lines = [*report({
        "unit": "angstrom", "patterns": ["a"], "lattice": "Au", "best": "none", "hypotheses": [hypothesis],
        "defect_probability": 0.0, "object": {"free_deviance": 1.0, "kind": "crystal"}, "lines": [], "outline": outline,
    })]  # fmt: skip
    assert "faces        2; one density within them: rejected (12.0 ± 3.0)" in lines
    assert any(line.endswith("(1 -1 1), 0° off") for line in lines)
    assert any(line.endswith("at 200.0 ± 0.1 Å") for line in lines)
