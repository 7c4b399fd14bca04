"""Recorded answers are the network's own, for every size and whatever was answered before."""

import pytest
import torch

from models.config import NetworkConfig
from models.graphed import MOST_EXPOSURES, MOST_SIZES, GraphedNetwork
from models.network import DefectNet
from models.pattern_set import PatternSet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: torch.cuda.is_available() is False")
CONFIG = NetworkConfig(shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8, passes=2)


def patterns(crystals: int, reflections: int, seed: int) -> PatternSet:
    generator = torch.Generator().manual_seed(seed)
    counts = 1000 * torch.rand(crystals, reflections, *CONFIG.shape, generator=generator)
    return PatternSet(
        counts, torch.rand(counts.shape, generator=generator) < 0.95, torch.ones(counts.shape[:2], dtype=torch.bool),
        torch.randn(crystals, reflections, 3, generator=generator),
        200 * torch.eye(3).repeat(crystals, 1, 1) + torch.randn(crystals, 3, 3, generator=generator),
    ).to("cuda")  # fmt: skip


@pytest.fixture(scope="module")
def network() -> DefectNet:
    torch.manual_seed(3)
    return DefectNet(CONFIG).eval().to("cuda")


@pytest.mark.parametrize(("crystals", "reflections"), [(1, 1), (1, 3), (4, 2), (MOST_EXPOSURES + 1, 1)])
def test_a_recorded_answer_is_that_of_the_network(network: DefectNet, crystals: int, reflections: int) -> None:
    """Of the patterns that are given now, not of those that were recorded."""
    graphed = GraphedNetwork(network)
    for seed in (0, 1, 2):
        given = patterns(crystals, reflections, seed)
        with torch.inference_mode():
            expected, found = network(given), graphed(given)
        for name in ("class_logits", "line_logits", "winding", "hidden"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-3, atol=1e-3)


def test_sizes_that_went_are_recorded_anew(network: DefectNet) -> None:
    graphed = GraphedNetwork(network)
    for crystals in [*range(1, MOST_SIZES + 2), 1]:
        given = patterns(crystals, 1, crystals)
        with torch.inference_mode():
            torch.testing.assert_close(graphed(given).hidden, network(given).hidden, rtol=1e-3, atol=1e-3)
    assert len(graphed._recorded) == MOST_SIZES


def test_reduced_precision_answers_as_the_network_does_in_it(network: DefectNet) -> None:
    given = patterns(1, 2, 5)
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        expected = network(given).class_logits
    found = GraphedNetwork(network, reduced=True)(given).class_logits
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)
