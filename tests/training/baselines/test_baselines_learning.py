"""What baselines learn from, and how: the network's own stream, on a budget, judged on crystals held out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from crystals_to_learn import TINY, lesson
from torch import Tensor, nn

from cdi.ambiguity import inverted
from cdi.defects.classes import CLASSES
from data.drawn_batches import choose, make_batch
from models.prediction import MOST_LINES
from training.baselines import exposures as room
from training.baselines.exposures import LabelledExposures, drawn_exposures, stored_exposures
from training.baselines.learning import Batch, Budget, batch_of, judge, learned, turned
from training.targets import targets_of_batch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BLOCK", 4)


@pytest.fixture(scope="module")
def exposures() -> LabelledExposures:
    return lesson()


class Brightness(nn.Module):
    """Guesses √(mean count) by one number."""

    def __init__(self) -> None:
        super().__init__()
        self.guess = nn.Parameter(torch.zeros(()))

    def forward(self, counts: Tensor) -> Tensor:
        return self.guess.expand(len(counts))


def brightness_loss(network: nn.Module, batch: Batch) -> Tensor:
    return (network(batch.counts) - batch.counts.mean((1, 2, 3)).sqrt() / 10).square().mean()


def test_baselines_learn_from_the_patterns_and_labels_that_the_network_learns_from(
    exposures: LabelledExposures,
) -> None:
    """Two routes: drawn as blocks, and as the targets of training."""
    batch = targets_of_batch(make_batch([choose(TINY, index) for index in range(40, 64)], "cpu"))
    counts = batch.patterns.counts[:, 0].numpy()
    np.testing.assert_allclose(exposures.counts(slice(None)), counts, rtol=1.1e-3)
    np.testing.assert_array_equal(exposures.measured, batch.patterns.measured[:, 0].numpy())
    np.testing.assert_array_equal(exposures.defect, batch.defect.numpy())
    np.testing.assert_array_equal(exposures.determined, batch.determined.numpy() > 0)
    np.testing.assert_array_equal(exposures.count, batch.count.numpy())
    assert len(set(exposures.defect)) > 2


def test_blocks_that_are_there_are_kept_and_only_missing_ones_drawn(tmp_path: Path) -> None:
    recipe = replace(TINY, elements=("Cu",))
    first = drawn_exposures(recipe, tmp_path, 3)
    path = tmp_path / "block-00000.npz"
    before = path.stat().st_mtime_ns
    more = drawn_exposures(recipe, tmp_path, 6)
    assert path.stat().st_mtime_ns == before
    assert (len(first), len(more)) == (3, 6)
    np.testing.assert_array_equal(more.root[:3], first.root)
    np.testing.assert_array_equal(stored_exposures(tmp_path, 5).count, more.count[:5])
    with pytest.raises(ValueError, match="must be empty or hold exposures of this recipe"):
        drawn_exposures(replace(recipe, seed=12), tmp_path, 3)


def test_how_many_crystals_a_recipe_may_give_does_not_make_it_another(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    drawn_exposures(replace(TINY, samples=1), tmp_path / "a", 1)
    assert len(drawn_exposures(replace(TINY, samples=2, reflection_count=2), tmp_path / "a", 1)) == 1


def test_more_exposures_than_crystals_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="number must lie in"):
        drawn_exposures(replace(TINY, samples=5), tmp_path, 6)


def test_an_empty_folder_holds_no_exposures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold drawn exposures"):
        stored_exposures(tmp_path, 1)


def test_fields_of_exposures_must_agree(exposures: LabelledExposures) -> None:
    with pytest.raises(ValueError, match="exposures must be equally many"):
        replace(exposures, count=exposures.count[:-1])


def test_no_crystal_is_both_learned_from_and_judged_by(exposures: LabelledExposures) -> None:
    seen, judged = exposures.held_out(0.2)
    assert (len(seen), len(judged)) == (19, 5)
    np.testing.assert_array_equal(np.concatenate([seen.root, judged.root]), exposures.root)


def test_turning_keeps_photons_labels_and_the_middle_and_does_turn(exposures: LabelledExposures) -> None:
    batch = batch_of(exposures, np.arange(12))
    other = turned(batch, np.random.default_rng(3))
    torch.testing.assert_close(other.counts.sum((1, 2, 3)), batch.counts.sum((1, 2, 3)))
    torch.testing.assert_close(other.counts[:, 8, 8, 8], batch.counts[:, 8, 8, 8])
    torch.testing.assert_close(other.counts[~other.measured], torch.zeros(int((~other.measured).sum())))
    assert torch.equal(other.defect, batch.defect)
    assert sum(not torch.equal(a, b) for a, b in zip(other.counts, batch.counts, strict=True)) > 8


def test_a_grid_of_uneven_sides_is_flipped_and_never_permuted(exposures: LabelledExposures) -> None:
    batch = batch_of(exposures, np.arange(8))
    flat = Batch(batch.counts[:, 4:12], batch.measured[:, 4:12], batch.defect, batch.determined, batch.count)
    other = turned(flat, np.random.default_rng(0)).counts
    assert other.shape == (8, 8, 16, 16)
    flips = [flat.counts, inverted(flat.counts)]
    assert any(torch.equal(a, flip) for a, *both in zip(other, *flips, strict=True) for flip in both)


def test_learning_falls_to_the_best_that_there_is_and_stops_at_its_budget(exposures: LabelledExposures) -> None:
    network, budget = Brightness(), Budget(minutes=None, batches=60, batch_size=8, learning_rate=0.5)
    facts = learned(network, exposures, brightness_loss, budget)
    seen, judged = exposures.held_out(budget.held_out)
    best = float(np.sqrt(seen.counts(slice(None)).mean((1, 2, 3))).mean() / 10)
    spread = float(np.sqrt(seen.counts(slice(None)).mean((1, 2, 3))).std() / 10)
    assert network.guess.item() == pytest.approx(best, abs=0.35 * spread)
    assert facts["exposures"] == 480
    assert (facts["crystals"], facts["held_out_crystals"]) == (len(seen), len(judged))
    numbers, curve = zip(*facts["held_out_loss"], strict=True)
    assert numbers == tuple(sorted(numbers))
    assert len(curve) >= 8
    assert curve[-1] < curve[0] / 2


def test_learning_repeats_with_its_seed(exposures: LabelledExposures) -> None:
    def guess(seed: int) -> float:
        network = Brightness()
        learned(network, exposures, brightness_loss, Budget(None, 40, 8, 0.3, seed=seed))
        return network.guess.item()

    assert guess(1) == guess(1)
    assert guess(1) != guess(2)


def test_a_budget_of_time_ends_learning(exposures: LabelledExposures) -> None:
    facts = learned(Brightness(), exposures, brightness_loss, Budget(minutes=1e-6, batch_size=8))
    assert facts["exposures"] == 8


def test_exposures_are_judged_alike_whatever_the_batches(exposures: LabelledExposures) -> None:
    network = Brightness()
    values = [judge(network, exposures, brightness_loss, size) for size in (5, 24)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_too_few_exposures_for_a_batch_are_refused(exposures: LabelledExposures) -> None:
    with pytest.raises(ValueError, match="exposures must fill a batch of 64"):
        learned(Brightness(), exposures, brightness_loss, Budget(batch_size=64))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"minutes": None}, "minutes or batches must be given"),
        ({"minutes": 0.0}, "minutes must be positive"),
        ({"batches": 0}, "batches must be at least 1"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"held_out": 1.0}, "held_out must lie between 0 and 1"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(**wrong)  # type: ignore[arg-type]


def test_labels_are_within_what_is_answered(exposures: LabelledExposures) -> None:
    assert exposures.defect.max() < len(CLASSES)
    assert exposures.count.max() <= MOST_LINES
    assert (exposures.count[exposures.defect == 0] == 0).all()
