"""Evaluation, baselines, calibration and the two commands, on a network and sets of seconds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cdi.config import to_dict
from cdi.main import main
from data.recipe import Recipe
from data.sampling import draw_sample
from models.checkpoint import Checkpoint, save
from models.config import NetworkConfig
from models.network import DefectNet
from training.baselines import Prior, RadialProfile
from training.calibration import LEAST_CONFIDENCE, decision_confidence, fit_temperature
from training.config import TrainConfig
from training.evaluation import METHODS, evaluate, summary
from training.held_out import held_out

RECIPE = Recipe("tiny", samples=64, seed=11, shape=(16, 16, 16))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network that carries the recipe it would have been trained on."""
    config = TrainConfig(
        "tiny", RECIPE, NetworkConfig((16, 16, 16), 8, 16, 1, 2), epochs=1, samples_per_epoch=8, validation_samples=8
    )
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    weights = DefectNet(config.network).state_dict()
    save(Checkpoint("tiny", config.network, weights, training={"config": to_dict(config)}), path)
    return path


def test_held_out_crystals_are_new() -> None:
    """No index of the held-out recipe gives a crystal of the training recipe."""
    test = held_out(RECIPE, 4)
    assert test.seed != RECIPE.seed
    for index in range(4):
        assert not np.array_equal(draw_sample(test, index).exposure.counts, draw_sample(RECIPE, index).exposure.counts)


def test_the_prior_is_the_frequency_of_the_classes() -> None:
    """Whatever the pattern, the prior repeats the training frequencies."""
    prior = Prior.fit(np.array([0, 0, 1, 3]))
    assert prior.class_probabilities([np.zeros((8, 8, 8), np.float32)] * 2).tolist() == [[0.5, 0.25, 0, 0.25]] * 2


def test_the_radial_baseline_finds_what_a_radial_profile_shows() -> None:
    """Two widths of a round peak are told apart by the shortcut detector."""
    axes = np.meshgrid(*[np.arange(16) - 8] * 3, indexing="ij")
    r2 = sum(axis**2 for axis in axes)
    generator = np.random.default_rng(0)
    defects = np.arange(60) % 2
    counts = [generator.poisson(1e3 * np.exp(-r2 / (4 + 4 * d))).astype(np.float32) for d in defects]
    radial = RadialProfile.fit(counts[:40], defects[:40])
    assert (radial.class_probabilities(counts[40:]).argmax(1) == defects[40:]).all()


def test_temperature_undoes_a_known_sharpening() -> None:
    """Logits multiplied by 3 are cooled by about 3."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.15)


def test_abstention_reaches_the_wanted_accuracy() -> None:
    """Below the chosen confidence lie the answers that would spoil 98 %."""
    probability = np.concatenate([np.full(100, 0.99), np.full(100, 0.6)])
    happened = np.concatenate([np.ones(100, bool), np.arange(100) % 2 == 0])
    probability[100:] = 0.8
    assert 0.8 <= decision_confidence(probability, happened) < 0.99
    assert decision_confidence(probability[:100], happened[:100]) == LEAST_CONFIDENCE


def test_an_evaluation_scores_every_method(checkpoint: Path, tmp_path: Path) -> None:
    """The command prints every method with intervals and leaves a page, its pictures and numbers."""
    report = tmp_path / "report"
    code = main(["evaluate", "--model", str(checkpoint), "--samples", "20", "--baseline-samples", "20",
                 "--workers", "0", "--output", str(report)])  # fmt: skip
    assert code == 0
    scores = json.loads((report / "metrics.json").read_text())["scores"]
    assert set(METHODS) <= set(scores)
    assert scores["network"]["support Dice"]["low"] <= scores["network"]["support Dice"]["value"]
    assert scores["prior"]["defect AUROC"]["value"] == 0.5
    assert "<img" in (report / "report.html").read_text()
    assert (report / "examples.png").read_bytes().startswith(b"\x89PNG")


def test_hidden_crystals_are_not_graded(checkpoint: Path) -> None:
    """Where every line has g·b = 0, class and lines are not asked for."""
    from dataclasses import replace

    from data.drawn import DrawnSamples
    from models.predictor import Predictor

    hidden = replace(RECIPE, hidden_fraction=0.9, class_fractions=(1, 1, 1, 1), samples=24, elements=("Cu",),
                     reflections=((1, 1, 1),))  # fmt: skip
    crystals = evaluate(Predictor.load(checkpoint), DrawnSamples(hidden), DrawnSamples(RECIPE), workers=0)
    assert 0 < crystals.determined.sum() < 24
    for determined, defect, lines in zip(crystals.determined, crystals.defects, crystals.lines, strict=True):
        assert determined or (defect > 0 and lines.true == 0)
    # Turning the answers about hidden crystals around changes no class score.
    table = summary(crystals)
    crystals.probabilities["network"][~crystals.determined] = [[0, 0, 0, 1.0]]
    assert summary(crystals)["network"]["class accuracy"] == table["network"]["class accuracy"]


def test_predict_prints_one_json_object(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stable keys for scripts, and a picture where one is asked for."""
    np.save(tmp_path / "counts.npy", draw_sample(RECIPE, 0).exposure.counts)
    picture = tmp_path / "answer.png"
    code = main(
        ["predict", str(tmp_path / "counts.npy"), "--model", str(checkpoint), "--json", "--picture", str(picture)]
    )
    answer = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {"defect_probability", "class", "count", "undetermined", "lines", "model", "seconds"} <= set(answer)
    assert set(answer["model"]) == {"name", "weights_sha256"}
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda counts: counts * np.nan, "finite"),
        (lambda counts: -1 - counts, "negative"),
        (lambda counts: counts * 0, "no photon"),
        (lambda counts: counts[0], "three-dimensional"),
    ],
)
def test_a_bad_exposure_is_one_line(spoil, says: str, checkpoint: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    """NaN, negative counts, an empty frame, a flat image: one line, exit code 2."""
    np.save(tmp_path / "bad.npy", spoil(draw_sample(RECIPE, 0).exposure.counts))
    assert main(["predict", str(tmp_path / "bad.npy"), "--model", str(checkpoint)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_used_report_directory_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An evaluation does not mix with an earlier one."""
    (tmp_path / "old.txt").write_text("x")
    arguments = ["--model", str(checkpoint), "--samples", "20", "--baseline-samples", "20", "--output", str(tmp_path)]
    assert main(["evaluate", *arguments]) == 2
    assert "empty directory" in capsys.readouterr().err
