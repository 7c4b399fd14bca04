"""The truth of a drawn crystal says what it holds and what its reflection can tell of it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.stacking_fault import StackingFault
from cdi.identifiability import equivalent_burgers
from cdi.lattices.lattice import Lattice
from cdi.shapes.ball import Ball
from cdi.shapes.shape import as_parameter
from data.recipe import Recipe
from data.sample import Truth
from data.sampling import draw_crystal, draw_sample
from data.truth_lines import fault_step, kinds_present

RECIPE = Recipe("truth", 100, seed=3, shape=(16, 20, 18), class_fractions=(0.25, 0.25, 0.25, 0.25))


def test_the_class_that_follows_from_the_defects_is_the_one_that_was_drawn() -> None:
    for index in range(25):
        draw = draw_crystal(RECIPE, np.random.default_rng([RECIPE.seed, index]))
        truth = draw_sample(RECIPE, index).truth
        assert truth.defect == draw.defect
        assert truth.kinds == (
            ("smooth strain",) if draw.defect == "none" else ("straight dislocation", "smooth strain")
        )
        np.testing.assert_array_equal(truth.cell, draw.crystal.lattice.cell)
        np.testing.assert_array_equal(truth.orientation, draw.crystal.orientation)


def test_stored_lattice_and_orientation_give_the_candidates_of_every_line() -> None:
    """b in the laboratory is that of the cell, turned; candidates are those that wind alike."""
    lines = 0
    for index in range(12):
        sample = draw_sample(replace(RECIPE, class_fractions=(0, 1, 1, 1)), index)
        truth = sample.truth
        lattice = Lattice.of_material(truth.formula)
        assert truth.structure == lattice.structure
        for line in truth.lines:
            np.testing.assert_allclose(truth.orientation @ (line.burgers_lattice @ truth.cell), line.burgers, atol=1e-4)
            assert line.candidates == len(equivalent_burgers(line.burgers_lattice, lattice, [sample.reflection]))
            assert line.g_dot_b == pytest.approx(line.burgers_lattice @ np.asarray(sample.reflection))
            assert line.determined == (line.visible and line.candidates == 1)
            lines += 1
    assert lines > 12


def test_a_fault_shows_by_the_largest_of_its_steps() -> None:
    """1/6[11-2] steps by 1/3 in 200 and not at all in 111; either way it is no line."""
    rotation = np.asarray(Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix())
    lattice = Lattice.of_material("Au")
    origin, normal = as_parameter(np.zeros(3)), as_parameter(rotation @ np.ones(3) / 3**0.5)
    shifts = [as_parameter(rotation @ lattice.direction(b)) for b in ((1 / 6, 1 / 6, -1 / 3), (0.5, -0.5, 0))]
    faults = [StackingFault(origin, normal, shift) for shift in shifts]
    crystal = Crystal(lattice, Ball.of_diameter(80), rotation, tuple(faults))
    assert fault_step(crystal, (2, 0, 0)) == pytest.approx(1 / 3, abs=1e-5)
    assert fault_step(crystal, (1, 1, 1)) == 0
    assert fault_step(replace(crystal, defects=()), (2, 0, 0)) == 0
    assert kinds_present(crystal) == ("stacking fault",)


def test_a_truth_is_determined_where_something_shows_and_names_a_class() -> None:
    truth = draw_sample(replace(RECIPE, class_fractions=(1, 0, 0, 0)), 0).truth
    assert truth.determined
    hidden: Truth = replace(truth, defect="partial-or-fault")
    assert not hidden.determined
    assert replace(hidden, fault_step=1 / 3).determined
    with pytest.raises(ValueError, match=r"defect must be one of none, edge, .*, got 'twinned'"):
        replace(truth, defect="twinned")
