"""Lines that a crystal is given a distance apart, so that they relax as lines and not into one network."""

from dataclasses import replace
from itertools import chain

import numpy as np
from scipy.spatial import cKDTree

from cdi.defects.defect import Array, Defect
from cdi.shapes.shape import Shape
from data.draw_defects import draw_defects
from data.molecular_dynamics.relaxed_recipe import RelaxedRecipe
from data.sampling import Draw

ATTEMPTS = 100
STEP_A = 2.0
"""Å between the points at which distances are looked at."""


def with_lines_apart(drawn: Draw, recipe: RelaxedRecipe, generator: np.random.Generator) -> Draw:
    """``drawn`` with its dislocations at least ``recipe.clearance_A`` apart; those that are not are drawn anew.

    The first stays. After ``ATTEMPTS`` draws the crystal has as many as found room.
    """
    dislocations = [defect for defect in drawn.crystal.defects if defect.defect_class != "none"]
    others = [defect for defect in drawn.crystal.defects if defect.defect_class == "none"]
    if recipe.clearance_A == 0 or len(dislocations) < 2:
        return drawn
    single, bare = replace(recipe, max_lines=1), replace(drawn.crystal, defects=())
    redrawn = (
        draw_defects(single, drawn.defect, bare, drawn.views[0].reflection, generator)[0] for _ in range(ATTEMPTS)
    )
    kept: list[Defect] = []
    for candidate in chain(dislocations, redrawn):
        if not kept or _clearance(candidate, kept, bare.shape) >= recipe.clearance_A:
            kept.append(candidate)
        if len(kept) == len(dislocations):
            break
    return replace(drawn, crystal=replace(bare, defects=(*kept, *others)))


def _clearance(candidate: Defect, others: list[Defect], shape: Shape) -> float:
    """Least distance in Å within the shape between the lines of ``candidate`` and those of ``others``."""
    tree = cKDTree(np.concatenate([_points(other, shape) for other in others]))
    return float(tree.query(_points(candidate, shape))[0].min())


def _points(defect: Defect, shape: Shape) -> Array:
    """Points along the defect's lines, ``STEP_A`` apart or closer."""
    parts = []
    for line in defect.lines(shape):
        for start, end in zip(line.points[:-1], line.points[1:], strict=True):
            count = 2 + int(np.linalg.norm(end - start) / STEP_A)
            parts.append(np.linspace(start, end, count))
    return np.concatenate(parts)
