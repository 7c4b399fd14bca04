"""A search finds the one object behind a pattern, blurred or not."""

import numpy as np
import pytest
import torch
from known_objects import SHAPE, amplitude, exposure, overlap

from cdi.fourier import SPATIAL
from cdi.pattern import Exposure
from cdi.retrieval.config import SearchConfig
from cdi.retrieval.search import search

QUICK = SearchConfig(starts=4, schedule="2x(HIO 50, ER 15)", kept=2, finish="RAAR 30, ER 20")


def blurred(sigma: float, seed: int) -> Exposure:
    """The dislocated crystal's pattern under partial coherence: a Gaussian of ``sigma`` voxels."""
    intensity = amplitude(dislocated=True).abs().square()
    frequency = [torch.fft.fftfreq(n, dtype=torch.float64) for n in SHAPE]
    x, y, z = torch.meshgrid(*frequency, indexing="ij")
    decay = torch.exp(-2 * (torch.pi * sigma) ** 2 * (x**2 + y**2 + z**2))
    expected = torch.fft.ifftn(torch.fft.fftn(intensity, dim=SPATIAL) * decay, dim=SPATIAL).real.clamp_min(0)
    return Exposure(np.random.default_rng(seed).poisson(expected.numpy()).astype(np.float32))


def test_a_dislocated_crystal_is_found_and_found_again() -> None:
    field = amplitude(dislocated=True)
    first, again = (search(exposure(field, 5), QUICK) for _ in range(2))
    assert overlap(first.density.numpy(), field) > 0.97
    assert first.error < 0.02
    assert torch.equal(first.density, again.density)
    assert first.deviance == again.deviance
    assert bool((first.support & (first.density.abs() > 0)).any())


def test_blur_is_fitted_where_there_is_some() -> None:
    """Without a fit of the blur the held-out voxels are missed by much more, and the object is another."""
    field, pattern = amplitude(dislocated=True), blurred(0.6, 5)
    whole = search(pattern, QUICK)
    sharp = search(pattern, SearchConfig(QUICK.starts, QUICK.schedule, 1, "ER 1"))
    assert whole.deviance < 0.5 * sharp.deviance
    assert overlap(whole.density.numpy(), field) > 0.95
    assert overlap(whole.density.numpy(), field) > overlap(sharp.density.numpy(), field)


def test_a_peak_behind_a_gap_is_refused() -> None:
    field = amplitude()
    mask = np.ones(SHAPE, bool)
    peak = np.unravel_index(int(field.abs().argmax()), SHAPE)
    mask[peak[0] - 1 : peak[0] + 2] = False
    with pytest.raises(ValueError, match="mask must leave the Bragg peak measured"):
        search(exposure(field, mask=mask), QUICK)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"starts": 0}, "starts must lie in"),
        ({"kept": 5}, r"kept must lie between 1 and starts \(4\), got 5"),
        ({"finish": "HIO"}, "schedule"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SearchConfig(**{"starts": 4, **change})  # type: ignore[arg-type]
