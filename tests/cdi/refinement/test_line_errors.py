"""Standard errors of lines: by the curvature of the likelihood, and by refits of half of the voxels."""

import numpy as np
import pytest
import torch
from made_crystals import LINE, SHAPE, density, exposure, points, support

from cdi.refinement.crystal_model import CrystalModel, ModelLine, Modes
from cdi.refinement.ensemble import ensemble_errors
from cdi.refinement.fit import expected
from cdi.refinement.likelihood import Likelihood, Observed
from cdi.refinement.line_phase import Track
from cdi.refinement.object_model import Box
from cdi.refinement.start import StartObject
from cdi.refinement.trials import Ground, Trial, Trials
from cdi.refinement.uncertainty import PRIOR, STEP, line_errors

WIDTHS = torch.full((2, 3), 0.3, dtype=torch.float64)


def two_reflections() -> tuple[CrystalModel, Likelihood]:
    """A crystal in two reflections, of which the line winds in one."""
    small = support() & (points()[..., :2].abs().amax(-1) <= 2)
    densities = torch.cat([density(LINE), density(None, strain=0.3)]) * small
    patterns = [exposure(one[None], peak=3e3, seed=seed) for seed, one in enumerate(densities)]
    observed = Observed.of(patterns, 0.1, torch.Generator().manual_seed(1))
    box = Box.around(small, SHAPE)
    model = CrystalModel(box, Modes.on(box, 1), [ModelLine(Track(LINE), (1, 0))], box.cut(densities))
    return model, Likelihood(observed)


@torch.no_grad()
def errors_at_once(model: CrystalModel, likelihood: Likelihood) -> float:
    """Of the one line, from the inverse of the whole information of both reflections."""
    widths = WIDTHS[: len(likelihood.observed.counts)]
    base = expected(model, likelihood, widths)
    chosen = likelihood.observed.fitted & (base > 0.05)
    rows = []
    for number in (*model.steps, model.strains, model.smooth, model.modulus):
        flat = number.view(-1)
        for place in range(len(flat)):
            flat[place] += STEP
            ahead = expected(model, likelihood, widths)
            flat[place] -= 2 * STEP
            rows.append((ahead - expected(model, likelihood, widths))[chosen] * base[chosen].rsqrt() / (2 * STEP))
            flat[place] += STEP
    jacobian = torch.stack(rows)
    covariance = torch.linalg.inv(jacobian @ jacobian.T + torch.eye(len(rows), dtype=torch.float64) / PRIOR**2)
    return float(covariance.diagonal()[: model.steps[0].numel()].mean().sqrt()) * model.track_scale()


def test_reflections_one_by_one_give_the_errors_of_all_at_once() -> None:
    """And where only the brightest voxels are held in memory, errors are larger, never smaller."""
    model, likelihood = two_reflections()
    (error,) = line_errors(model, likelihood, WIDTHS, deviance=1.0)
    assert error == pytest.approx(errors_at_once(model, likelihood), rel=0.01)
    (few,) = line_errors(model, likelihood, WIDTHS, deviance=1.0, most=2**17)
    assert error < few < 10 * error


def test_a_voxel_that_the_cut_of_a_line_moves_across_tells_nothing_by_that() -> None:
    """Its phase turns by a whole 2π, which is no change: the pattern, computed with the line moved, does not see it."""
    small = support() & (points()[..., :2].abs().amax(-1) <= 2)
    line = torch.tensor([[0.45, 0.0, -4.0], [0.55, 0.0, 4.0]], dtype=torch.float64)  # the cut at y = 0, as voxels are
    one = density(line) * small
    box = Box.around(small, SHAPE)
    model = CrystalModel(box, Modes.on(box, 1), [ModelLine(Track(line), (1,))], box.cut(one))
    likelihood = Likelihood(Observed.of([exposure(one, peak=3e3)], 0.1, torch.Generator().manual_seed(1)))
    (error,) = line_errors(model, likelihood, WIDTHS[:1], deviance=1.0)
    assert error == pytest.approx(errors_at_once(model, likelihood), rel=0.02)


def begun(peak: float, seed: int, iterations: int) -> tuple[Ground, Likelihood, Trial]:
    """A crystal with a line fitted to counts of ``seed``."""
    beside = LINE + torch.tensor([0.5, -0.4, 0])
    observed = Observed.of([exposure(density(LINE), peak, seed=seed)], 0.1, torch.Generator().manual_seed(seed))
    ground = Ground.of(StartObject("made", density(beside), support()), SHAPE, 3)
    trials = Trials(ground, Likelihood(observed), iterations)
    return ground, Likelihood(observed), trials.of((ModelLine(Track(beside), (1,)),))


def error_by_halves(peak: float, seed: int, refits: int, iterations: int) -> float:
    ground, likelihood, trial = begun(peak, seed, iterations)
    generator = torch.Generator().manual_seed(seed)
    (error,) = ensemble_errors(ground, trial, likelihood, refits, iterations, generator)
    return error


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_both_errors_are_the_scatter_over_draws_of_the_noise() -> None:
    """To a factor of 2.5 of what six measurements of one crystal give, where the model has what the crystal has."""
    fitted = [begun(2e4, seed, 80) for seed in range(100, 106)]
    corners = torch.stack([trial.model.tracks()[0].corners.detach() for _, _, trial in fitted])
    scatter = float((corners.var(0, correction=1).sum(-1) / 2).mean().sqrt())
    _, likelihood, trial = fitted[0]
    (curvature,) = line_errors(trial.model, likelihood, trial.fitted.widths, trial.fitted.deviance)
    halves = error_by_halves(2e4, 100, 5, 80)
    print(f"scatter over the noise {scatter:.4f}, curvature {curvature:.4f}, halves {halves:.4f} voxels")
    assert scatter / 2.5 < curvature < 2.5 * scatter
    assert scatter / 2.5 < halves < 2.5 * scatter


def test_halves_of_a_bright_pattern_agree_better_than_those_of_a_dim_one() -> None:
    dim, bright = (error_by_halves(peak, 5, 3, 15) for peak in (300.0, 1e6))
    assert np.isfinite(dim)
    assert 0 < 2 * bright < dim


def test_no_line_has_no_error() -> None:
    ground = Ground.of(StartObject("made", density(None), support()), SHAPE, 1)
    likelihood = Likelihood(Observed.of([exposure(density(None))], 0.1, torch.Generator().manual_seed(0)))
    trial = Trials(ground, likelihood, 1).of(())
    assert ensemble_errors(ground, trial, likelihood, 2, 1, torch.Generator()) == []
    assert line_errors(trial.model, likelihood, trial.fitted.widths, 1.0) == []
