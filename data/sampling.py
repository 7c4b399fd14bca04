"""Draw a crystal from a recipe and expose it: (recipe, seed, index) → Sample.

One generator a sample, seeded by (seed, index): the same sample whatever the number of
workers, their order, or the batch.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.classes import CHARACTERS, defect_class
from cdi.defects.smooth_strain import SmoothStrain
from cdi.defects.straight_dislocation import StraightDislocation, dislocation_on
from cdi.detector.counting import photon_counts
from cdi.fourier import centre_pad
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SlipSystem
from cdi.pattern import Exposure, Reflection
from cdi.scattering.bragg_object import bragg_object, voxel_points
from cdi.scattering.model import ScatteringModel
from cdi.scattering.object_amplitude import bragg_amplitude
from cdi.shapes.ball import Ball
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron
from cdi.shapes.shape import Shape, as_array, as_parameter
from data.recipe import Recipe
from data.sample import Sample, Truth
from data.truth_lines import fault_step, kinds_present, true_lines

Array = NDArray[np.float64]

LINE_COUNT_WEIGHTS = (0.6, 0.25, 0.15)
SHORTEST_CHORD = 0.45
"""A line must cross at least this fraction of the crystal's diameter to count as inside it."""


@dataclass(frozen=True)
class Draw:
    """The random choices of one sample, before any pattern is computed."""

    crystal: Crystal
    grid: QGrid
    reflection: Reflection
    defect: str
    peak_counts: float


def draw_sample(recipe: Recipe, index: int) -> Sample:
    """The sample of the absolute ``index`` (``recipe.first_index`` already added)."""
    generator = np.random.default_rng(np.random.SeedSequence([recipe.seed, index]))
    drawn = draw_crystal(recipe, generator)
    return expose(drawn, index, generator)


def draw_crystal(recipe: Recipe, generator: np.random.Generator) -> Draw:
    """Every random choice but the photons; shape, strain and photons do not depend on the class."""
    fractions = np.asarray(recipe.class_fractions) / sum(recipe.class_fractions)
    defect = CHARACTERS[generator.choice(len(CHARACTERS), p=fractions)]
    lattice = Lattice.of_material(str(generator.choice(recipe.elements)))
    orientation = Rotation.random(rng=generator).as_matrix()
    diameter = _log_uniform(recipe.diameter_A, generator)
    shape = _draw_shape(str(generator.choice(recipe.crystal_shapes)), diameter, orientation, generator)
    reflection = _draw_reflection(recipe, lattice, generator)
    G = orientation @ lattice.reflection_vector(reflection)
    strain = _draw_strain(G, diameter, generator.uniform(*recipe.strain_rad), generator)
    peak_counts = _log_uniform(recipe.peak_counts, generator)
    grid = _draw_grid(recipe, shape, G, generator)
    hidden = generator.random() < recipe.hidden_fraction
    crystal = Crystal(lattice, shape, orientation, (strain,))
    if defect != "none":
        lines = _draw_lines(recipe, defect, crystal, reflection, hidden, generator)
        crystal = replace(crystal, defects=(*lines, strain))
    return Draw(crystal, grid, reflection, defect, peak_counts)


def expose(drawn: Draw, index: int, generator: np.random.Generator) -> Sample:
    """Counted exposure and truth of a drawn crystal."""
    arguments = ([drawn.crystal], [drawn.grid], [drawn.reflection])
    amplitude = bragg_amplitude(*arguments, model=ScatteringModel(precision="single"))[0]
    intensity = amplitude.abs().square().double().numpy()
    counts = photon_counts(intensity, peak_counts=drawn.peak_counts, generator=generator)
    obj = bragg_object(*arguments)
    points = torch.as_tensor(_central_points(drawn.grid))
    inside = obj.support[0] > 0
    displacement = (drawn.crystal.displacement(points) * inside[..., None]).movedim(-1, 0)
    truth = Truth(
        defect=defect_class(drawn.crystal.defects),
        kinds=kinds_present(drawn.crystal),
        lines=true_lines(drawn.crystal, drawn.reflection),
        fault_step=fault_step(drawn.crystal, drawn.reflection),
        displacement=_full(displacement, drawn.grid),
        support=_full(obj.support[0], drawn.grid),
        phase=_full(obj.phase[0] * inside, drawn.grid),
        formula=drawn.crystal.lattice.formula,
        structure=drawn.crystal.lattice.structure,
        cell=drawn.crystal.lattice.cell,
        orientation=drawn.crystal.orientation,
    )
    return Sample(index, drawn.reflection, Exposure(counts, drawn.grid), truth)


def _central_points(grid: QGrid) -> Array:
    return np.asarray(voxel_points(grid, (grid.shape[0] // 2, grid.shape[1] // 2, grid.shape[2] // 2)))


def _full(volume: torch.Tensor, grid: QGrid) -> NDArray[np.float32]:
    return np.asarray(centre_pad(volume.float(), grid.shape).numpy())


def _log_uniform(limits: tuple[float, float], generator: np.random.Generator) -> float:
    return float(np.exp(generator.uniform(*np.log(limits))))


def _draw_shape(kind: str, diameter: float, orientation: Array, generator: np.random.Generator) -> Shape:
    if kind == "sphere":
        return Ball.of_diameter(diameter)
    if kind == "truncated-octahedron":
        return truncated_octahedron(diameter * 0.9, orientation, ratio=generator.uniform(0.85, 1.45))
    # The six faces of a cube keep the volume bounded; the rest cut it at random.
    directions = np.concatenate([np.eye(3), -np.eye(3), generator.normal(size=(int(generator.integers(4, 13)), 3))])
    rotated = directions @ Rotation.random(rng=generator).as_matrix().T
    return Polyhedron.centred(rotated, diameter / 2 * generator.uniform(0.75, 1.1, len(rotated)))


def _draw_reflection(recipe: Recipe, lattice: Lattice, generator: np.random.Generator) -> Reflection:
    allowed = [reflection for reflection in recipe.reflections if lattice.allows(reflection)]
    if not allowed:
        raise ValueError(
            f"reflections must hold one that {lattice.structure} {lattice.formula} allows, got {recipe.reflections}"
        )
    return allowed[generator.integers(len(allowed))]


def _draw_strain(G: Array, diameter: float, rms_rad: float, generator: np.random.Generator) -> SmoothStrain:
    """Five long waves whose phase G·u has the given rms on average over the medium."""
    wavevectors = generator.normal(size=(5, 3))
    wavevectors *= (generator.uniform(0.25, 1.0, 5) * 2 * np.pi / diameter / np.linalg.norm(wavevectors, axis=1))[
        :, None
    ]
    amplitudes = generator.normal(size=(5, 3))
    rms = np.sqrt(((amplitudes @ G) ** 2).sum() / 2)
    parameters = (amplitudes * (rms_rad / rms), wavevectors, generator.uniform(0, 2 * np.pi, 5))
    return SmoothStrain(*(as_parameter(value) for value in parameters))


def _draw_grid(recipe: Recipe, shape: Shape, G: Array, generator: np.random.Generator) -> QGrid:
    """A sheared grid, the wanted oversampling along each axis, G off its centre by up to a voxel."""
    tangent = np.tan(np.radians(recipe.shear_deg))
    voxel = np.eye(3) + np.triu(generator.uniform(-tangent, tangent, (3, 3)), 1)
    voxel = voxel @ Rotation.random(rng=generator).as_matrix().T
    voxels_across = np.asarray(recipe.shape) / generator.uniform(*recipe.oversampling, 3)
    low, high = shape.reach(np.linalg.inv(voxel).T)
    # A lopsided shape reaches beyond half its extent on one side: it too must fit the central half.
    scale = np.maximum((high - low) / voxels_across, np.maximum(-low, high) / (np.asarray(recipe.shape) / 4))
    voxel *= scale[:, None]
    step = 2 * np.pi * np.linalg.inv(voxel).T / np.asarray(recipe.shape)[:, None]
    return QGrid(G + generator.uniform(-1, 1, 3) @ step, step, recipe.shape)


def _draw_lines(
    recipe: Recipe, defect: str, crystal: Crystal, reflection: Reflection, hidden: bool, generator: np.random.Generator
) -> tuple[StraightDislocation, ...]:
    weights = np.asarray([*LINE_COUNT_WEIGHTS, *[LINE_COUNT_WEIGHTS[-1]] * recipe.max_lines][: recipe.max_lines])
    count = 1 + int(generator.choice(len(weights), p=weights / weights.sum()))
    lattice = crystal.lattice
    systems = [s for s in lattice.slip_systems() if (abs(np.dot(s.burgers, reflection)) < 1e-9) == hidden]
    if not systems:  # this reflection sees every Burgers vector: nothing can hide
        systems = lattice.slip_systems()
    characters = _draw_characters(defect, count, generator)
    return tuple(_draw_line(crystal, systems, angle, generator) for angle in characters)


def _draw_characters(defect: str, count: int, generator: np.random.Generator) -> list[float]:
    """Angles between b and ξ in degrees; a pure class gives all of its lines that character."""
    if defect == "screw":
        return [0.0] * count
    if defect == "edge":
        return [90.0] * count
    mixed = [60.0 if generator.random() < 0.5 else generator.uniform(25, 65) for _ in range(count)]
    if count > 1 and generator.random() < 0.5:  # neither purely edge nor purely screw as a whole
        mixed[:2] = [0.0, 90.0]
    return [angle if generator.random() < 0.5 else -angle for angle in mixed]


def _draw_line(
    crystal: Crystal, systems: list[SlipSystem], angle: float, generator: np.random.Generator
) -> StraightDislocation:
    """A line through the crystal's inner half; redrawn until its chord is long enough."""
    reach = float(crystal.shape.extent(np.eye(3)).min()) / 2
    while True:
        system = systems[generator.integers(len(systems))]
        point = generator.normal(size=3)
        point *= 0.6 * reach * generator.random() ** (1 / 3) / np.linalg.norm(point)
        line = dislocation_on(
            crystal.lattice, system, character_deg=angle, point=point, orientation=crystal.orientation
        )
        chord = crystal.shape.chord(point, as_array(line.direction))
        if chord is not None and chord[1] - chord[0] > SHORTEST_CHORD * 2 * reach:
            return line
