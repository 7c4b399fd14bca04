"""How a drawn crystal is shaped, strained and sampled: what does not depend on its class."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cdi.defects.smooth_strain import SmoothStrain
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import equivalents
from cdi.pattern import Reflection
from cdi.shapes.shape import Shape, as_parameter
from data.recipe import Recipe

Array = NDArray[np.float64]
Generator = np.random.Generator

WAVES = 5
"""Of the smooth strain."""


def draw_reflection(recipe: Recipe, lattice: Lattice, generator: Generator) -> Reflection:
    """One of the recipe's reflections that the lattice allows.

    Raises
    ------
    ValueError
        If it allows none.
    """
    allowed = [reflection for reflection in recipe.reflections if lattice.allows(reflection)]
    if not allowed:
        raise ValueError(
            f"reflections must hold one that {lattice.structure} {lattice.formula} allows, got {recipe.reflections}"
        )
    return allowed[generator.integers(len(allowed))]


def draw_further_reflection(
    recipe: Recipe, lattice: Lattice, earlier: Sequence[Reflection], generator: Generator
) -> Reflection:
    """One more reflection of a crystal, among all symmetric variants of the recipe's that the lattice allows.

    With ``earlier`` it spans as many dimensions as it can: the second is not collinear with the first, the
    third not coplanar with both. None is an earlier one or its negative, which shows the same.

    Raises
    ------
    ValueError
        If there is none.
    """
    variants, taken = _variants(recipe.reflections, lattice), np.asarray(earlier, np.float64)
    repeated = (variants[:, None] == np.concatenate([taken, -taken])).all(-1).any(1)
    together = np.concatenate([np.broadcast_to(taken, (len(variants), *taken.shape)), variants[:, None]], 1)
    spanning = np.linalg.matrix_rank(together) == min(3, len(taken) + 1)
    left = variants[~repeated & spanning]
    if not len(left):
        raise ValueError(
            f"reflections must hold {len(taken) + 1} variants that {lattice.structure} {lattice.formula} allows, the "
            f"second not collinear, the third not coplanar, none the negative of another, got {recipe.reflections}"
        )
    h, k, ell = (int(index) for index in left[generator.integers(len(left))])
    return h, k, ell


@lru_cache(maxsize=64)
def _variants(reflections: tuple[Reflection, ...], lattice: Lattice) -> Array:
    """Allowed images ``(n, 3)`` of ``reflections`` under the lattice's symmetry, sorted."""
    every = {
        (round(h), round(k), round(ell))
        for reflection in reflections
        for h, k, ell in equivalents(reflection, lattice.cell, reciprocal=True)
    }
    return np.asarray(sorted(filter(lattice.allows, every)), np.float64)


def draw_strain(G: Array, diameter: float, rms_rad: float, generator: Generator) -> SmoothStrain:
    """A few long waves whose phase G·u has the given rms on average over the medium."""
    wavevectors = generator.normal(size=(WAVES, 3))
    lengths = generator.uniform(0.25, 1.0, WAVES) * 2 * np.pi / diameter
    wavevectors *= (lengths / np.linalg.norm(wavevectors, axis=1))[:, None]
    amplitudes = generator.normal(size=(WAVES, 3))
    rms = np.sqrt(((amplitudes @ G) ** 2).sum() / 2)
    parameters = (amplitudes * (rms_rad / rms), wavevectors, generator.uniform(0, 2 * np.pi, WAVES))
    return SmoothStrain(*(as_parameter(value) for value in parameters))


def draw_grid(recipe: Recipe, shape: Shape, G: Array, generator: Generator) -> QGrid:
    """A sheared grid, the wanted oversampling along each axis, G off its centre: see ``grid_beside``."""
    tangent = np.tan(np.radians(recipe.shear_deg))
    voxel = np.eye(3) + np.triu(generator.uniform(-tangent, tangent, (3, 3)), 1)
    voxel = voxel @ Rotation.random(rng=generator).as_matrix().T
    voxels_across = np.asarray(recipe.shape) / generator.uniform(*recipe.oversampling, 3)
    low, high = shape.reach(np.linalg.inv(voxel).T)
    # A lopsided shape reaches beyond half its extent on one side: it too must fit the central half.
    scale = np.maximum((high - low) / voxels_across, np.maximum(-low, high) / (np.asarray(recipe.shape) / 4))
    voxel *= scale[:, None]
    step = 2 * np.pi * np.linalg.inv(voxel).T / np.asarray(recipe.shape)[:, None]
    return grid_beside(G, step, recipe.shape, generator)


def grid_beside(G: Array, step: Array, shape: tuple[int, int, int], generator: Generator) -> QGrid:
    """The grid of this ``step`` (3, 3) in Å⁻¹ whose centre lies up to a voxel along each axis off ``G`` (3,)."""
    return QGrid(G + generator.uniform(-1, 1, 3) @ step, step, shape)
