"""Draw a crystal from a recipe and expose it: (recipe, seed, index) → one Sample an exposure.

One generator an exposure, seeded by (seed, index) and the exposure's number: the same samples whatever
the number of workers or their order, and the same first exposures however many follow. Exposures of
a crystal share their step of q, hence their voxels and one displacement field. Fields, transform and
detector run on the device that they are given, for training without a disk (``data.drawn_batches``);
stored samples are made one by one on the CPU.
"""

from collections.abc import Sequence
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
from cdi.scattering.bragg_object import BraggObject, bragg_object_of_views
from cdi.scattering.model import ScatteringModel
from cdi.scattering.object_amplitude import object_amplitudes
from cdi.shapes.named import build_shape
from cdi.shapes.shape import Shape
from data.draw_defects import draw_defects
from data.draw_distractors import draw_distractors
from data.draw_geometry import draw_further_reflection, draw_grid, draw_reflection, draw_strain, grid_beside
from data.random_values import log_uniform
from data.recipe import Recipe
from data.sample import Sample, Truth
from data.truth_lines import fault_step, kinds_present, true_line

SINGLE = ScatteringModel(precision="single")


Generator = np.random.Generator


@dataclass(frozen=True)
class View:
    """How one exposure looks at a crystal."""

    reflection: Reflection
    grid: QGrid
    detector: DetectorModel


@dataclass(frozen=True)
class Draw:
    """The random choices of one crystal and its exposures, before any pattern is computed.

    Parameters
    ----------
    crystal : Crystal
    defect : str
        The class that was wanted.
    views : tuple of View
        One an exposure; their grids share shape and step.
    """

    crystal: Crystal
    defect: str
    views: tuple[View, ...]

    @property
    def peaks(self) -> list[tuple[Reflection, QGrid]]:
        """Reflection and grid of each view."""
        return [(view.reflection, view.grid) for view in self.views]


def draw_samples(recipe: Recipe, index: int) -> tuple[Sample, ...]:
    """The exposures of the crystal of the absolute ``index`` (``recipe.first_index`` already added)."""
    generators = exposure_generators(recipe, index)
    return expose(draw_crystal(recipe, *generators), index, generators)


def draw_sample(recipe: Recipe, index: int) -> Sample:
    """The first exposure of that crystal, alone."""
    generator = sample_generator(recipe, index)
    return expose(draw_crystal(recipe, generator), index, [generator])[0]


def sample_generator(recipe: Recipe, index: int) -> Generator:
    """The generator of the crystal with the absolute ``index`` and of its first exposure."""
    return exposure_generators(recipe, index)[0]


def exposure_generators(recipe: Recipe, index: int) -> tuple[Generator, ...]:
    """One generator an exposure, the crystal's own first; that of an exposure is the same however many there are."""
    own = np.random.SeedSequence([recipe.seed, index])
    return tuple(np.random.default_rng(seeds) for seeds in (own, *own.spawn(recipe.reflection_count - 1)))


def draw_crystal(recipe: Recipe, generator: Generator, *further: Generator) -> Draw:
    """Every random choice but the noise; shape, strain, distractors and detector do not depend on the class.

    ``generator`` draws the crystal and its first view, each of ``further`` one view more.

    Raises
    ------
    ValueError
        If the lattice does not allow as many reflections, or a defect cannot be placed in the crystal.
    """
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
    first = View(reflection, grid, _detector(recipe, shape, generator))
    defects = draw_defects(recipe, defect, replace(crystal, defects=others), reflection, generator)
    views = _with_further(first, recipe, crystal, further)
    return Draw(replace(crystal, defects=(*defects, *others, strain)), defect, views)


def _with_further(first: View, recipe: Recipe, crystal: Crystal, generators: Sequence[Generator]) -> tuple[View, ...]:
    """``first`` and a view for each of ``generators``, each in a reflection of its own on the voxels of the first."""
    views = [first]
    for generator in generators:
        reflection = draw_further_reflection(recipe, crystal.lattice, [view.reflection for view in views], generator)
        G = crystal.reflection_vector(reflection)
        grid = grid_beside(G, first.grid.step, first.grid.shape, generator)
        views.append(View(reflection, grid, _detector(recipe, crystal.shape, generator)))
    return tuple(views)


def _detector(recipe: Recipe, shape: Shape, generator: Generator) -> DetectorModel:
    return draw_detector(
        recipe.detector, generator, shape=recipe.shape, extent=shape.extent(np.eye(3)),
        peak_counts=log_uniform(recipe.peak_counts, generator),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _lattice(material: str) -> Lattice:
    """One lattice for every crystal of a material: it keeps its symmetry once it has found it."""
    return Lattice.of_material(material)


def expose(drawn: Draw, index: int, generators: Sequence[Generator]) -> tuple[Sample, ...]:
    """Counted exposures and truth of a drawn crystal, one for each view and its generator."""
    seen = detected(drawn, generators)
    truths = _truths(drawn, bragg_object_of_views(drawn.crystal, drawn.peaks))
    return tuple(
        Sample(index, view.reflection, Exposure(counts.numpy(), view.grid, _gaps(mask)), truth)
        for view, (counts, mask), truth in zip(drawn.views, seen, truths, strict=True)
    )


def detected(
    drawn: Draw, generators: Sequence[Generator], *, device: torch.device | str = "cpu"
) -> list[tuple[Tensor, Tensor]]:
    """Counts (float32) and mask (bool) ``(x, y, z)`` of each view of a drawn crystal, on ``device``.

    Each view's generator gives one number, the seed of the noise on that device.
    """
    amplitudes = object_amplitudes(drawn.crystal, drawn.peaks, model=SINGLE, device=device)
    return [
        _counted(amplitude, view, generator)
        for amplitude, view, generator in zip(amplitudes, drawn.views, generators, strict=True)
    ]


def _counted(amplitude: Tensor, view: View, generator: Generator) -> tuple[Tensor, Tensor]:
    intensity = amplitude.abs().square().double()
    voxel = torch.as_tensor(view.grid.voxel, device=intensity.device)
    return view.detector.detect(intensity, torch_generator(generator, intensity.device), voxel)


def _gaps(mask: Tensor) -> NDArray[np.bool_] | None:
    """The mask as an exposure holds it: None where every voxel was measured."""
    return None if bool(mask.all()) else np.asarray(mask.numpy())


def _truths(drawn: Draw, obj: BraggObject) -> list[Truth]:
    """The truth of each view; class, kinds and displacement are the crystal's."""
    crystal = drawn.crystal
    defect, kinds, lines = defect_class(crystal.defects), kinds_present(crystal), crystal.lines()
    truths = []
    for view, support, phase, displacement in zip(drawn.views, obj.support, obj.phase, obj.displacement, strict=True):
        inside = support > 0
        truths.append(
            Truth(
                defect=defect,
                kinds=kinds,
                lines=tuple(true_line(line, crystal.lattice, crystal.orientation, view.reflection) for line in lines),
                fault_step=fault_step(crystal, view.reflection),
                displacement=_full((displacement * inside[..., None]).movedim(-1, 0), view.grid),
                support=_full(support, view.grid),
                phase=_full(phase * inside, view.grid),
                formula=crystal.lattice.formula,
                structure=crystal.lattice.structure,
                cell=crystal.lattice.cell,
                orientation=crystal.orientation,
            )
        )
    return truths


def _full(volume: Tensor, grid: QGrid) -> NDArray[np.float32]:
    return np.asarray(centre_pad(volume.float(), grid.shape).numpy())
