"""The network on sets of reflections: padding, order, passes, and what it keeps to itself."""

from dataclasses import fields, replace
from itertools import combinations

import pytest
import torch
from objects_by_hand import HALF, crystal_object, crystals, intensity
from torch import Tensor

from cdi.ambiguity import inverted
from models.config import DESIGNS, NetworkConfig
from models.layers import over_set, space_to_depth
from models.network import DESIGNS as BUILT
from models.network import HIDDEN, DefectNet, NetworkOutput, Proposal, Sight
from models.pattern_set import PatternSet
from models.prediction import CLASSES, MOST_LINES
from models.preprocess import features

OF_CRYSTAL = ("class_logits", "count_logits", "line_logits", "hidden")
OF_REFLECTION = ("support_logits", "phasor", "winding")


@pytest.fixture(params=[*DESIGNS, "deep"])
def network(request: pytest.FixtureRequest, config: NetworkConfig) -> DefectNet:
    """Every design, its weights all random: nothing is hidden by a layer that starts at zero."""
    torch.manual_seed(3)
    if request.param == "deep":
        return scrambled(DefectNet(replace(config, reader_depth=2, overview=True)))
    return scrambled(DefectNet(replace(config, design=request.param)))


@pytest.fixture
def unrolled(config: NetworkConfig) -> DefectNet:
    torch.manual_seed(3)
    return scrambled(DefectNet(config))


def scrambled(network: DefectNet) -> DefectNet:
    for parameter in network.parameters():
        if not parameter.any():
            # As other layers begin: a deep network would else amplify rounding.
            torch.nn.init.normal_(parameter, std=(3 * parameter[0].numel()) ** -0.5)
    return network.eval()


def assert_same(found: NetworkOutput, expected: NetworkOutput, order: Tensor | None = None) -> None:
    """All outputs but the proposal, those of a reflection in ``order``."""
    for name in OF_CRYSTAL:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=2e-4, rtol=1e-3)
    for name in OF_REFLECTION:
        value = getattr(expected, name)
        torch.testing.assert_close(
            getattr(found, name), value if order is None else value[:, order], atol=2e-4, rtol=1e-3
        )


def padded(patterns: PatternSet) -> PatternSet:
    """The same with a place that is only filled up."""
    empty = replace(
        patterns.reflections(torch.tensor([0])),
        counts=torch.zeros_like(patterns.counts[:, :1]),
        present=torch.zeros_like(patterns.present[:, :1]),
        G=torch.zeros_like(patterns.G[:, :1]),
    )
    both = {f.name: torch.cat([getattr(patterns, f.name), getattr(empty, f.name)], 1) for f in fields(PatternSet)}
    return PatternSet(**{**both, "voxel": patterns.voxel})


def test_the_names_in_the_configuration_are_those_of_the_network() -> None:
    assert tuple(BUILT) == DESIGNS


@torch.no_grad()
def test_outputs_cover_the_central_half(network: DefectNet) -> None:
    output = network(crystals(2, 3))
    assert output.class_logits.shape == (2, len(CLASSES))
    assert output.count_logits.shape == (2, MOST_LINES + 1)
    assert output.hidden.shape == (2, HIDDEN)
    assert output.line_logits.shape == (2, *HALF)
    assert output.support_logits.shape == output.phasor.shape == (2, 3, *HALF)
    assert output.winding.shape == (2, 3, 3, *HALF)
    assert output.phasor.is_complex()
    assert (output.proposal is not None) == network.unrolled


@torch.no_grad()
def test_a_place_that_is_filled_up_says_nothing(network: DefectNet) -> None:
    """A set answers alike beside longer ones of its batch."""
    patterns = crystals(2, 2)
    plain, longer = network(patterns), network(padded(patterns))
    assert_same(replace(longer, **{name: getattr(longer, name)[:, :2] for name in OF_REFLECTION}), plain)


@torch.no_grad()
def test_every_reflection_counts(network: DefectNet) -> None:
    """Of a set, each changes the crystal's answer."""
    patterns = crystals(1, 3)
    whole = network(patterns)
    for left in combinations(range(3), 2):
        part = network(patterns.reflections(torch.tensor(left)))
        for name in ("class_logits", "line_logits"):
            assert (getattr(part, name) - getattr(whole, name)).abs().amax() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("design", [name for name in DESIGNS if name != "unrolled"])
def test_reflections_may_come_in_any_order(design: str, config: NetworkConfig) -> None:
    """The crystal's answer stays, and what belongs to a reflection goes with it."""
    network, patterns = scrambled(DefectNet(replace(config, design=design))), crystals(2, 3)
    order = torch.tensor([2, 0, 1])
    assert_same(network(patterns.reflections(order)), network(patterns), order)


@torch.no_grad()
def test_after_the_first_the_order_is_free_in_the_unrolled_design(unrolled: DefectNet) -> None:
    """The first reflection is what the others' twins are aligned to."""
    patterns, order = crystals(2, 3), torch.tensor([0, 2, 1])
    assert_same(unrolled(patterns.reflections(order)), unrolled(patterns), order)


def one_crystal_in_three(density: Tensor) -> tuple[PatternSet, Proposal]:
    """Its patterns with a phase of their own each, and a proposal whose second reflection is the twin's."""
    exposed = torch.stack([density, density * density.abs().exp(), density.conj() ** 2 / density.abs().clamp_min(1e-6)])
    sets = crystals(1, 3)
    patterns = replace(sets, counts=intensity(exposed)[None])
    swap = torch.tensor([False, True, False])[:, None, None, None]
    support = torch.where(swap, inverted(density.abs()), density.abs())
    phasor = torch.where(swap, inverted(exposed).conj().resolve_conj(), exposed)
    line = torch.where(swap, inverted(density.real.abs()), density.real.abs())
    return patterns, Proposal(torch.logit(0.9 * line, 1e-3), 20 * support - 10, phasor)


def twin_of_input(volumes: Tensor) -> Tensor:
    """Channels of the reader under the twin: sines and residues change their sign."""
    sign = torch.tensor([1, 1, -1, -1, -1, -1, 1, 1, 1, -1.0])
    return sign[:, None, None, None] * inverted(volumes)


@torch.no_grad()
def test_the_readers_input_turns_as_a_whole_with_another_reflection_first(unrolled: DefectNet) -> None:
    """The same twin for all: with one of the other twin first, every reflection is inverted, none alone."""
    patterns, proposal = one_crystal_in_three(crystal_object())
    plain = unrolled._retrieved(proposal, patterns)
    for order, turned in (([1, 0, 2], True), ([2, 1, 0], False)):
        moved = Proposal(*(getattr(proposal, f.name)[order] for f in fields(Proposal)))
        found = unrolled._retrieved(moved, patterns.reflections(torch.tensor(order)))
        expected = (twin_of_input(plain) if turned else plain)[order]
        # Without the planes at index 0, which have no image, and the residues' sums that reach over them.
        inner = (..., slice(2, -1), slice(2, -1), slice(2, -1))
        torch.testing.assert_close(found[inner], expected[inner], atol=2e-3, rtol=1e-3)


@torch.no_grad()
def test_the_pattern_of_a_crystal_alone_is_all_that_its_answer_rests_on(network: DefectNet) -> None:
    """Not the other crystals of the batch."""
    patterns = crystals(2, 2)
    together = network(patterns)
    alone = network(PatternSet(*(getattr(patterns, f.name)[1:] for f in fields(PatternSet))))
    for name in (*OF_CRYSTAL, *OF_REFLECTION):
        torch.testing.assert_close(getattr(together, name)[1:], getattr(alone, name), atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_the_laboratory_frame_does_not_matter(network: DefectNet) -> None:
    """G and voxels turned together leave every answer; G alone does not."""
    patterns = crystals(1, 3)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    assert_same(network(replace(patterns, G=patterns.G @ turn.T, voxel=patterns.voxel @ turn.T)), network(patterns))
    other = network(replace(patterns, G=patterns.G @ turn.T))
    assert (other.class_logits - network(patterns).class_logits).abs().amax() > 1e-3


@torch.no_grad()
def test_a_proposal_may_be_made_before(unrolled: DefectNet) -> None:
    """The answer is the same, and the proposal is handed back as it was."""
    patterns = crystals(2, 2)
    made = unrolled.propose(features(patterns.counts.flatten(0, 1)), Sight.of(patterns).where.flatten(0, 1))
    found = unrolled(patterns, proposal=made)
    assert found.proposal is made
    assert_same(found, unrolled(patterns))


@torch.no_grad()
def test_a_network_that_reads_searched_objects_hands_them_on_within_their_support(config: NetworkConfig) -> None:
    """Lines are read off them: beyond the crystal there is nothing to wind about."""
    network = scrambled(DefectNet(replace(config, first_stage="search")))
    patterns = crystals(1, 2)
    made = network.propose(features(patterns.counts.flatten(0, 1)), Sight.of(patterns).where.flatten(0, 1))
    inside = torch.zeros_like(made.support_logits, dtype=torch.bool)
    inside[:, 2:5, 2:6, 3:6] = True
    made = replace(made, support_logits=torch.where(inside, 3.0, -3.0))
    found = network(patterns, proposal=made)
    assert found.objects is not None
    assert torch.equal(found.objects[0][inside], made.phasor[inside])
    assert not found.objects[0][~inside].any()


@torch.no_grad()
def test_a_pass_begins_with_the_answer_of_the_one_before(unrolled: DefectNet) -> None:
    """Two passes are one pass from the first one's answer."""
    patterns = crystals(1, 2)
    first, second = unrolled(patterns, passes=1), unrolled(patterns, passes=2)
    again = Proposal(
        first.line_logits.repeat_interleave(2, 0), first.support_logits.flatten(0, 1), first.phasor.flatten(0, 1)
    )
    assert_same(unrolled(patterns, passes=1, proposal=again), second)
    assert (first.line_logits - second.line_logits).abs().amax() > 1e-3
    assert_same(unrolled(patterns), second)


def test_a_deeper_reader_with_an_overview_begins_where_the_one_before_it_ended(
    unrolled: DefectNet, config: NetworkConfig
) -> None:
    deeper = DefectNet(replace(config, reader_depth=3, overview=True))
    result = deeper.load_state_dict(unrolled.state_dict(), strict=False)
    assert not result.unexpected_keys
    grown = {".".join(name.split(".")[:2]) for name in result.missing_keys if not name.startswith("reader.")}
    assert grown == {"hidden.overview"}
    patterns = crystals(2, 3)
    with torch.no_grad():
        assert_same(deeper.eval()(patterns), unrolled(patterns))


@torch.no_grad()
def test_class_and_count_hear_the_overview_and_volumes_do_not(config: NetworkConfig) -> None:
    torch.manual_seed(3)
    network = scrambled(DefectNet(replace(config, overview=True)))
    before = network(crystals(1, 2))
    assert network.hidden.overview is not None
    network.hidden.overview[-1].bias += 1.0  # type: ignore[operator]
    after = network(crystals(1, 2))
    for name in ("class_logits", "count_logits", "hidden"):
        assert (getattr(after, name) - getattr(before, name)).abs().amax() > 1e-3
    for name in ("line_logits", *OF_REFLECTION):
        assert torch.equal(getattr(after, name), getattr(before, name))


def test_derivatives_reach_every_parameter(network: DefectNet) -> None:
    """Of the answer all, and of an unrolled network's proposal those of the first stage."""
    output = network.train()(crystals(2, 2))
    parts = [getattr(output, name) for name in ("class_logits", "count_logits", "line_logits", *OF_REFLECTION[::2])]
    total = sum(part.square().sum() for part in parts) + output.phasor.abs().square().sum()
    if output.proposal is not None:
        total = total + output.proposal.line_logits.square().sum() + output.proposal.support_logits.square().sum()
        total = total + output.proposal.phasor.abs().square().sum()
    total.backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not without


def test_the_class_reads_the_windings_and_does_not_bend_them(unrolled: DefectNet) -> None:
    """No derivative of the class reaches the head of the windings."""
    unrolled(crystals(1, 2)).class_logits.sum().backward()
    assert unrolled.winding_head.around.weight.grad is None
    assert unrolled.object_head.weight.grad is None
    assert unrolled.classifier[1].weight.grad is not None


@torch.no_grad()
def test_the_iterations_of_data_consistency_take_no_derivative_of_the_proposal(config: NetworkConfig) -> None:
    """A reader that is trained alone leaves the first stage as it is."""
    network = scrambled(DefectNet(config))
    with torch.enable_grad():
        network(crystals(1, 1)).line_logits.sum().backward()
    assert network.proposal_head.weight.grad is None


def test_novelty_is_the_mahalanobis_distance() -> None:
    """Of unit spread a vector of ones is 1 away; ten spreads are 10."""
    network = DefectNet(NetworkConfig(shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8))
    network.familiar_mean.fill_(2.0)
    network.familiar_precision.copy_(torch.eye(HIDDEN) / 9)
    hidden = torch.stack([torch.full((HIDDEN,), 2.0 + 3.0 * k) for k in (0, 1, -10)])
    torch.testing.assert_close(network.novelty(hidden), torch.tensor([0.0, 1, 10], dtype=torch.float64))


def test_space_to_depth_loses_nothing() -> None:
    """Each output voxel holds its 2³ block, every value once."""
    volume = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    blocks = space_to_depth(volume)
    assert blocks.shape == (2, 24, 2, 3, 4)
    assert sorted(blocks[1, :8, 1, 2, 3].tolist()) == sorted(volume[1, 0, 2:4, 4:6, 6:8].flatten().tolist())


def test_the_mean_over_a_set_is_over_those_present() -> None:
    values = torch.arange(12.0).reshape(6, 2)
    present = torch.tensor([[True, False, True], [True, True, True]])
    torch.testing.assert_close(over_set(values, present), torch.tensor([[2.0, 3.0], [8.0, 9.0]]))


def test_another_set_may_share_the_batch_in_a_shorter_length(unrolled: DefectNet) -> None:
    """A crystal of one reflection beside one of three: as if each came alone."""
    three, one = crystals(1, 3), crystals(1, 1)
    filled = padded(padded(one))
    both = PatternSet(*(torch.cat([getattr(three, f.name), getattr(filled, f.name)]) for f in fields(PatternSet)))
    with torch.no_grad():
        found, alone = unrolled(both), unrolled(one)
    torch.testing.assert_close(found.class_logits[1:], alone.class_logits, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(found.winding[1:, :1], alone.winding, atol=5e-3, rtol=1e-3)


@torch.no_grad()
def test_windings_stand_where_lines_are(network: DefectNet) -> None:
    """Nowhere else, whatever the phase does: they are what is around, times the line's density."""
    network.line_head.weight.zero_()
    network.line_head.bias.fill_(-30.0)
    assert network(crystals(1, 2)).winding.abs().amax() < 1e-6
    network.line_head.bias.fill_(30.0)
    assert network(crystals(1, 2)).winding.abs().amax() > 1e-3
