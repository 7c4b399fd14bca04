"""The loss: blind to what intensity hides, and to nothing else."""

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from cdi.ambiguity import inverted
from models.network import NetworkOutput, Proposal
from models.pattern_set import PatternSet
from models.prediction import CLASSES
from training.config import LossWeights
from training.losses import Losses, line_loss, losses, phase_loss, proposal_losses, winding_loss
from training.targets import CrystalTruth, Targets

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)

WEIGHTS = LossWeights(defect=1.0, count=0.3, line=2.0, winding=0.9, support=0.7, phase=1.3)
SHAPE = (6, 8, 10)
BATCH, REFLECTIONS = 3, 2


def truth(seed: int = 0) -> Targets:
    """Nothing in it is its own twin; the last crystal is undetermined."""
    generator = torch.Generator().manual_seed(seed)
    line = torch.zeros(BATCH, *SHAPE)
    line[:, 1:5, 2, 3], line[:, 2, 3:7, 6] = 1.0, 0.6
    winding = torch.randn(BATCH, REFLECTIONS, 3, *SHAPE, generator=generator) * line[:, None, None]
    support = torch.rand(BATCH, REFLECTIONS, *SHAPE, generator=generator).round()
    phase = 6 * torch.rand(BATCH, REFLECTIONS, *SHAPE, generator=generator) - 3
    determined = torch.ones(BATCH)
    determined[-1] = 0
    counts = torch.ones(BATCH, REFLECTIONS, *(2 * n for n in SHAPE))
    present = torch.ones(BATCH, REFLECTIONS, dtype=torch.bool)
    patterns = PatternSet(counts, counts > 0, present, torch.zeros(BATCH, REFLECTIONS, 3), torch.zeros(BATCH, 3, 3))
    truths = (CrystalTruth("edge", True, ()),) * BATCH
    numbers = torch.arange(BATCH)
    return Targets(patterns, numbers % 4, determined, 1 + numbers, line, winding, support, phase, truths)


def random_output(seed: int = 1) -> NetworkOutput:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(BATCH, *shape, generator=generator)

    return NetworkOutput(
        noise(len(CLASSES)), noise(7), noise(*SHAPE), noise(REFLECTIONS, *SHAPE),
        torch.complex(noise(REFLECTIONS, *SHAPE), noise(REFLECTIONS, *SHAPE)), noise(REFLECTIONS, 3, *SHAPE),
        noise(128), None,
    )  # fmt: skip


def twin_of(targets: Targets) -> Targets:
    return replace(
        targets, line=inverted(targets.line), winding=-inverted(targets.winding), support=inverted(targets.support),
        phase=-inverted(targets.phase),
    )  # fmt: skip


def some(targets: Targets, turned: Targets, reflection: int, names: tuple[str, ...]) -> Targets:
    """``targets`` with one reflection of the named volumes from ``turned``."""
    changed = {}
    for name in names:
        volume = getattr(targets, name).clone()
        volume[:, reflection] = getattr(turned, name)[:, reflection]
        changed[name] = volume
    return replace(targets, **changed)


def perfect_output(targets: Targets) -> NetworkOutput:
    classes = torch.nn.functional.one_hot(targets.defect, len(CLASSES)) * 200.0
    counts = torch.nn.functional.one_hot(targets.count, 7) * 200.0
    phasor = torch.polar(torch.ones_like(targets.phase), targets.phase)
    return NetworkOutput(
        classes, counts, torch.logit(targets.line, 1e-7), 200 * (2 * targets.support - 1), phasor, targets.winding,
        torch.zeros(BATCH, 128), None,
    )  # fmt: skip


def assert_same(a: Losses, b: Losses) -> None:
    for field in fields(Losses):
        torch.testing.assert_close(getattr(a, field.name), getattr(b, field.name), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_truth_and_its_twin_cost_the_same(seed: int) -> None:
    """For any output, every term: all reflections, lines and windings at once."""
    targets, output = truth(seed), random_output(seed + 10)
    assert_same(losses(output, targets, WEIGHTS), losses(output, twin_of(targets), WEIGHTS))


def test_the_truth_costs_nothing_and_so_does_its_twin() -> None:
    targets = truth()
    for said in (targets, twin_of(targets)):
        assert losses(perfect_output(said), targets, WEIGHTS).total < 1e-3


@pytest.mark.parametrize("names", [("support",), ("phase",), ("winding",), ("support", "phase", "winding")])
def test_one_reflection_alone_has_no_twin(names: tuple[str, ...]) -> None:
    """A set has one twin: turned in one reflection only, the truth is wrong."""
    targets = truth()
    said = some(targets, twin_of(targets), 1, names)
    assert losses(perfect_output(said), targets, WEIGHTS).total > 0.1


@pytest.mark.parametrize("name", ["line", "winding", "support", "phase"])
def test_one_quantity_alone_has_no_twin(name: str) -> None:
    targets = truth()
    said = replace(targets, **{name: getattr(twin_of(targets), name)})
    assert losses(perfect_output(said), targets, WEIGHTS).total > 0.1


def test_the_twin_keeps_its_windings_sign_only_turned() -> None:
    """J → −J(−r): inverted without the sign it costs, being another crystal's."""
    targets = truth()
    said = replace(twin_of(targets), winding=inverted(targets.winding))
    assert losses(perfect_output(said), targets, WEIGHTS).winding.amin() > 0.5


def test_each_crystal_has_a_twin_of_its_own() -> None:
    """The first crystal told straight, the others as twins."""
    targets = truth()
    direct, mirrored = perfect_output(targets), perfect_output(twin_of(targets))
    pick = torch.tensor([True, False, False])

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(pick.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    names = [f.name for f in fields(NetworkOutput) if f.name not in ("proposal", "objects")]
    both = NetworkOutput(*(choose(getattr(direct, name), getattr(mirrored, name)) for name in names), None)
    assert losses(both, targets, WEIGHTS).total < 1e-3


def test_every_reflection_has_a_global_phase_of_its_own() -> None:
    """Free, for the loss of any output; a phase that is not constant is not."""
    targets, output = truth(), random_output()
    turns = torch.tensor([0.7, -2.9])[:, None, None, None]
    moved = replace(output, phasor=output.phasor * torch.polar(torch.ones_like(turns), turns))
    assert_same(losses(moved, targets, WEIGHTS), losses(output, targets, WEIGHTS))
    said = perfect_output(targets)
    ramp = torch.polar(torch.ones(SHAPE[0]), 0.3 * torch.arange(SHAPE[0]))[:, None, None]
    assert losses(replace(said, phasor=said.phasor * ramp), targets, WEIGHTS).phase.amin() > 0.05


def test_reflections_may_come_in_any_order() -> None:
    targets, output = truth(), random_output()
    other = replace(targets, **{n: getattr(targets, n).flip(1) for n in ("winding", "support", "phase")})
    flipped = replace(output, **{n: getattr(output, n).flip(1) for n in ("winding", "support_logits", "phasor")})
    assert_same(losses(flipped, other, WEIGHTS), losses(output, targets, WEIGHTS))


def test_an_undetermined_crystal_is_not_asked_for_its_class() -> None:
    """No derivative of the class reaches it; count, support and phase still learn from it."""
    output = random_output()
    names = ("class_logits", "count_logits", "support_logits", "phasor", "winding", "line_logits")
    for name in names:
        getattr(output, name).requires_grad_()
    losses(output, truth(), WEIGHTS).total.backward()
    assert not output.class_logits.grad[2].any()  # type: ignore[index]
    assert output.class_logits.grad[:2].abs().sum(-1).all()  # type: ignore[index]
    for name in names[1:]:
        assert getattr(output, name).grad[2].abs().sum() > 0


def test_the_weights_weigh() -> None:
    """The total is their sum over the means of the terms, at the twin that the volumes choose."""
    found = losses(random_output(), truth(), WEIGHTS)
    names = ("defect", "count", "line", "winding", "support", "phase")
    torch.testing.assert_close(found.total, sum(getattr(WEIGHTS, n) * getattr(found, n).mean() for n in names))


def test_the_phase_loss_is_the_best_over_global_phases() -> None:
    """Against a scan over 1000 global phases."""
    targets, phasor = truth(), random_output().phasor
    alphas = torch.linspace(0, 2 * torch.pi, 1001)
    volume = targets.support.sum((-3, -2, -1))
    scan = torch.stack(
        [
            (targets.support * (phasor - torch.polar(torch.ones_like(targets.phase), targets.phase + a)).abs() ** 2)
            .sum((-3, -2, -1)) / volume
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


def test_no_winding_where_there_is_none_costs_nothing() -> None:
    """The silent answer to a long line costs nearly one, whatever the line's winding would be."""
    silent = torch.zeros(2, 1, 3, *SHAPE)
    lines = torch.zeros_like(silent)
    lines[0, 0, 2] = 1.0
    found = winding_loss(silent, lines)
    assert found[1] == 0
    assert 0.9 < found[0] < 1


def test_an_empty_support_gives_finite_losses() -> None:
    targets = truth()
    targets = replace(targets, support=torch.zeros_like(targets.support), line=torch.zeros_like(targets.line))
    assert losses(random_output(), targets, WEIGHTS).total.isfinite()


def proposal(targets: Targets) -> Proposal:
    """What a perfect first stage would say, somewhat unsure."""
    line = torch.logit(targets.line.repeat_interleave(REFLECTIONS, 0), 0.05)
    phase = targets.phase.flatten(0, 1)
    return Proposal(line, 4 * targets.support.flatten(0, 1) - 2, torch.polar(torch.full_like(phase, 0.8), phase))


def test_each_exposure_has_a_twin_of_its_own_in_the_first_stage() -> None:
    """It sees one pattern: told as its twin, whole, the loss stays; told as a mixture it grows."""
    targets = truth()
    straight, other = proposal(targets), proposal(twin_of(targets))
    turned = torch.tensor([True, False, False, False, True, False])[:, None, None, None]
    mixed = Proposal(
        *(torch.where(turned, getattr(other, f.name), getattr(straight, f.name)) for f in fields(Proposal))
    )
    expected = proposal_losses(straight, targets, WEIGHTS)
    torch.testing.assert_close(proposal_losses(mixed, targets, WEIGHTS), expected)
    torch.testing.assert_close(proposal_losses(mixed, twin_of(targets), WEIGHTS), expected)
    assert proposal_losses(replace(straight, line_logits=other.line_logits), targets, WEIGHTS) > expected + 0.1


def test_an_absent_exposure_is_not_asked_for() -> None:
    """The loss of the first stage is the mean over those present."""
    targets = truth()
    said = proposal(targets)
    worse = replace(said, support_logits=said.support_logits * torch.tensor([1, -1.0] * BATCH)[:, None, None, None])
    assert proposal_losses(worse, targets, WEIGHTS) > proposal_losses(said, targets, WEIGHTS) + 0.1
    present = torch.tensor([[True, False]] * BATCH)
    one = replace(targets, patterns=replace(targets.patterns, present=present))
    torch.testing.assert_close(proposal_losses(worse, one, WEIGHTS), proposal_losses(said, one, WEIGHTS))
