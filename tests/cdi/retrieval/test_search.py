"""A search finds the one object behind a pattern, blurred or not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from known_objects import SHAPE, amplitude, exposure, overlap
from numpy.typing import NDArray
from torch import Tensor

from cdi.fourier import SPATIAL, object_from_amplitude
from cdi.pattern import Exposure
from cdi.retrieval import search as search_module
from cdi.retrieval.config import SearchConfig
from cdi.retrieval.retrieval import Retrieval
from cdi.retrieval.search import room_around, search

QUICK = SearchConfig(starts=4, schedule="2x(HIO 50, ER 15)", kept=2, finish="RAAR 30, ER 20", rounds=1)


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
    sharp = search(pattern, replace(QUICK, kept=1, finish="ER 1"))
    assert whole.deviance < 0.5 * sharp.deviance
    assert overlap(whole.density.numpy(), field) > 0.95
    assert overlap(whole.density.numpy(), field) > overlap(sharp.density.numpy(), field)


def gap(field: Tensor) -> NDArray[np.bool_]:
    """Three planes around the brightest voxel are not measured."""
    mask = np.ones(SHAPE, bool)
    peak = np.unravel_index(int(field.abs().argmax()), SHAPE)
    mask[peak[0] - 1 : peak[0] + 2] = False
    return mask


def test_a_peak_behind_a_gap_is_refused() -> None:
    field = amplitude()
    with pytest.raises(ValueError, match="mask must leave the Bragg peak measured"):
        search(exposure(field, mask=gap(field)), QUICK)


def test_a_peak_behind_a_gap_is_phased_within_a_support() -> None:
    field = amplitude(dislocated=True)
    modulus = object_from_amplitude(field).abs()
    found = search(exposure(field, 5, gap(field)), QUICK, support=modulus > 0.5 * modulus.max())
    assert overlap(found.density.numpy(), field) > 0.95


def test_a_further_round_starts_anew_within_the_best_support(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first round ends far off after a few iterations of two starts; other starts then come nearer."""
    asked: list[tuple[Tensor | None, Tensor]] = []
    retrieve = search_module.retrieve

    def noted(*given: Any, support: Tensor | None = None, density: Tensor | None = None, **named: Any) -> Retrieval:
        found = retrieve(*given, support=support, density=density, **named)
        if density is None:
            asked.append((support, torch.as_tensor(found.runs[0, 0])))
        return found

    monkeypatch.setattr(search_module, "retrieve", noted)
    pattern, poor = (
        exposure(amplitude(dislocated=True), 5),
        replace(QUICK, starts=2, schedule="HIO 30, ER 10", finish="ER 10"),
    )
    first = search(pattern, poor)
    second = search(pattern, replace(poor, rounds=2))
    assert [support is None for support, _ in asked] == [True, True, False]
    assert torch.equal(asked[0][1], asked[1][1])
    assert not torch.equal(asked[1][1], asked[2][1])
    inside = asked[2][0]
    assert inside is not None
    assert bool(inside[first.support].all())
    assert int(inside.sum()) > int(first.support.sum())
    assert second.deviance < first.deviance


def test_an_object_that_leaves_photon_noise_alone_needs_no_further_round() -> None:
    pattern = exposure(amplitude(dislocated=True), 5)
    first, settled = (search(pattern, replace(QUICK, rounds=rounds, settled=1e6)) for rounds in (1, 3))
    assert torch.equal(first.density, settled.density)


@pytest.mark.parametrize(("side", "grown"), [(4, 6), (7, 7), (8, 8)])
def test_a_support_grows_where_half_of_the_array_has_room(side: int, grown: int) -> None:
    inside = torch.zeros(16, 16, 16, dtype=torch.bool)
    inside[4 : 4 + side, 5:9, 6:10] = True
    roomy = room_around(inside)
    assert [int(roomy.any(other).sum()) for other in ((1, 2), (0, 2), (0, 1))] == [grown, 6, 6]
    assert bool(roomy[inside].all())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"starts": 0}, "starts must lie in"),
        ({"kept": 5}, r"kept must lie between 1 and starts \(4\), got 5"),
        ({"finish": "HIO"}, "schedule"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"rounds": 0}, r"rounds must lie in \[1, 100\], got 0"),
        ({"settled": -1.0}, "settled must be 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SearchConfig(**{"starts": 4, **change})  # type: ignore[arg-type]
