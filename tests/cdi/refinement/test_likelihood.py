import numpy as np
import pytest
import torch
from made_crystals import LINE, density, exposure
from scipy.optimize import minimize

from cdi.fourier import origin_to_centre
from cdi.pattern import Exposure
from cdi.refinement.likelihood import (
    LEAST_BACKGROUND,
    Likelihood,
    Observed,
    blurred,
    scale_and_background,
)
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.free_voxels import deviance_terms
from cdi.retrieval.measured import measured_patterns
from cdi.retrieval.phase_retrieval import retrieve


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("truth", [(3.0, 0.5), (40.0, 2.0), (0.7, 0.0)])
def test_scale_and_background_are_those_of_greatest_likelihood(truth: tuple[float, float]) -> None:
    light = torch.rand((1, 9, 8, 7), generator=generator(), dtype=torch.float64) ** 6
    counts = torch.poisson(truth[0] * light + truth[1], generator=generator())
    weight = (torch.rand(light.shape, generator=generator()) > 0.2).double()

    def loss(pair: np.ndarray) -> float:
        return float((deviance_terms(counts, pair[0] * light + pair[1]) * weight).sum())

    best = minimize(loss, np.array([1.0, 1.0]), bounds=[(1e-6, None), (LEAST_BACKGROUND, None)], tol=1e-12)
    scale, background = scale_and_background(counts, light, weight)
    assert loss(np.array([float(scale), float(background)])) <= best.fun + 1e-3


def test_blur_keeps_photons_and_has_the_widths_that_it_is_told() -> None:
    point = torch.zeros(1, 21, 20, 23, dtype=torch.float64)
    point[0, 10, 10, 11] = 5
    widths = torch.tensor([[1.3, 1.4, 1.2]], dtype=torch.float64)
    spread = blurred(point, widths)
    assert float(spread.sum()) == pytest.approx(5, rel=1e-3)
    for axis, (n, middle) in enumerate(((21, 10), (20, 10), (23, 11))):
        others = tuple(a for a in (1, 2, 3) if a != axis + 1)
        profile = spread.sum(others)[0] / spread.sum()
        variance = (profile * (torch.arange(n) - middle).double() ** 2).sum()
        assert float(variance) == pytest.approx(float(widths[0, axis]) ** 2, rel=0.01)


def test_derivative_of_the_profiled_deviance_needs_none_of_scale_and_background() -> None:
    light = torch.rand((1, 8, 9, 8), generator=generator(), dtype=torch.float64) + 0.05
    counts = torch.poisson(7 * light + 0.3, generator=generator()).numpy()[0]
    likelihood = Likelihood(Observed.of([Exposure(counts.astype(np.float32))], 0.1, generator()))
    widths = torch.tensor([[0.5, 0.6, 0.7]], dtype=torch.float64, requires_grad=True)

    def loss(at: torch.Tensor) -> torch.Tensor:
        return likelihood.deviance(likelihood.model(light, at))

    loss(widths).backward()
    step = torch.tensor([[1e-4, 0.0, 0.0]], dtype=torch.float64)
    slope = (loss(widths.detach() + step) - loss(widths.detach() - step)) / 2e-4
    assert widths.grad is not None
    assert float(widths.grad[0, 0]) == pytest.approx(float(slope), rel=1e-4)


def test_free_and_fitted_voxels_are_apart_and_leave_the_mask_out() -> None:
    counts = np.random.default_rng(0).poisson(3.0, (9, 10, 8)).astype(np.float32)
    counts[4, 5, 4] = 500
    mask = np.random.default_rng(1).random(counts.shape) > 0.2
    mask[4, 5, 4] = True
    observed = Observed.of([Exposure(counts, mask=mask)], 0.1, generator())
    assert not (observed.fitted & observed.free).any()
    assert torch.equal((observed.fitted | observed.free)[0], torch.as_tensor(mask))


def test_held_out_voxels_are_those_of_a_retrieval_of_the_same_generator() -> None:
    pattern = exposure(density(LINE))
    retrieved = measured_patterns([pattern], 0.1, generator())
    assert torch.equal(Observed.of([pattern], 0.1, generator()).free, origin_to_centre(retrieved.free))


def test_a_retrieval_has_never_seen_them() -> None:
    """Whatever is written into the held-out voxels, its runs are the same, support and all."""
    pattern = exposure(density(LINE))
    free = Observed.of([pattern], 0.1, generator()).free[0].numpy()
    other = Exposure(np.where(free, np.random.default_rng(1).permutation(pattern.counts[free]).max(), pattern.counts))
    config = RetrievalConfig("HIO 10, ER 10", starts=1, best=1, free_fraction=0.1)
    one, two = (retrieve([each], config, generator=generator()) for each in (pattern, other))
    np.testing.assert_array_equal(one.support, two.support)
    np.testing.assert_array_equal(one.runs, two.runs)
    assert two.free_deviance[0, 0] > 2 * one.free_deviance[0, 0]


def test_patterns_that_cannot_be_fitted_are_told() -> None:
    counts = np.ones((8, 8, 8), np.float32)
    with pytest.raises(ValueError, match="counts must not be all zero"):
        Observed.of([Exposure(counts, mask=np.zeros(counts.shape, bool))], 0.1, generator())
    with pytest.raises(ValueError, match="mask must leave voxels to hold out"):
        Observed.of([Exposure(counts, mask=np.arange(512).reshape(8, 8, 8) == 0)], 0.1, generator())
    with pytest.raises(ValueError, match="counts must not be all zero"):
        Exposure(np.zeros((8, 8, 8), np.float32))
    with pytest.raises(ValueError, match="exposures must hold at least one"):
        Observed.of([], 0.1, generator())
    with pytest.raises(ValueError, match="exposures must have one shape"):
        Observed.of([Exposure(counts), Exposure(np.ones((8, 9, 8), np.float32))], 0.1, generator())
    with pytest.raises(ValueError, match="free_fraction must lie in"):
        Observed.of([Exposure(counts)], 0.0, generator())
