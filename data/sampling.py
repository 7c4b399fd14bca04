"""Draw a crystal from a recipe and expose it: (recipe, seed, index) → Sample.

One generator a sample, seeded by (seed, index): the same sample whatever the number of workers or
their order. Fields, transform and detector run on the device that they are given, for training
without a disk (``data.drawn_batches``); stored samples are made one by one on the CPU.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from cdi.crystal import Crystal
from cdi.defects.classes import CLASSES, defect_class
from cdi.detector.draw import draw_detector
from cdi.detector.model import DetectorModel
from cdi.detector.photons import torch_generator
from cdi.fourier import centre_pad
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure, Reflection
from cdi.scattering.bragg_object import BraggObject, bragg_object
from cdi.scattering.model import ScatteringModel
from cdi.scattering.object_amplitude import object_amplitudes
from cdi.shapes.named import build_shape
from data.draw_defects import draw_defects, draw_distractors
from data.draw_geometry import draw_grid, draw_reflection, draw_strain
from data.random_values import log_uniform
from data.recipe import Recipe
from data.sample import Sample, Truth
from data.truth_lines import fault_step, kinds_present, true_lines

SINGLE = ScatteringModel(precision="single")


@dataclass(frozen=True)
class Draw:
    """The random choices of one sample, before any pattern is computed."""

    crystal: Crystal
    grid: QGrid
    reflection: Reflection
    defect: str
    detector: DetectorModel


def draw_sample(recipe: Recipe, index: int) -> Sample:
    """The sample of the absolute ``index`` (``recipe.first_index`` already added)."""
    generator = sample_generator(recipe, index)
    drawn = draw_crystal(recipe, generator)
    return expose(drawn, index, generator)


def sample_generator(recipe: Recipe, index: int) -> np.random.Generator:
    """The generator of the sample with the absolute ``index``."""
    return np.random.default_rng(np.random.SeedSequence([recipe.seed, index]))


def draw_crystal(recipe: Recipe, generator: np.random.Generator) -> Draw:
    """Every random choice but the noise; shape, strain, distractors and detector do not depend on the class."""
    fractions = np.asarray([recipe.fraction_of(name) for name in CLASSES])
    defect = CLASSES[generator.choice(len(CLASSES), p=fractions)]
    lattice = _lattice(str(generator.choice(recipe.elements)))
    orientation = Rotation.random(rng=generator).as_matrix()
    diameter = log_uniform(recipe.diameter_A, generator)
    name = str(generator.choice(recipe.crystal_shapes))
    shape = build_shape(name, diameter, lattice=lattice, orientation=orientation, generator=generator)
    reflection = draw_reflection(recipe, lattice, generator)
    G = orientation @ lattice.reflection_vector(reflection)
    strain = draw_strain(G, diameter, generator.uniform(*recipe.strain_rad), generator)
    grid = draw_grid(recipe, shape, G, generator)
    crystal = Crystal(lattice, shape, orientation)
    others = draw_distractors(recipe.distractors, crystal, generator)
    detector = draw_detector(
        recipe.detector, generator, shape=recipe.shape, extent=shape.extent(np.eye(3)),
        peak_counts=log_uniform(recipe.peak_counts, generator),
    )  # fmt: skip
    defects = draw_defects(recipe, defect, crystal, reflection, generator)
    return Draw(replace(crystal, defects=(*defects, *others, strain)), grid, reflection, defect, detector)


@lru_cache(maxsize=64)
def _lattice(material: str) -> Lattice:
    """One lattice for every crystal of a material: it keeps its symmetry once it has found it."""
    return Lattice.of_material(material)


def expose(drawn: Draw, index: int, generator: np.random.Generator) -> Sample:
    """Counted exposure and truth of a drawn crystal."""
    counts, mask = detected(drawn, generator)
    measured = None if bool(mask.all()) else mask.numpy()
    obj = bragg_object([drawn.crystal], [drawn.grid], [drawn.reflection])
    return Sample(index, drawn.reflection, Exposure(counts.numpy(), drawn.grid, measured), _truth(drawn, obj))


def detected(
    drawn: Draw, generator: np.random.Generator, *, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Counts (float32) and mask (bool) ``(x, y, z)`` of a drawn crystal, on ``device``.

    The generator gives one number, the seed of the noise on that device.
    """
    amplitude = object_amplitudes(drawn.crystal, [(drawn.reflection, drawn.grid)], model=SINGLE, device=device)[0]
    intensity = amplitude.abs().square().double()
    voxel = torch.as_tensor(drawn.grid.voxel, device=device)
    return drawn.detector.detect(intensity, torch_generator(generator, intensity.device), voxel)


def _truth(drawn: Draw, obj: BraggObject) -> Truth:
    crystal, grid = drawn.crystal, drawn.grid
    inside = obj.support[0] > 0
    return Truth(
        defect=defect_class(crystal.defects),
        kinds=kinds_present(crystal),
        lines=true_lines(crystal, drawn.reflection),
        fault_step=fault_step(crystal, drawn.reflection),
        displacement=_full((obj.displacement[0] * inside[..., None]).movedim(-1, 0), grid),
        support=_full(obj.support[0], grid),
        phase=_full(obj.phase[0] * inside, grid),
        formula=crystal.lattice.formula,
        structure=crystal.lattice.structure,
        cell=crystal.lattice.cell,
        orientation=crystal.orientation,
    )


def _full(volume: Tensor, grid: QGrid) -> NDArray[np.float32]:
    return np.asarray(centre_pad(volume.float(), grid.shape).numpy())
