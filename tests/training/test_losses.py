"""The loss: blind to what intensity hides, and to nothing else."""

from dataclasses import fields, replace

import pytest
import torch

from cdi.ambiguity import inverted
from models.network import NetworkOutput
from training.config import LossWeights
from training.losses import Losses, line_loss, losses, phase_loss
from training.targets import Targets

WEIGHTS = LossWeights(defect=1.0, line=2.0, support=0.7, phase=1.3)
SHAPE = (6, 8, 10)


def truth(batch: int = 3, seed: int = 0) -> Targets:
    """Nothing in it is its own twin; the last sample is undetermined."""
    generator = torch.Generator().manual_seed(seed)
    line = torch.zeros(batch, *SHAPE)
    line[:, 1:5, 2, 3], line[:, 2, 3:7, 6] = 1.0, 0.6
    support = torch.rand(batch, *SHAPE, generator=generator).round()
    phase = 6 * torch.rand(batch, *SHAPE, generator=generator) - 3
    determined = torch.ones(batch)
    determined[-1] = 0
    counts = torch.ones(batch, *(2 * n for n in SHAPE))
    return Targets(counts, torch.zeros(batch, 10), torch.arange(batch) % 4, determined, line, support, phase)


def random_output(batch: int = 3, seed: int = 1) -> NetworkOutput:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    phasor = torch.complex(noise(batch, *SHAPE), noise(batch, *SHAPE))
    return NetworkOutput(noise(batch, 4), noise(batch, *SHAPE), noise(batch, *SHAPE), phasor)


def twin_of(targets: Targets) -> Targets:
    return replace(
        targets, line=inverted(targets.line), support=inverted(targets.support), phase=-inverted(targets.phase)
    )


def perfect_output(targets: Targets) -> NetworkOutput:
    classes = torch.nn.functional.one_hot(targets.defect, 4) * 200.0
    phasor = torch.polar(torch.ones_like(targets.phase), targets.phase)
    return NetworkOutput(classes, torch.logit(targets.line, 1e-7), 200 * (2 * targets.support - 1), phasor)


def assert_same(a: Losses, b: Losses) -> None:
    for field in fields(Losses):
        torch.testing.assert_close(getattr(a, field.name), getattr(b, field.name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_truth_and_its_twin_cost_the_same(seed: int) -> None:
    """For any output, every term."""
    output = random_output(seed=seed)
    assert_same(losses(output, truth(), WEIGHTS), losses(output, twin_of(truth()), WEIGHTS))


def test_a_global_phase_costs_nothing() -> None:
    """Neither in the truth nor in the answer, a different one for each sample."""
    output, targets = random_output(), truth()
    turned = replace(targets, phase=targets.phase + torch.tensor([0.3, -2.0, 9.0])[:, None, None, None])
    assert_same(losses(output, targets, WEIGHTS), losses(output, turned, WEIGHTS))
    turned_output = replace(output, phasor=output.phasor * torch.exp(torch.tensor(1.1j)))
    assert_same(losses(output, targets, WEIGHTS), losses(turned_output, targets, WEIGHTS))


def test_a_phase_may_wrap_anywhere() -> None:
    """2π jumps of the truth, as behind a dislocation, are no error."""
    output, targets = random_output(), truth()
    wrapped = replace(targets, phase=torch.remainder(targets.phase + 1, 2 * torch.pi) - 1)
    torch.testing.assert_close(losses(output, targets, WEIGHTS).total, losses(output, wrapped, WEIGHTS).total)


@pytest.mark.parametrize("twinned", [False, True])
def test_the_perfect_answer_costs_nothing(twinned: bool) -> None:
    """Given as the truth or as its twin, all terms vanish."""
    targets = truth()
    found = losses(perfect_output(twin_of(targets) if twinned else targets), targets, WEIGHTS)
    for field in fields(Losses):
        assert getattr(found, field.name).abs().max() < 1e-3, field.name


def test_the_twin_is_chosen_jointly() -> None:
    """Lines of the truth with support and phase of the twin is no answer: terms may not choose one by one."""
    targets = truth()
    direct, mirrored = perfect_output(targets), perfect_output(twin_of(targets))
    mixture = replace(direct, support_logits=mirrored.support_logits, phasor=mirrored.phasor)
    found = losses(mixture, targets, WEIGHTS)
    # The twin wins on two of three terms, and the weighted sum decides: the lines pay for it.
    assert (found.support[:2] + found.phase[:2] < 1e-3).all()
    assert (found.line[:2] > 0.1).all()


def test_each_crystal_chooses_its_own_twin() -> None:
    """One sample answered directly, the next as its twin: both are right."""
    targets = truth()
    direct, mirrored = perfect_output(targets), perfect_output(twin_of(targets))
    pick = torch.tensor([True, False, True])

    def choose(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.where(pick[(...,) + (None,) * (a.ndim - 1)], a, b)

    both = NetworkOutput(*(choose(getattr(direct, f.name), getattr(mirrored, f.name)) for f in fields(NetworkOutput)))
    assert losses(both, targets, WEIGHTS).total < 1e-3


def test_an_undetermined_exposure_is_not_asked_for_class_or_lines() -> None:
    """No gradient of class or line reaches the sample that cannot know; support and phase still learn from it."""
    output = random_output()
    for field in fields(NetworkOutput):
        getattr(output, field.name).requires_grad_()
    losses(output, truth(), WEIGHTS).total.backward()
    assert output.class_logits.grad is not None
    assert not output.class_logits.grad[2].any()
    assert output.class_logits.grad[:2].abs().sum(-1).all()
    assert output.line_logits.grad is not None
    assert not output.line_logits.grad[2].any()
    for learning in (output.support_logits, output.phasor):
        assert learning.grad is not None
        assert learning.grad[2].abs().sum() > 0


def test_the_phase_loss_is_the_best_over_global_phases() -> None:
    """Against a scan over 1000 global phases."""
    targets, phasor = truth(), random_output().phasor
    alphas = torch.linspace(0, 2 * torch.pi, 1001)
    volume = targets.support.sum((1, 2, 3))
    scan = torch.stack(
        [
            (targets.support * (phasor - torch.polar(torch.ones_like(targets.phase), targets.phase + a)).abs() ** 2)
            .sum((1, 2, 3)) / volume
            for a in alphas
        ]
    )  # fmt: skip
    torch.testing.assert_close(phase_loss(phasor, targets.support, targets.phase), scan.amin(0), atol=1e-3, rtol=1e-3)


def test_an_empty_answer_costs_more_than_the_line() -> None:
    """And where there is no line, emptiness is free."""
    line = truth().line
    empty = torch.full_like(line, -20.0)
    assert (line_loss(empty, line) > line_loss(torch.logit(line, 1e-6), line) + 0.5).all()
    torch.testing.assert_close(line_loss(empty, torch.zeros_like(line)), torch.zeros(3), atol=1e-5, rtol=0)


def test_an_empty_support_gives_finite_losses() -> None:
    targets = replace(truth(), support=torch.zeros(3, *SHAPE), line=torch.zeros(3, *SHAPE))
    assert losses(random_output(), targets, WEIGHTS).total.isfinite()
