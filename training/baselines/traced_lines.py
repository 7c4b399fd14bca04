"""From complex objects of a crystal's reflections to an answer: vortex lines, joined across reflections.

What it tells: lines with their whole-number windings, their count, whether there is one, support and phases; with
enough reflections the Burgers vectors, and from them edge, screw or mixed. What it cannot tell: partials and faults,
which are no vortices; the class where a Burgers vector stays open, for which the frequencies of the defective classes
stand; and how sure it is: its answers are 0 or 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.defects.classes import CLASSES, LOOP_OR_NETWORK, defect_class
from cdi.fourier import centre_crop, origin_to_centre, origin_to_corner
from cdi.retrieval.common_frame import gather_reflections
from cdi.retrieval.joined_lines import joined_lines
from cdi.retrieval.vortex_lines import vortex_lines
from models.burgers import burgers_posterior, line_character
from models.preprocess import fit_set
from training.methods import CrystalSamples, known_crystal
from training.metrics import CrystalObject, Line, PredictedCrystal

Array = NDArray[np.float64]

SOLID = 0.5
"""Of the plateau of the modulus, above which a voxel is crystal."""
WINDING_SIGMA = 0.3
"""Standard error of a winding: a whole number is seldom wrong, but a line may be missed in a reflection."""


@dataclass(frozen=True)
class _Told:
    """A line as ``cdi.defects.classes.defect_class`` wants it."""

    defect_class: str


def gathered(density: Tensor) -> Tensor:
    """Objects ``(reflections, x, y, z)``, origin at ``N // 2``, moved and inverted until they lie over the first."""
    moved = origin_to_corner(density)[:, None]
    _, together, _ = gather_reflections(moved.abs(), moved, moved)
    return origin_to_centre(together[:, 0])


def traced_crystal(density: Tensor, support: Tensor, crystal: CrystalSamples, frequencies: Array) -> PredictedCrystal:
    """The answer that objects of one frame give.

    Parameters
    ----------
    density : (reflections, x, y, z) complex
        On the exposures' grid, origin at ``N // 2``.
    support : (reflections, x, y, z) bool
    crystal : its samples, of which the exposures, the Miller indices and the lattice are read.
    frequencies : (classes,)
        Of the classes, for a defect whose class stays open.
    """
    x, y, z = (n // 2 for n in density.shape[1:])
    density, support = centre_crop(density, (x, y, z)), centre_crop(support, (x, y, z))
    exposures = fit_set([sample.exposure for sample in crystal], crystal[0].exposure.counts.shape)
    grids = [exposure.grid for exposure in exposures if exposure.grid is not None]
    found = [
        vortex_lines(volume, inside, voxel=grids[0].voxel) if bool(inside.any()) else ()
        for volume, inside in zip(density, support, strict=True)
    ]
    joined = joined_lines(found, grids[0].voxel)
    lines = [Line(line.points, np.asarray(line.windings, np.float64)) for line in joined]
    placed, told = _with_burgers(lines, crystal, np.array([grid.centre for grid in grids]))
    return PredictedCrystal(
        volumes=CrystalObject(_solid(density.abs().double(), support).numpy(), np.asarray(density.angle().double())),
        lines=placed,
        class_probabilities=_class_probabilities(told, frequencies),
        defect_probability=float(bool(placed)),
    )


def nothing_found(crystal: CrystalSamples, frequencies: Array) -> PredictedCrystal:
    """Where a pattern cannot be phased: an empty object, no line, the bare frequencies, and "undetermined"."""
    half = tuple(n // 2 for n in crystal[0].exposure.counts.shape)
    return PredictedCrystal(
        volumes=CrystalObject(np.zeros(half), np.zeros((len(crystal), *half))),
        lines=(),
        class_probabilities=frequencies,
        undetermined=True,
    )


def _solid(modulus: Tensor, support: Tensor) -> Tensor:
    """1 where the mean modulus, each reflection's over its median in its support, exceeds ½, else 0 ``(x, y, z)``.

    A support that shrink-wrap leaves is loose on purpose; half of the plateau is where a blurred face stands.
    """
    plateau = [volume[inside].median() if bool(inside.any()) else volume.amax() for volume, inside in
               zip(modulus, support, strict=True)]  # fmt: skip
    relative = modulus / torch.stack(plateau).clamp_min(torch.finfo(modulus.dtype).tiny)[:, None, None, None]
    return ((relative * support).mean(0) > SOLID).double()


def _with_burgers(lines: Sequence[Line], crystal: CrystalSamples, G: Array) -> tuple[tuple[Line, ...], list[str]]:
    """Lines with the most probable Burgers vector of the lattice; what each is called, "" where that stays open."""
    known = known_crystal(crystal)
    orientation = known.oriented(G)
    placed, told = [], []
    for line in lines:
        posterior = burgers_posterior(
            line.windings, WINDING_SIGMA, known.lattice, known.reflections, kinds=("perfect",)
        )
        placed.append(Line(line.points, line.windings, posterior.candidates[0]))
        if np.array_equal(line.points[0], line.points[-1]):
            told.append(LOOP_OR_NETWORK)
        elif posterior.determined and orientation is not None:
            burgers = orientation @ (posterior.candidates[0] @ known.lattice.cell)
            told.append(line_character(burgers, line.points))
        else:
            told.append("")
    return tuple(placed), told


def _class_probabilities(told: Sequence[str], frequencies: Array) -> Array:
    if "" in told:
        defective = np.where(np.arange(len(CLASSES)) > 0, frequencies, 0)
        return np.asarray(defective / defective.sum())
    return np.asarray(np.eye(len(CLASSES))[CLASSES.index(defect_class(_Told(name) for name in told))])


def support_above(density: Tensor, level: float) -> Tensor:
    """Where the modulus of ``density`` (reflections, x, y, z) exceeds ``level`` of its greatest value."""
    modulus = density.abs()
    inside: Tensor = modulus > level * modulus.amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(modulus.dtype).tiny)
    return inside
