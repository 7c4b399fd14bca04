"""Samples of relaxed crystals: (recipe, seed, index) → atoms at rest in a potential → exposures and what is there.

A crystal is drawn as for any data set, built of atoms and relaxed; the pattern is the sum over the atoms
where they then are, lines are those that OVITO's DXA finds, support, phase and displacement come from the
atoms. What was put in is forgotten: a line that left is not in the truth, and a crystal that failed
to relax is exposed as it was built and says so among its kinds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, cKDTree

from cdi.atoms import Atoms
from cdi.crystal import Crystal
from cdi.defects.line import DislocationLine
from cdi.detector.photons import torch_generator
from cdi.errors import RunError
from cdi.grid import QGrid
from cdi.identifiability import fault_contrast
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure, Reflection
from cdi.scattering.amplitude import atomic_amplitudes
from data.generation import generate
from data.molecular_dynamics.atom_voxels import DisplacedSites, VoxelTruth, voxel_truth
from data.molecular_dynamics.dxa import extract_lines, require_ovito
from data.molecular_dynamics.equilibrium import equilibrium_lattice
from data.molecular_dynamics.lammps_engine import require_lammps
from data.molecular_dynamics.lines_apart import with_lines_apart
from data.molecular_dynamics.potential import common_potential
from data.molecular_dynamics.relaxation import Annealing, RelaxConfig, depth_below_surface, relax
from data.molecular_dynamics.relaxed_recipe import RelaxedRecipe
from data.molecular_dynamics.resolved_lines import LineFrame, Resolution, class_of_lines, resolved_lines
from data.sample import Sample, Truth
from data.sampling import Draw, View, draw_crystal, exposure_generators
from data.truth_lines import true_line

Array = NDArray[np.float64]

OVERLAP = 0.6
"""One of two atoms closer than this fraction of the nearest distance is left out: fields of crossing lines add."""
FREE_SKIN_A, SHELL_MARGIN_A = 5.0, 8.0
"""Å: depth of a free surface's layer that DXA cannot read; how far below an anchored shell partials still meet."""
VELOCITY_SEEDS = 900_000_000
"""LAMMPS' generators take no larger seed."""


@dataclass(frozen=True, eq=False)
class PlacedCrystal:
    """A drawn crystal on the lattice of a potential: what its atoms are before they move, and its views."""

    lattice: Lattice
    orientation: Array
    views: tuple[View, ...]
    built: DisplacedSites

    @property
    def frame(self) -> LineFrame:
        """Where its lines have their Burgers vectors."""
        return LineFrame(self.lattice, self.orientation)


def relaxed_set(recipe: RelaxedRecipe, directory: str | Path, *, processes: int = 1, progress: bool = True) -> Path:
    """Make, or finish making, the relaxed crystals of ``recipe`` in ``directory``; the path of ``dataset.h5``.

    Raises
    ------
    ValueError, OSError, RunError
        As ``data.generation.generate``; if there is no such potential, or it lacks its element.
    MissingDependencyError
        If LAMMPS or OVITO is not installed.
    """
    require_lammps()
    require_ovito()
    for element, potential in zip(recipe.elements, recipe.potentials, strict=True):
        common_potential(potential, (element,))
    return generate(recipe, directory, processes=processes, progress=progress, draw=relaxed_samples)


def relaxed_samples(recipe: RelaxedRecipe, index: int) -> tuple[Sample, ...]:
    """The exposures of the relaxed crystal of the absolute ``index``, which share its index.

    Raises
    ------
    ValueError
        If there is no such potential, or a draw does not fit the crystal.
    MissingDependencyError
        If LAMMPS or OVITO is not installed.
    """
    generators = exposure_generators(recipe, index)
    own = np.random.default_rng([recipe.seed, index, recipe.reflection_count])
    drawn = with_lines_apart(draw_crystal(recipe, *generators), recipe, own)
    potential = recipe.potentials[recipe.elements.index(drawn.crystal.lattice.formula)]
    placed = placed_crystal(drawn, _equilibrium(drawn.crystal.lattice.formula, potential))
    config, kinds = _rest(recipe, potential, own)
    atoms = Atoms.of_element(placed.lattice.formula, placed.built.sites + placed.built.displacement)
    try:
        atoms = relax(atoms, config).atoms
    except RunError:
        kinds = (kinds[0], "not relaxed")
    skin = config.anchored_shell_A + SHELL_MARGIN_A if config.anchored_shell_A else FREE_SKIN_A
    lines = lines_of_atoms(atoms.positions, placed, skin_A=skin, pair_voxels=recipe.pair_voxels)
    return exposed(placed, atoms.positions, lines, kinds, index, generators)


def placed_crystal(drawn: Draw, lattice: Lattice) -> PlacedCrystal:
    """``drawn`` with every length scaled to ``lattice``, the same structure with another edge; G·u stays."""
    scale = lattice.constant / drawn.crystal.lattice.constant
    sites, displacement, empty = (scale * part for part in _sites(drawn.crystal, drawn.views[0].grid))
    views = (replace(v, grid=QGrid(v.grid.centre / scale, v.grid.step / scale, v.grid.shape)) for v in drawn.views)
    alone = _alone(sites + displacement)
    built = DisplacedSites(sites[alone], displacement[alone], np.concatenate([empty, sites[~alone]]))
    return PlacedCrystal(lattice, drawn.crystal.orientation, tuple(views), built)


def lines_of_atoms(
    positions: Array, placed: PlacedCrystal, *, skin_A: float, pair_voxels: float = 0.0
) -> tuple[DislocationLine, ...]:
    """The dislocation lines that reach deeper than ``skin_A`` Å into the atoms at ``positions`` (n, 3)."""
    found = extract_lines(positions, placed.lattice.structure)
    depth = partial(depth_below_surface, positions=positions[ConvexHull(positions).vertices])
    voxel = abs(np.linalg.det(placed.views[0].grid.voxel)) ** (1 / 3)
    return resolved_lines(found, placed.frame, Resolution(depth, skin_A, pair_voxels * voxel))


def exposed(
    placed: PlacedCrystal,
    positions: Array,
    lines: Sequence[DislocationLine],
    kinds: tuple[str, ...],
    index: int,
    generators: Sequence[np.random.Generator],
) -> tuple[Sample, ...]:
    """Counted exposures and truth of atoms at ``positions`` (n, 3) Å, in the order of the built ones."""
    moved = replace(placed.built, displacement=positions - placed.built.sites)
    grids = [view.grid for view in placed.views]
    peaks = [(_vector(placed, view.reflection), view.grid) for view in placed.views]
    volumes = voxel_truth(moved, placed.lattice, placed.orientation, peaks)
    amplitudes = atomic_amplitudes(Atoms.of_element(placed.lattice.formula, positions), grids)
    return tuple(
        Sample(index, view.reflection, _counted(amplitude, view, generator), truth)
        for view, amplitude, generator, truth in zip(
            placed.views, amplitudes, generators, _truths(placed, volumes, lines, kinds), strict=True
        )
    )


def _rest(recipe: RelaxedRecipe, potential: str, generator: np.random.Generator) -> tuple[RelaxConfig, tuple[str, str]]:
    """How this crystal is relaxed, and the kinds that say so."""
    is_free, is_snapshot = generator.random(2) < [recipe.free_fraction, recipe.snapshot_fraction]
    seed = int(generator.integers(1, VELOCITY_SEEDS))
    motion = Annealing(recipe.temperature_K, recipe.time_ps, seed=seed, quench=False) if is_snapshot else None
    shell = 0.0 if is_free else recipe.anchored_shell_A
    config = RelaxConfig(
        potential, force_tolerance_eV_A=recipe.force_tolerance_eV_A, max_iterations=recipe.max_iterations,
        annealing=motion, anchored_shell_A=shell,
    )  # fmt: skip
    return config, ("free surface" if is_free else "anchored shell", "thermal motion" if is_snapshot else "at rest")


def _sites(crystal: Crystal, grid: QGrid) -> tuple[Array, Array, Array]:
    """Sites with an atom, their displacement, and the sites around the crystal within reach of its voxels."""
    sites, _ = crystal.reference_sites()
    points = torch.as_tensor(sites)
    displacement = crystal.displacement(points).detach().numpy()
    margin = float(np.linalg.norm(grid.voxel, axis=1).sum())
    low, high = crystal.shape.reach(crystal.orientation.T)
    around = crystal.lattice.sites_in_box(low - margin, high + margin)[0] @ crystal.orientation.T
    outside = crystal.shape.signed_distance(torch.as_tensor(around)).numpy()
    return sites, displacement, around[(outside > 0) & (outside < margin)]


def _alone(positions: Array) -> NDArray[np.bool_]:
    """Which atoms stay where some overlap: the first of each pair."""
    tree = cKDTree(positions)
    nearest = float(np.median(tree.query(positions, k=2)[0][:, 1]))
    kept = np.ones(len(positions), bool)
    kept[tree.query_pairs(OVERLAP * nearest, output_type="ndarray").reshape(-1, 2)[:, 1]] = False
    return kept


def _counted(amplitude: NDArray[np.complex128], view: View, generator: np.random.Generator) -> Exposure:
    intensity = torch.as_tensor(np.abs(amplitude) ** 2)
    counts, mask = view.detector.detect(
        intensity, torch_generator(generator, intensity.device), torch.as_tensor(view.grid.voxel)
    )
    return Exposure(counts.numpy(), view.grid, None if bool(mask.all()) else mask.numpy())


def _truths(
    placed: PlacedCrystal, volumes: VoxelTruth, lines: Sequence[DislocationLine], kinds: tuple[str, ...]
) -> list[Truth]:
    """The truth of each view; class, kinds and displacement are the crystal's."""
    lattice, orientation, frame = placed.lattice, placed.orientation, placed.frame
    partials = [frame.fractions(line) for line in lines if not frame.is_perfect(line)]
    present = (*kinds, *(["perfect dislocation"] if len(partials) < len(lines) else []),
               *(["partial dislocation"] if partials else []))  # fmt: skip
    return [
        Truth(
            defect=class_of_lines(lines, frame),
            kinds=present,
            lines=tuple(true_line(line, lattice, orientation, view.reflection) for line in lines),
            fault_step=_fault_step(partials, view.reflection),
            displacement=np.moveaxis(volumes.displacement, -1, 0).astype(np.float32),
            support=volumes.support.astype(np.float32),
            phase=phase.astype(np.float32),
            formula=lattice.formula,
            structure=lattice.structure,
            cell=lattice.cell,
            orientation=orientation,
        )
        for view, phase in zip(placed.views, volumes.phases, strict=True)
    ]


def _fault_step(partials: Sequence[Array], reflection: Reflection) -> float:
    """Largest phase step in turns across the faults that the partials bound: each shifts by a Burgers vector."""
    return max((abs(float(fault_contrast(shift, [reflection])[0].round(6))) for shift in partials), default=0.0)


def _vector(placed: PlacedCrystal, reflection: Reflection) -> Array:
    return np.asarray(placed.orientation @ placed.lattice.reflection_vector(reflection))


@lru_cache(maxsize=64)
def _equilibrium(material: str, potential: str) -> Lattice:
    return equilibrium_lattice(Lattice.of_material(material), potential)
