"""Data consistency: the truth stays, a guess comes closer, gaps are free; a set of reflections has one twin."""

import numpy as np
import pytest
import torch
from objects_by_hand import HALF, WHOLE, crystal_object, indices, intensity, lopsided
from torch import Tensor

from cdi.ambiguity import inverted, twin
from models.data_consistency import data_consistent, twin_where, twins_to_align

EVERYWHERE = torch.ones(1, *WHOLE, dtype=torch.bool)
TRUE = crystal_object()[None]


def without_global_phase(density: Tensor) -> Tensor:
    mean = density.sum((-3, -2, -1), keepdim=True)
    return density * mean.conj() / mean.abs()


def wrong_moduli(density: Tensor, counts: Tensor, measured: Tensor = EVERYWHERE) -> float:
    """R = Σ(|F| − √I)²/ΣI on measured voxels, at the best scale."""
    modulus, root = intensity(density).sqrt()[measured], counts.sqrt()[measured]
    scale = (modulus * root).sum() / modulus.square().sum()
    return float((scale * modulus - root).square().sum() / root.square().sum())


def guess(strength: float, seed: int = 2) -> Tensor:
    """The true phase, off by a smooth random one of ``strength`` radians."""
    generator = np.random.default_rng(seed)
    waves = np.sin(indices(HALF) * generator.uniform(0.3, 0.9, 3) + generator.uniform(0, 6, 3)).sum(-1)
    return TRUE * torch.as_tensor(np.exp(1j * strength * waves), dtype=torch.complex64)


@pytest.mark.parametrize("iterations", [1, 7, 30])
def test_the_true_object_of_a_clean_pattern_stays(iterations: int) -> None:
    """It is a fixed point of every projection; the answer has unit mean modulus, and no global phase."""
    found = data_consistent(3e4 * intensity(TRUE), EVERYWHERE, TRUE.abs(), 0.2j * TRUE, iterations)
    torch.testing.assert_close(found, without_global_phase(TRUE), atol=2e-4, rtol=0)


def test_moduli_agree_better_after_it_than_before() -> None:
    """From a phase that is off by most of a radian, the more iterations the better."""
    counts, proposal = intensity(TRUE), guess(0.7)
    errors = [wrong_moduli(proposal, counts)] + [
        wrong_moduli(data_consistent(counts, EVERYWHERE, TRUE.abs(), proposal, n), counts) for n in (5, 15, 60)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < errors[0] / 4


def test_nothing_lies_outside_the_proposed_support() -> None:
    found = data_consistent(intensity(TRUE), EVERYWHERE, TRUE.abs(), guess(0.7), 15)
    assert not found[TRUE == 0].any()
    inside = found.abs()[TRUE.abs() > 0]
    assert inside.mean() == pytest.approx(1, abs=1e-4)


def test_a_proposal_without_a_crystal_leaves_the_whole_half() -> None:
    """Of a batch, only where the support is empty."""
    both = torch.cat([torch.zeros_like(TRUE.abs()), TRUE.abs()])
    counts = intensity(TRUE).expand(2, -1, -1, -1)
    found = data_consistent(counts, EVERYWHERE.expand(2, -1, -1, -1), both, guess(0.3).expand(2, -1, -1, -1), 3)
    assert found.isfinite().all()
    assert not found[1][TRUE[0] == 0].any()


def test_what_was_not_measured_is_free() -> None:
    """Whatever stands in a gap, the answer is the same; the truth, gaps or not, is a fixed point."""
    measured = torch.rand(1, *WHOLE, generator=torch.Generator().manual_seed(0)) > 0.1
    measured[:, 8:10, 12:14, 8] = False
    counts = intensity(TRUE)
    spoiled = torch.where(measured, counts, 1e6)
    empty = torch.where(measured, counts, 0)
    answers = [data_consistent(c, measured, TRUE.abs(), TRUE, 30) for c in (spoiled, empty)]
    torch.testing.assert_close(answers[0], answers[1], atol=0, rtol=0)
    torch.testing.assert_close(answers[0], without_global_phase(TRUE), atol=5e-3, rtol=0)
    assert wrong_moduli(answers[0], counts, measured) < 1e-6
    # Zeros taken for measured ones are believed.
    believed = data_consistent(empty, EVERYWHERE, TRUE.abs(), TRUE, 30)
    assert (believed - without_global_phase(TRUE)).abs().amax() > 0.1


def test_an_empty_pattern_gives_no_object() -> None:
    found = data_consistent(torch.zeros(1, *WHOLE), EVERYWHERE, TRUE.abs(), TRUE, 3)
    assert not found.abs().any()


def shown(*volumes: Tensor) -> Tensor:
    """One crystal's reflections with two channels each."""
    return torch.stack([torch.stack([volume, volume.square() + 0.3]) for volume in volumes])[None]


def test_an_inverted_copy_is_turned_and_the_others_are_not() -> None:
    """Noise of its own in each reflection included."""
    generator = torch.Generator().manual_seed(1)
    support = torch.as_tensor(lopsided(), dtype=torch.float32)
    noisy = [support + 0.2 * torch.rand(HALF, generator=generator) for _ in range(4)]
    turned = twins_to_align(
        shown(noisy[0], inverted(noisy[1]), noisy[2], inverted(noisy[3])), torch.ones(1, 4, dtype=torch.bool)
    )
    assert turned.tolist() == [[False, True, False, True]]


def test_the_choice_of_twins_does_not_depend_on_the_reference_but_jointly() -> None:
    """With another reflection first, either the same ones are turned or all the others."""
    support = torch.as_tensor(lopsided(), dtype=torch.float32)
    volumes = shown(support, inverted(support), support, inverted(support))
    present = torch.ones(1, 4, dtype=torch.bool)
    straight = twins_to_align(volumes, present)[0]
    swapped = twins_to_align(volumes[:, [1, 0, 2, 3]], present)[0][[1, 0, 2, 3]]
    assert torch.equal(swapped, ~straight)


def test_what_has_an_inversion_centre_is_left_alone() -> None:
    """A ball, brighter in one reflection than in the other: nothing tells its twin."""
    ball = torch.as_tensor(((indices((9, 11, 7)) / 4) ** 2).sum(-1) < 0.7).float()
    assert not twins_to_align(shown(ball, 1.5 * ball, inverted(ball)), torch.ones(1, 3, dtype=torch.bool)).any()


def test_an_absent_reflection_is_not_turned() -> None:
    support = torch.as_tensor(lopsided(), dtype=torch.float32)
    present = torch.tensor([[True, True, False]])
    assert twins_to_align(shown(support, inverted(support), inverted(support)), present).tolist() == [
        [False, True, False]
    ]


def test_turning_gives_the_twin_where_chosen() -> None:
    """Conjugate and inverted where complex, inverted where real; its pattern is the same."""
    densities = torch.stack([crystal_object(0), crystal_object(1)])[None]
    chosen = torch.tensor([[False, True]])
    found = twin_where(densities, chosen)
    assert torch.equal(found[0, 0], densities[0, 0])
    assert torch.equal(found[0, 1], twin(densities[0, 1]))
    assert torch.equal(twin_where(densities.abs(), chosen)[0, 1], inverted(densities.abs()[0, 1]))
    torch.testing.assert_close(intensity(found), intensity(densities), rtol=1e-4, atol=1e-2)
