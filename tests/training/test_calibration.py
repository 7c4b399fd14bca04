"""Calibration: confidences that mean what they say, on crystals held out, and a limit to what is familiar."""

import numpy as np
import pytest
import torch

from cdi.ambiguity import inverted
from data.recipe import Recipe
from models.checkpoint import Calibration
from models.config import NetworkConfig
from models.network import HIDDEN, DefectNet, NetworkOutput
from models.pattern_set import PatternSet
from training import calibration as calibration_module
from training.batches import FixedCrystals, finished
from training.calibration import (
    FAMILIAR_SHARE,
    LEAST_CONFIDENCE,
    Seen,
    calibrate,
    decision_confidence,
    familiarise,
    fit_confidence,
    fit_temperature,
    line_threshold,
)
from training.config import TrainConfig
from training.targets import Targets, line_volumes

# Volumes here are small and cores are shared: threads would wait for each other.
torch.set_num_threads(1)

SMALL = NetworkConfig(shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2)
CONFIG = TrainConfig(
    "tiny", Recipe("tiny", samples=48, seed=3, shape=(16, 16, 16), oversampling=(2.2, 2.4)), network=SMALL, epochs=1,
    batches_per_epoch=4, batch_size=6, validation_samples=7, calibration_samples=8, workers=0, reflections=(2,),
)  # fmt: skip


@pytest.mark.parametrize(("classes", "sharp"), [(6, 3.0), (7, 0.6)])
def test_temperature_undoes_a_known_sharpening(classes: int, sharp: float) -> None:
    """Labels drawn from softmax(z), logits z times the sharpening: it comes back within 15 %."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    assert fit_temperature(sharp * logits, labels) == pytest.approx(sharp, rel=0.15)


def test_abstention_reaches_the_wanted_accuracy() -> None:
    """Below the chosen confidence lie the answers that would spoil 98 %."""
    probability = np.concatenate([np.full(100, 0.99), np.full(100, 0.8)])
    happened = np.concatenate([np.ones(100, bool), np.arange(100) % 2 == 0])
    assert 0.8 <= decision_confidence(probability, happened) < 0.99
    assert decision_confidence(probability[:100], happened[:100]) == LEAST_CONFIDENCE
    assert decision_confidence(probability[100:], happened[100:]) == 0.95


def test_the_confidence_of_lines_is_recovered() -> None:
    """Lines true with σ(2 logit c − 0.5): slope and offset come back, and the confidence rises with the height."""
    generator = np.random.default_rng(0)
    heights = generator.uniform(0.2, 0.95, 4000)
    logit = np.log(heights / (1 - heights))
    true = generator.uniform(size=4000) < 1 / (1 + np.exp(-(2 * logit - 0.5)))
    slope, offset = fit_confidence(heights, true)
    assert slope == pytest.approx(2, rel=0.1)
    assert offset == pytest.approx(-0.5, abs=0.15)
    calibration = Calibration(line_slope=slope, line_offset=offset)
    rising = [calibration.line_confidence(height) for height in np.linspace(0, 1, 20)]
    assert (np.diff(rising) >= 0).all()
    assert calibration.line_confidence(0.7) == pytest.approx(true[np.abs(heights - 0.7) < 0.05].mean(), abs=0.06)


def test_without_both_kinds_of_lines_heights_are_believed() -> None:
    assert fit_confidence(np.array([0.3, 0.9]), np.array([True, True])) == (1.0, 0.0)
    assert fit_confidence(np.array([0.3, 0.9]), np.array([False, False])) == (1.0, 0.0)
    assert fit_confidence(np.array([]), np.array([], bool)) == (1.0, 0.0)


def test_the_threshold_leaves_true_lines_and_drops_faint_false_ones() -> None:
    """A true line of height 0.9 in every crystal, a false one of 0.45 in every other."""
    line = np.array([[0.2, -3, 0.4], [0.6, 3, -0.3]])
    ghost = np.array([[4.2, 1, -3], [4, 1.3, 3]])
    shape = (12, 12, 12)
    seen = []
    for number in range(4):
        true, flux = line_volumes([(line, np.ones(1))], np.eye(3), 1, shape)
        false, ghost_flux = line_volumes([(ghost, np.ones(1))], np.eye(3), 1, shape)
        share = 0.45 * (number % 2)
        seen.append(
            Seen(
                torch.maximum(0.9 * true, share * false).numpy(), (0.9 * flux + share * ghost_flux).numpy(),
                ((line, np.ones(1)),), True,
            )
        )  # fmt: skip
    many = np.tile([0.0, 0.0, 0.0, 1.0], (4, 1))
    assert line_threshold(seen, many) >= 0.5


def test_a_count_that_knows_lets_faint_true_lines_be_traced() -> None:
    """Lines of height 0.35, and in every other crystal, where none is counted, a false one as high."""
    line = np.array([[0.2, -3, 0.4], [0.6, 3, -0.3]])
    density, flux = (volume.numpy() for volume in line_volumes([(line, np.ones(1))], np.eye(3), 1, (12, 12, 12)))
    seen = [Seen(0.35 * density, 0.35 * flux, ((line, np.ones(1)),) if number % 2 else (), True) for number in range(8)]
    knowing = np.array([[0.0, 1.0] if number % 2 else [1.0, 0.0] for number in range(8)])
    assert line_threshold(seen, knowing) < 0.35


def test_a_far_pattern_is_beyond_the_limit() -> None:
    """Of the familiar's own kind about ``FAMILIAR_SHARE`` lie within; one far along any direction does not."""
    network = DefectNet(SMALL)
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(HIDDEN, HIDDEN, generator=generator, dtype=torch.float64) / 12
    mean = torch.randn(HIDDEN, generator=generator, dtype=torch.float64)

    def kind(number: int) -> torch.Tensor:
        return torch.randn(number, HIDDEN, generator=generator, dtype=torch.float64) @ mix + mean

    limit = familiarise(network, kind(3000))
    assert 0.5 < limit < 2
    assert (network.novelty(kind(1000).float()) < limit).double().mean() == pytest.approx(FAMILIAR_SHARE, abs=0.01)
    spread = (kind(1000) - mean).square().mean().sqrt()
    far = kind(200) + 12 * spread * torch.nn.functional.normalize(
        torch.randn(200, HIDDEN, generator=generator, dtype=torch.float64)
    )
    assert (network.novelty((far + 5 * (far - mean)).float()) > limit).all()


class Knowing(DefectNet):
    """Says the truth of the batch that it was given, as its twin where ``twin``, at a temperature of ``sharp``."""

    def __init__(self, sharp: float, twin: bool) -> None:
        super().__init__(SMALL)
        self.sharp, self.twin, self.batch = sharp, twin, None

    def forward(self, patterns: PatternSet, passes: object = None, proposal: object = None) -> NetworkOutput:
        batch: Targets = self.batch  # type: ignore[assignment]
        line, winding = batch.line, batch.winding
        if self.twin:
            line, winding = inverted(line), -inverted(winding)
        classes = torch.nn.functional.one_hot(batch.defect, 6) * 4.0
        counts = torch.nn.functional.one_hot(batch.count, 7) * 4.0
        hidden = torch.randn(len(batch), HIDDEN, generator=torch.Generator().manual_seed(int(patterns.counts.sum())))
        volume = batch.phase * 0
        return NetworkOutput(
            classes * self.sharp, counts, torch.logit(line.clamp(1e-4, 0.97)), volume, torch.polar(volume + 1, volume),
            winding + 0.1, hidden, None,
        )  # fmt: skip


class Telling:
    """Batches that the network is told of before it is asked."""

    def __init__(self, network: Knowing, batches: list[Targets]) -> None:
        self.network, self.batches = network, batches

    def __iter__(self):  # type: ignore[no-untyped-def]
        for batch in self.batches:
            self.network.batch = batch
            yield batch


@pytest.fixture(scope="module")
def batches() -> list[Targets]:
    fixed = FixedCrystals(CONFIG.validation_recipe, CONFIG, volumes_here=True)
    return [finished(fixed[number], "cpu") for number in range(len(fixed))]


@pytest.mark.parametrize("twin", [False, True])
def test_a_network_that_knows_is_believed(batches: list[Targets], twin: bool) -> None:
    """In either twin: no temperature above the coldest, lines found and true, windings of a small error."""
    network = Knowing(1.0, twin)
    found = calibrate(network, Telling(network, batches))
    assert found.temperature == pytest.approx(0.25, abs=0.01)
    assert found.count_temperature == pytest.approx(0.25, abs=0.01)
    assert found.decision_confidence == LEAST_CONFIDENCE
    assert found.line_confidence(0.9) > 0.8
    assert found.winding_sigma < 0.4
    assert found.novelty_limit > 0
    assert network.familiar_precision.any()
    assert not network.training


def test_the_error_of_whole_number_windings_is_not_that_of_the_median(
    batches: list[Targets], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of four right and one wrong by two turns is no small error: a turn, as its mean square says."""
    told = np.array([0.5]), np.array([True]), np.array([0.0, 0.0, 0.0, 2.0])
    monkeypatch.setattr(calibration_module, "_judged", lambda seen, level: told)
    network = Knowing(1.0, False)
    assert calibrate(network, Telling(network, batches)).winding_sigma == 1.0
    monkeypatch.setattr(calibration_module, "_judged", lambda seen, level: (*told[:2], told[2] / 2))
    assert calibrate(network, Telling(network, batches)).winding_sigma == pytest.approx(0.5)
