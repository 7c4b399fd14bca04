"""Learning beside a run: what may learn gets better, what may not stays as it is, and nothing hostile gets in."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cdi.config import to_dict
from data.recipe import Recipe
from data.sampling import draw_samples
from models.checkpoint import Checkpoint, load, save
from models.config import NetworkConfig
from models.network import DefectNet
from models.prediction import CLASSES
from models.preprocess import fit_set, pattern_set
from training import online_features
from training.online import OnlineDefects
from training.online_features import Features, Seen
from training.online_heads import ANSWERING, HeadConfig, fine_tuned

torch.set_num_threads(1)

SMALL = NetworkConfig(shape=(16, 16, 16), width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2)
RECIPE = Recipe("tiny", samples=48, seed=3, shape=(16, 16, 16), oversampling=(2.2, 2.4))
FAST = HeadConfig(epochs=40, learning_rate=3e-3, near=1e-3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network that says what it would have been trained on."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    training = {"config": {"recipe": to_dict(RECIPE)}}
    save(Checkpoint("small", SMALL, DefectNet(SMALL).state_dict(), training=training), path)
    return path


def frame(step: int, **truth: Any) -> Any:
    sample = draw_samples(RECIPE, step)[0]
    grid = sample.exposure.grid
    assert grid is not None
    told = {"q_centre": grid.centre.tolist(), "q_step": grid.step.tolist()}
    shown = {"class": sample.truth.defect, "count": len(sample.truth.lines)} | truth
    given = {"stream": "s", "rank": 0, "step": step, "group": f"{step}"}
    return SimpleNamespace(**given, array=sample.exposure.counts, attributes=told, truth=shown)


@pytest.fixture(scope="module")
def frames() -> list[Any]:
    """Of a world in which everything is a screw."""
    return [frame(step, **{"class": "screw", "count": 1}) for step in range(12)]


def test_a_version_is_trained_from_frames_and_answers_better_and_the_trunk_stays(
    checkpoint: Path, frames: list[Any], tmp_path: Path
) -> None:
    trainer = OnlineDefects(replay_frames=8, head=vars(FAST))
    options = {"model": str(checkpoint), "threads": 1}
    made, files = trainer.trained(options, frames, tmp_path / "defects-1", seed=1, threads=1)
    assert made == {"model": str(tmp_path / "defects-1.safetensors")}
    assert files == [tmp_path / "defects-1.safetensors"]
    before, after = load(checkpoint), load(files[0])
    changed = {name for name, value in after.weights.items() if not torch.equal(value, before.weights[name])}
    assert changed
    learnt = {name for name in changed if not name.startswith("familiar")}
    assert all(name.startswith(ANSWERING) for name in learnt)
    assert "running_mean" not in "".join(learnt)
    assert after.training["online"] == {"of": "small", "frames": 12, "replay": 8}
    assert screw(files[0], frames) > 2 * screw(checkpoint, frames)


def screw(model: Path, frames: list[Any]) -> float:
    """Mean probability that ``model`` gives to the class of these frames."""
    from models.predictor import Predictor
    from training.online_frames import exposure_of

    predictions = Predictor.load(model, "cpu").predict([exposure_of(one, {}) for one in frames])
    return float(np.mean([one.class_probabilities[CLASSES.index("screw")] for one in predictions]))


def test_what_was_computed_of_a_frame_is_not_computed_again(
    checkpoint: Path, frames: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    features, asked = Features(str(checkpoint), replay="", frames=4, seed=0), []
    seen = features._seen
    monkeypatch.setattr(features, "_seen", lambda patterns: asked.append(len(patterns.counts)) or seen(patterns))
    first = features.of(frames[:5], exposed)
    again = features.of(frames[2:6], exposed)
    assert asked == [5, 1]
    assert torch.equal(first.features[2:], again.features[:3])
    assert torch.equal(features.replay().features, features.replay().features)
    assert len(asked) == 3


def test_the_layers_that_learn_are_given_the_overview_too(frames: list[Any], tmp_path: Path) -> None:
    """From what is kept of a frame they say what the network says of it."""
    torch.manual_seed(0)
    config = replace(SMALL, overview=True)
    network = DefectNet(config)
    assert network.hidden.overview is not None
    torch.nn.init.normal_(network.hidden.overview[-1].weight)  # type: ignore[arg-type]
    path = tmp_path / "overview.safetensors"
    save(Checkpoint("overview", config, network.state_dict(), training={"config": {"recipe": to_dict(RECIPE)}}), path)
    features = Features(str(path), replay="", frames=4, seed=0)
    kept = features.of(frames[:3], exposed).features
    patterns = pattern_set([fit_set([exposed(one)], config.shape) for one in frames[:3]])
    with torch.no_grad():
        told = network.eval().classifier(network.hidden(kept))
        torch.testing.assert_close(told, network(patterns).class_logits, rtol=1e-4, atol=1e-4)
        plain = network.hidden[2](network.hidden[1](network.hidden[0](kept[:, : network.hidden.seen])))
    assert (network.classifier(plain) - told).abs().amax() > 1e-2


def exposed(one: Any) -> Any:
    from training.online_frames import exposure_of

    return exposure_of(one, {})


def test_frames_of_one_crystal_are_set_apart_together_or_there_is_nothing_to_learn(
    checkpoint: Path, tmp_path: Path
) -> None:
    rows = torch.zeros(6, 116), torch.zeros(6, dtype=torch.long), torch.zeros(6, dtype=torch.long)
    one = Seen(*rows, ("a",) * 6)
    with pytest.raises(ValueError, match="must be of at least 2 crystals to set one apart, got 1"):
        fine_tuned(str(checkpoint), one, one, tmp_path / "x.safetensors", FAST, seed=0)


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        ({"class": "srew"}, "truth.class must be one of none, edge"),
        ({}, "truth.class must be one of none, edge"),
        ({"class": ["none"]}, "truth.class must be one of"),
        ({"class": "edge", "count": -1}, "truth.count must be a number of lines, got -1"),
        ({"class": "edge", "count": 1.5}, "truth.count must be a number of lines, got 1.5"),
        ({"class": "edge", "count": True}, "truth.count must be a number of lines"),
        ({"class": "edge", "lines": 2}, "truth must hold class and count"),
    ],
)
def test_a_truth_that_is_none_is_refused(truth: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        OnlineDefects().checked(truth)


def test_a_truth_is_kept_as_it_is_trained_on() -> None:
    assert OnlineDefects().checked({"class": "none"}) == {"class": "none", "count": 0}
    assert OnlineDefects().checked({"class": "mixed", "count": 40}) == {"class": "mixed", "count": 6}


def test_the_score_is_one_for_a_sure_right_answer_and_zero_for_a_sure_wrong_one() -> None:
    def score(**probabilities: float) -> float:
        told = dict.fromkeys(CLASSES, 0.0) | probabilities
        return OnlineDefects().score({"class_probabilities": told}, {"class": "edge"})

    assert (score(edge=1.0), score(screw=1.0), score(edge=0.5, screw=0.5)) == (1.0, 0.0, 0.75)
    with pytest.raises(ValueError, match="class_probabilities must name none, edge"):
        OnlineDefects().score({"mean": 3.0}, {"class": "edge"})


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"replay_frames": 0}, "replay_frames must lie"),
        ({"head": {"epoch": 3}}, "unexpected keyword argument 'epoch'"),
        ({"head": {"learning_rate": -1.0}}, "learning_rate must be positive"),
        ({"head": {"set_apart": 1.0}}, "set_apart must lie"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        OnlineDefects(**options)


def test_the_frozen_set_is_never_trained_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the frozen set must not be the one that is trained on"):
        OnlineDefects(replay=str(tmp_path)).frozen(tmp_path)


def test_a_checkpoint_that_does_not_say_its_recipe_needs_a_replay(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "silent.safetensors"
    save(replace(load(checkpoint), training={}), path)
    with pytest.raises(ValueError, match="replay must name a data set for a checkpoint that does not say its recipe"):
        Features(str(path), replay="", frames=4, seed=0)


def test_a_model_that_searches_does_not_learn_beside_a_run(checkpoint: Path, tmp_path: Path) -> None:
    made = load(checkpoint)
    path = tmp_path / "searching.safetensors"
    save(replace(made, network=replace(made.network, first_stage="search")), path)
    with pytest.raises(ValueError, match="model must be one whose network answers by itself to learn beside a run"):
        Features(str(path), replay="", frames=4, seed=0)


def test_an_option_within_another_analysis_is_found_and_given_back_there(
    frames: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Known:
        def __init__(self, model: str, **_: Any) -> None:
            asked.append(model)

        def of(self, examples: Any, exposed: Any) -> None:
            asked.append(f"{exposed(examples[0]).counts.max():g}")

        def replay(self) -> None: ...

    monkeypatch.setattr(online_features, "Features", Known)
    monkeypatch.setattr("training.online_heads.fine_tuned", lambda *given, seed: asked.append(given[0]))
    options = {"plugin": "defects", "options": {"model": "inner", "peak_counts": 5.0}}
    made, _ = OnlineDefects(option="options.model").trained(options, frames, tmp_path / "w-1", seed=0, threads=1)
    assert made == {"options": {"model": str(tmp_path / "w-1.safetensors")}}
    assert asked[0] == asked[2] == "inner"
    assert float(asked[1]) < 30, "counted anew, as the analysis does"
