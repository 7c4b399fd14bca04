"""What a refinement says of a crystal, as the scores want it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cdi.pattern import Exposure
from cdi.refinement.config import RefinementConfig
from cdi.refinement.refinement import RefinedLine, Refinement, refine
from cdi.refinement.report import line_points
from cdi.refinement.start import StartObject
from models.prediction import CLASSES
from models.preprocess import fit_set
from training.baselines.traced_lines import nothing_found, traced_crystal
from training.methods import CrystalSamples, known_crystal
from training.metrics import Line, PredictedCrystal
from training.refinement_starts import lattice_windings

Array = NDArray[np.float64]


def refined(
    crystal: CrystalSamples,
    exposures: Sequence[Exposure],
    starts: Sequence[StartObject],
    config: RefinementConfig,
    seed: int,
) -> Refinement | None:
    """``crystal`` refined from ``starts``; None where its patterns cannot be fitted.

    ``exposures`` are its own on the grid of the starts, ``seed`` that of the held-out voxels.
    """
    generator = torch.Generator().manual_seed(seed)
    try:
        return refine(exposures, starts, config, generator=generator, windings=lattice_windings(known_crystal(crystal)))
    except ValueError:  # no start that fits into half of the array
        return None


def refined_answer(found: Refinement | None, crystal: CrystalSamples, *, confirmed: bool = False) -> PredictedCrystal:
    """Volumes of the better object, lines of the best hypothesis; "undetermined" where nothing could be fitted.

    ``confirmed`` leaves out lines without which the held-out voxels do not reject the crystal.
    """
    frequencies = np.full(len(CLASSES), 1 / len(CLASSES))
    if found is None:
        return nothing_found(crystal, frequencies)
    # Volumes as a retrieval's are; lines and the probability of a defect are those of the hypotheses.
    density = found.object_fit.density
    traced = traced_crystal(density, found.support.expand(density.shape), crystal, frequencies)
    grid = fit_set([crystal[0].exposure], crystal[0].exposure.counts.shape)[0].grid
    assert grid is not None  # a sample's exposure always has one
    told = [line for line in found.lines if not confirmed or (line.without is not None and line.without.rejects)]
    return PredictedCrystal(
        volumes=traced.volumes,
        lines=tuple(_line(line, grid.voxel) for line in told),
        defect_probability=found.defect_probability,
        confidence=max(found.defect_probability, 1 - found.defect_probability),
    )


def _line(line: RefinedLine, voxel: Array) -> Line:
    confidence = float("nan") if line.without is None else line.without.probability
    return Line(line_points(line, voxel), np.asarray(line.windings, np.float64), None, confidence)
