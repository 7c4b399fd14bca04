import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from cdi.pattern import Exposure
from cdi.refinement.likelihood import (
    LEAST_BACKGROUND,
    Likelihood,
    Observed,
    blurred,
    deviance_terms,
    scale_and_background,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def test_deviance_is_zero_for_the_counts_themselves_and_positive_elsewhere() -> None:
    counts = torch.tensor([0.0, 1.0, 7.0, 300.0], dtype=torch.float64)
    assert torch.allclose(deviance_terms(counts[1:], counts[1:]), torch.zeros(3, dtype=torch.float64), atol=1e-10)
    assert (deviance_terms(counts, counts * 1.3 + 0.2) > 0).all()


def test_deviance_is_twice_the_log_likelihood_ratio() -> None:
    counts, model = torch.tensor([0.0, 3.0, 12.0]).double(), torch.tensor([0.4, 5.0, 10.0]).double()
    poisson = torch.distributions.Poisson
    ratio = poisson(counts.clamp_min(1e-12)).log_prob(counts) - poisson(model).log_prob(counts)
    assert torch.allclose(deviance_terms(counts, model), 2 * ratio, atol=1e-9)


def test_deviance_of_the_truth_is_one_on_average() -> None:
    mean = torch.full((40_000,), 30.0, dtype=torch.float64)
    counts = torch.poisson(mean, generator=generator())
    assert float(deviance_terms(counts, mean).mean()) == pytest.approx(1.0, abs=0.03)


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
