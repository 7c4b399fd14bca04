"""Evaluation: truth in the frame of the patterns, methods on the same crystals, what is not graded, the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluated_crystals import RECIPE, Oracle, crystals, told, twin_of

from cdi.fourier import amplitude_from_object, centre_crop, centre_pad
from cdi.main import main
from cdi.pattern import Exposure
from cdi.retrieval.config import SearchConfig
from cdi.retrieval.search import SearchedObject
from data.drawn import DrawnCrystals
from data.generation import generate
from models.checkpoint import Checkpoint, load, save
from models.config import NetworkConfig
from models.network import DefectNet
from models.prediction import BurgersCandidate, PredictedLine, Prediction
from models.predictor import Predictor
from training.evaluation import evaluate, rows_of, tables
from training.held_out import (
    EvaluationSettings,
    evaluate_held_out,
    refuse_training_seed,
    rules_of_the_search,
    test_sets,
)
from training.methods import CrystalSamples, known_crystal
from training.metrics import PredictedCrystal, TrueCrystal, crystal_score
from training.network_method import NetworkMethod, predicted_crystal
from training.report import Report
from training.targets import targets_of_samples
from training.true_crystals import true_crystal

test_sets.__test__ = False  # type: ignore[attr-defined]
CRYSTALS = crystals(6)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network that says which seed it was trained on."""
    config = NetworkConfig(
        shape=RECIPE.shape, width=8, token_dim=16, layers=1, heads=2, reader_width=8, iterations=2
    )  # fmt: skip
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    training = {"config": {"recipe": {"seed": 99}}}
    save(Checkpoint("tiny", config, DefectNet(config).state_dict(), training=training), path)
    return path


@pytest.mark.parametrize("crystal", CRYSTALS[:3], ids=lambda crystal: crystal[0].truth.defect)
def test_the_truth_makes_the_centred_patterns(crystal: CrystalSamples) -> None:
    """|F|² of the true support and phases is the counts that a method reads, and not that of −φ."""
    true, patterns = true_crystal(crystal), targets_of_samples([crystal]).patterns
    for counts, phase in zip(patterns.counts[0].numpy(), true.volumes.phase, strict=True):
        overlap = []
        for sign in (1, -1):
            density = torch.as_tensor(true.volumes.support * np.exp(1j * sign * phase))
            root = amplitude_from_object(centre_pad(density, RECIPE.shape)).abs().numpy()
            overlap.append((root * np.sqrt(counts)).sum() / np.sqrt((root**2).sum() * counts.sum()))
        assert overlap[0] > 0.97
        assert overlap[0] > overlap[1]


@pytest.mark.parametrize("answer", [told, lambda true: twin_of(told(true), true)], ids=["itself", "twin"])
def test_the_truth_scores_perfectly(answer) -> None:  # type: ignore[no-untyped-def]
    """Support, phases, lines and Burgers vectors of a set, said as they are or as their joint twin."""
    scores = [a.score for a in evaluate([Oracle(answer)], CRYSTALS, tier="T1", reflections=(3,))]  # type: ignore[arg-type]
    for score in scores:
        assert score.volumes is not None
        assert score.volumes.dice == pytest.approx(1)
        assert score.volumes.phase_error < 1e-6
    lines = [score.lines for score in scores if score.lines is not None]
    assert sum(line.hits(1) for line in lines) == sum(line.true for line in lines) > 0
    assert np.nanmin(np.concatenate([line.burgers for line in lines])) == 1


def test_fewer_reflections_determine_less() -> None:
    """From the first exposure alone no Burgers vector is asked for and no lattice site; from three they are."""
    answers = evaluate([Oracle()], CRYSTALS, tier="T1", reflections=(1, 3))  # type: ignore[arg-type]
    rows = rows_of(answers)
    asked = {row: sum(a.score.lines.determined for a in those if a.score.lines) for row, those in rows.items()}
    assert asked["oracle, 1 reflection"] == 0 < asked["oracle, 3 reflections"]
    assert all(a.score.sites is None for a in rows["oracle, 1 reflection"])
    assert all(a.score.sites is not None for a in rows["oracle, 3 reflections"])


def test_all_methods_get_the_same_crystals_and_are_paired() -> None:
    """Difference rows are there for each other method with as many reflections, and tell which is better."""

    def wrong(true: TrueCrystal) -> PredictedCrystal:
        return PredictedCrystal(class_probabilities=np.roll(told(true).class_probabilities, 1))

    methods = [Oracle(), Oracle(wrong, "wrong")]
    table = tables(evaluate(methods, CRYSTALS, tier="T2-rod", reflections=(1, 3)), number=50)  # type: ignore[arg-type]
    assert set(table) == {"T2", "T2-rod"}
    rows = table["T2-rod"]
    assert rows["oracle − wrong, 3 reflections"]["class accuracy"].value == 1
    assert rows["wrong, 1 reflection"]["class accuracy"].value == 0
    assert np.isnan(rows["wrong, 1 reflection"]["support Dice"].value)


def test_parts_of_a_tier_are_told_together_and_curves_are_not() -> None:
    """T2's row counts the crystals of all its parts; the points of T5 are never pooled."""
    few = CRYSTALS[:2]
    answers = [a for tier in ("T2-rod", "T2-bcc", "T5-strain-0", "T5-strain-1")
               for a in evaluate([Oracle()], few, tier=tier)]  # type: ignore[arg-type]  # fmt: skip
    table = tables(answers, number=20)
    assert set(table) == {"T2", "T2-bcc", "T2-rod", "T5-strain-0", "T5-strain-1"}
    assert table["T2"]["oracle, 1 reflection"]["support Dice"].crystals == 4


def test_hidden_crystals_are_not_graded() -> None:
    """Where every line has g·b = 0 in the only reflection, neither class nor count nor lines are asked for."""
    recipe = replace(RECIPE, hidden_fraction=0.95, class_fractions=(0, 1, 1, 1), reflections=((1, 1, 1),),
                     reflection_count=1, elements=("Cu",))  # fmt: skip

    def silly(true: TrueCrystal) -> PredictedCrystal:
        return replace(told(true), class_probabilities=np.eye(6)[5], count=9)

    scores = [a.score for a in evaluate([Oracle(silly)], crystals(8, recipe), tier="T1")]  # type: ignore[arg-type]
    hidden = [score for score in scores if not score.determined]
    assert hidden
    for score in hidden:
        assert np.isnan(score.count_right)
        assert score.lines is not None
        assert score.lines.true == 0


def test_the_network_is_told_lattice_and_indices_and_no_orientation() -> None:
    """What is known beforehand is the cell and the reflections; the truth's orientation stays out."""
    known = known_crystal(CRYSTALS[0])
    truth = CRYSTALS[0][0].truth
    assert known.orientation is None
    assert known.lattice.formula == truth.formula
    assert np.array_equal(known.lattice.cell, truth.cell)
    oriented = known.oriented([sample.exposure.grid.centre for sample in CRYSTALS[0] if sample.exposure.grid])
    # Grids are centred beside G, by up to a voxel: the orientation is found to that.
    assert oriented is not None
    assert np.abs(oriented - truth.orientation).max() < 0.1


def test_a_prediction_keeps_its_senses() -> None:
    """Points, windings, the most probable Burgers vector and confidence stay; novel means no confidence."""
    line = PredictedLine(
        np.array([[0.0, 0, 0], [9, 3, 1]]), None, 0.8, (1.0, 0.0),
        (BurgersCandidate((0.5, -0.5, 0), 0.7), BurgersCandidate((0, 0.5, 0.5), 0.3)),
    )  # fmt: skip
    volume = np.ones((4, 5, 6), np.float32)
    said = Prediction(0.9, (0.1, 0.2, 0.3, 0.2, 0.1, 0.1), (1.0,), "", (line,), volume, volume, np.stack([volume] * 2),
                      np.eye(3), {}, 0.1)  # fmt: skip
    kept = predicted_crystal(said)
    assert kept.lines is not None
    assert kept.lines[0].burgers is not None
    assert kept.lines[0].burgers.tolist() == [0.5, -0.5, 0]
    assert kept.lines[0].windings.tolist() == [1, 0]
    assert (kept.confidence, kept.lines[0].confidence, kept.undetermined) == (0.9, 0.8, False)
    novel = predicted_crystal(replace(said, undetermined="novel"))
    assert (novel.confidence, novel.undetermined) == (0.0, True)


def test_the_network_answers_sets_of_any_size(checkpoint: Path) -> None:
    """One phase an exposure, on the grid of the truth."""
    method = NetworkMethod(Predictor.load(checkpoint))
    for number in (1, 3):
        chosen = [crystal[:number] for crystal in CRYSTALS[:2]]
        for said, crystal in zip(method.predict(chosen), chosen, strict=True):
            assert crystal_score(said, true_crystal(crystal)).volumes is not None


def test_voxels_of_another_grid_are_refused(checkpoint: Path) -> None:
    """Scores compare voxel by voxel: a model of another shape is told so."""
    other = crystals(1, replace(RECIPE, shape=(16, 16, 16)))
    with pytest.raises(ValueError, match=r"exposures must have the shape of the model \(16, 24, 16\)"):
        NetworkMethod(Predictor.load(checkpoint)).predict(other)


def test_too_few_exposures_are_refused() -> None:
    with pytest.raises(ValueError, match="reflections must be at most the 3 of crystal 0, got 6"):
        evaluate([Oracle()], CRYSTALS, tier="T1", reflections=(6,))  # type: ignore[arg-type]


def test_a_model_is_not_tested_on_its_training_seed(checkpoint: Path) -> None:
    """Equal seeds would be equal crystals."""
    sets = test_sets(EvaluationSettings(crystals=2), RECIPE.shape)
    refuse_training_seed(str(checkpoint), sets)
    with pytest.raises(ValueError, match="the test seed must differ from the training's, got 99 for both"):
        refuse_training_seed(str(checkpoint), [replace(sets[0], seed=99)])


def test_without_tiers_t1_is_drawn_on_the_model_s_voxels() -> None:
    sets = test_sets(EvaluationSettings(crystals=2), (16, 24, 16))
    assert [each.tier for each in sets] == ["T1"]
    assert isinstance(sets[0].crystals, DrawnCrystals)
    assert sets[0].crystals.recipe.shape == (16, 24, 16)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: EvaluationSettings(tiers="a", dataset="b"), "dataset must be left out with tiers, got b"),
        (lambda: EvaluationSettings(crystals=1), "crystals must be at least 2, got 1"),
        (lambda: EvaluationSettings(workers=-1), "workers must not be negative, got -1"),
        (
            lambda: test_sets(EvaluationSettings(tiers="/nowhere"), (16, 16, 16)),
            "--tiers must be a directory of cdi tiers",
        ),
    ],
)
def test_bad_settings_are_refused(make, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=says):
        make()


def test_the_command_leaves_a_report(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stored tiers are scored one by one and together; page, numbers and a line a crystal lie in the directory."""
    for name in ("T2-rod", "T2-bcc"):
        generate(replace(RECIPE, samples=3, name=name, seed=len(name)), tmp_path / "tiers" / name, progress=False)
    report = tmp_path / "report"
    arguments = ["evaluate", "--tiers", str(tmp_path / "tiers"), "--model", str(checkpoint), "--crystals", "2",
                 "--starts", "1", "--workers", "0", "--output", str(report)]  # fmt: skip
    assert main(arguments) == 0
    assert "T2-rod" in capsys.readouterr().out
    scores = json.loads((report / "metrics.json").read_text())["scores"]
    assert set(scores) == {"T2", "T2-bcc", "T2-rod"}
    dice = scores["T2"]["network, 3 reflections"]["support Dice"]
    assert dice["low"] <= dice["value"] <= dice["high"]
    assert dice["crystals"] == 4
    rows = [json.loads(line) for line in (report / "crystals.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 2 * 2
    assert "data:image/png;base64" in (report / "report.html").read_text()
    assert main(arguments) == 2
    assert "new or empty directory" in capsys.readouterr().err


def test_ctrl_c_leaves_a_report_of_the_crystals_that_were_scored(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All methods of the same ones, and it says that they are not all. Before the first there is none."""
    written: list[Report] = []
    monkeypatch.setattr("training.evaluation.BATCH", 2)
    monkeypatch.setattr("training.held_out.write_report", lambda report, output: written.append(report))
    settings = EvaluationSettings(str(checkpoint), crystals=4, workers=0)
    looks = iter([False, True, True])
    evaluate_held_out(settings, tmp_path / "report", lambda: next(looks))
    assert written[0].facts["interrupted"] == "not all crystals were scored"
    assert len({answer.score.index for answer in written[0].answers}) == 2
    with pytest.raises(KeyboardInterrupt):
        evaluate_held_out(settings, tmp_path / "none", lambda: True)
    assert len(written) == 1


def test_the_central_half_is_the_frame(checkpoint: Path) -> None:
    """Truth and answer lie on the same voxels: the central half of the exposures' grid."""
    true = true_crystal(CRYSTALS[0])
    whole = torch.as_tensor(CRYSTALS[0][0].truth.support)
    assert torch.equal(centre_crop(whole, (8, 12, 8)) > 0.5, torch.as_tensor(true.volumes.inside))


def test_a_model_that_searches_is_scored_beside_rules_in_what_it_keeps(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One search a pattern, from one reflection and from three: rules read what is kept."""
    made = load(checkpoint)
    searching = tmp_path / "searching.safetensors"
    save(replace(made, network=replace(made.network, first_stage="search", passes=1)), searching)
    x, y, z = (torch.arange(n) - n // 2 for n in RECIPE.shape)
    ball = (x[:, None, None].square() + y[:, None].square() + z.square() < 9) + 0j
    searched: list[int] = []

    def search(exposure: Exposure, config: SearchConfig, **given: object) -> SearchedObject:
        searched.append(1)
        return SearchedObject(ball.to(torch.complex64), ball.abs() > 0, 1.0, 0.01)

    monkeypatch.setattr("models.searched_stage.search", search)
    written: list[Report] = []
    monkeypatch.setattr("training.held_out.write_report", lambda report, output: written.append(report))
    arguments = ["evaluate", "--model", str(searching), "--crystals", "2", "--workers", "0", "--output"]
    assert main([*arguments, str(tmp_path / "report"), "--objects", str(tmp_path / "objects")]) == 0
    assert {answer.method for answer in written[0].answers} == {"network", "search and vortices"}
    assert len(searched) == len(list((tmp_path / "objects").glob("*.npz"))) == 2 * 3
    assert not rules_of_the_search(Predictor.load(searching))  # kept nowhere: they would have to search again
