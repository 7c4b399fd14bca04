"""Measured patterns in a tier of their own: as they are, and with known dislocations implanted in the real crystal.

An implant starts from the object ρ(r) retrieved from the pattern: its facets, strain and uneven density are a
measurement's. ρ exp(i G·u) with the displacement u of drawn dislocations is transformed on voxels of half the size, so
that what the sharper phase scatters beyond the window does not fold back into it; cropped, scaled to the measured
number of photons and counted anew. Truth: the retrieved phase plus G·u, and the lines.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cdi.crystal import Crystal
from cdi.defects.classes import CHARACTERS, defect_class
from cdi.detector.photons import torch_generator
from cdi.fourier import amplitude_from_object, centre_crop, centre_pad, object_from_amplitude
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.framing import framed
from cdi.retrieval.phase_retrieval import retrieve
from cdi.shapes.hull import hull
from data.draw_defects import draw_defects
from data.formats.pattern_files import read_exposure
from data.recipe import Recipe
from data.sample import Sample, Truth
from data.truth_lines import kinds_present, true_line

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Shape = tuple[int, int, int]

SEED = 44_000_000


@dataclass(frozen=True)
class ImplantRecipe(Recipe):
    """Dislocations of ``elements[0]`` in the crystal behind a measured ``pattern`` of ``reflections[0]``.

    Parameters
    ----------
    pattern : path of a measurement whose geometry is known (``data.formats.pattern_files``).
    starts : random starts of its phase retrieval.

    Raises
    ------
    ValueError
        As for ``Recipe``; if there is no path, not one element and one reflection, no start, or another class.
    """

    pattern: str = ""
    starts: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pattern:
            raise ValueError(f"pattern must be the path of a measurement, got {self.pattern!r}")
        for name in ("elements", "reflections"):
            if len(getattr(self, name)) != 1:
                raise ValueError(f"{name} must hold the one of the pattern, got {getattr(self, name)}")
        if self.starts < 1:
            raise ValueError(f"starts must be at least 1, got {self.starts}")
        if sum(self.class_fractions[len(CHARACTERS) :]) > 0:
            raise ValueError(f"class_fractions must be of {', '.join(CHARACTERS)} alone, got {self.class_fractions}")


@dataclass(frozen=True, eq=False)
class RetrievedObject:
    """A crystal as retrieved: ``density`` and ``support`` (x, y, z) on the voxels of ``grid``; photons measured."""

    density: Complex
    support: NDArray[np.bool_]
    grid: QGrid
    photons: float


def measured_patterns(directory: str | Path) -> dict[str, Path]:
    """Patterns by name: of each folder in ``directory`` its ``frames``, or the only TIFF stack.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = {}
    for folder in sorted(path for path in Path(directory).iterdir() if path.is_dir()):
        stacks = sorted(folder.glob("*.tif*"))
        if (folder / "frames").is_dir():
            found[folder.name] = folder / "frames"
        elif len(stacks) == 1:
            found[folder.name] = stacks[0]
    if not found:
        raise ValueError(f"{directory} must hold folders with frames/ or one TIFF stack, got none")
    return found


def implant_recipe(directory: str | Path, *, samples: int, shape: Shape) -> ImplantRecipe:
    """The frozen tier: up to two lines of each character, and none, in the first gold crystal of known geometry.

    All in one file, for each process would retrieve the object anew.

    Raises
    ------
    ValueError
        If no pattern in ``directory`` comes with its geometry.
    """
    for path in measured_patterns(directory).values():
        if read_exposure(path).grid is not None:
            return ImplantRecipe(
                name="T4-implanted", samples=samples, seed=SEED, samples_per_file=samples, shape=shape,
                elements=("Au",), reflections=((1, 1, 1),), class_fractions=(0.25, 0.25, 0.25, 0.25), max_lines=2,
                hidden_fraction=0.0, pattern=str(path),
            )  # fmt: skip
    raise ValueError(f"{directory} must hold a pattern with its geometry, got none")


def implanted_samples(recipe: ImplantRecipe, index: int) -> tuple[Sample, ...]:
    """The one exposure of the measured crystal with the dislocations of the absolute ``index``."""
    generator = np.random.default_rng([recipe.seed, index])
    found = _retrieved(recipe.pattern, recipe.shape, recipe.starts)
    return (implanted(found, recipe, index, generator),)


def implanted(found: RetrievedObject, recipe: ImplantRecipe, index: int, generator: np.random.Generator) -> Sample:
    """``found`` with dislocations drawn from ``recipe``, exposed anew."""
    crystal, middle = _crystal(found, recipe, generator)
    reflection, G = recipe.reflections[0], crystal.reflection_vector(recipe.reflections[0])
    fine = QGrid(found.grid.centre, found.grid.step, _doubled(found.grid.shape))
    phase = _phase(crystal, G, fine, middle)
    counts = _counted(_finer(found.density) * np.exp(1j * phase), found, generator)
    inside = found.support.astype(np.float32)
    coarse = phase[::2, ::2, ::2] + np.angle(found.density)
    lines = tuple(
        true_line(replace(line, points=line.points + middle), crystal.lattice, crystal.orientation, reflection)
        for line in crystal.lines()
    )
    truth = Truth(
        defect=defect_class(crystal.defects),
        kinds=kinds_present(crystal),
        lines=lines,
        fault_step=0.0,
        displacement=_displacement(crystal, found.grid, middle) * inside,
        support=inside,
        phase=(coarse * inside).astype(np.float32),
        formula=crystal.lattice.formula,
        structure=crystal.lattice.structure,
        cell=crystal.lattice.cell,
        orientation=crystal.orientation,
    )
    return Sample(index, reflection, Exposure(counts, found.grid), truth)


def retrieved_object(exposure: Exposure, shape: Shape, starts: int) -> RetrievedObject:
    """The object behind ``exposure`` on ``shape`` voxels, its middle moved to the origin by whole voxels.

    Raises
    ------
    ValueError
        If the exposure comes without its geometry, or cannot be phased.
    """
    frame = framed(exposure, shape)
    if frame.grid is None:
        raise ValueError("exposure must come with its geometry, got none")
    config = RetrievalConfig(starts=starts, best=max(1, starts // 2))
    found = retrieve([frame], config, generator=torch.Generator().manual_seed(SEED))
    weight = np.abs(found.density[0]) * found.support[0]
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), -1)
    away = np.rint((weight[..., None] * index).sum((0, 1, 2)) / weight.sum()).astype(int)
    density, support = (np.roll(volume[0], -away, (0, 1, 2)) for volume in (found.density, found.support))
    return RetrievedObject(density * support, support, frame.grid, float(frame.counts.sum(dtype=np.float64)))


@lru_cache(maxsize=2)
def _retrieved(pattern: str, shape: Shape, starts: int) -> RetrievedObject:
    return retrieved_object(read_exposure(pattern), shape, starts)


def _crystal(found: RetrievedObject, recipe: ImplantRecipe, generator: np.random.Generator) -> tuple[Crystal, Array]:
    """A crystal in the hull of the support, G along the measured one and any azimuth; and the hull's middle in Å."""
    lattice = Lattice.of_material(recipe.elements[0])
    ideal, measured = lattice.reflection_vector(recipe.reflections[0]), found.grid.centre
    turn, _ = Rotation.align_vectors([measured / np.linalg.norm(measured)], [ideal / np.linalg.norm(ideal)])
    azimuth = Rotation.from_rotvec(measured / np.linalg.norm(measured) * generator.uniform(0, 2 * np.pi))
    points = (np.argwhere(found.support) - np.asarray(found.support.shape) // 2) @ found.grid.voxel
    voxel = abs(float(np.linalg.det(found.grid.voxel)))
    shape, middle = hull(points, atomic_volume=voxel, tolerance=0.5 * voxel ** (1 / 3))
    crystal = Crystal(lattice, shape, (azimuth * turn).as_matrix())
    defect = CHARACTERS[generator.choice(len(CHARACTERS), p=[recipe.fraction_of(name) for name in CHARACTERS])]
    defects = draw_defects(recipe, defect, crystal, recipe.reflections[0], generator)
    return replace(crystal, defects=defects), middle


def _points(grid: QGrid, middle: Array) -> torch.Tensor:
    axes = [np.arange(n) - n // 2 for n in grid.shape]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float64)
    return torch.as_tensor(index @ grid.voxel - middle)


def _displacement(crystal: Crystal, grid: QGrid, middle: Array) -> NDArray[np.float32]:
    u = crystal.displacement(_points(grid, middle)).detach().numpy()
    return np.asarray(np.moveaxis(u, -1, 0), np.float32)


def _phase(crystal: Crystal, G: Array, grid: QGrid, middle: Array) -> Array:
    return np.asarray(crystal.displacement(_points(grid, middle)).detach().numpy() @ G)


def _doubled(shape: Shape) -> Shape:
    return 2 * shape[0], 2 * shape[1], 2 * shape[2]


def _finer(density: Complex) -> Complex:
    """The same object on voxels of half the size, its spectrum being the same."""
    amplitude = amplitude_from_object(torch.as_tensor(density))
    return np.asarray(object_from_amplitude(centre_pad(amplitude, _doubled(density.shape))).numpy())


def _counted(density: Complex, found: RetrievedObject, generator: np.random.Generator) -> NDArray[np.float32]:
    amplitude = centre_crop(amplitude_from_object(torch.as_tensor(density)), found.grid.shape)
    intensity = amplitude.abs().square()
    mean = intensity * (found.photons / intensity.sum())
    return torch.poisson(mean, generator=torch_generator(generator, mean.device)).float().numpy()
