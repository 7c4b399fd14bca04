"""What a crystal is asked for, and what a table of crystals says: two routes to every statistic."""

from dataclasses import replace

import numpy as np
import pytest
from crystals_to_score import MORE, SHAPE, SPANNING, crystal, known, oracle

from training.metrics import (
    CrystalObject,
    CrystalScore,
    KnownLine,
    Line,
    PredictedCrystal,
    crystal_score,
    differences,
    summary,
)
from training.metrics.answer_statistics import abstention, class_calibration, defect_calibration, line_calibration
from training.metrics.intervals import resamples
from training.metrics.summary import STATISTICS

ONE_REFLECTION = ((1, 1, 1),)


def noisy(index: int) -> CrystalScore:
    """A crystal and a bad prediction of it, all statistics of which differ from 0 and 1 over a few."""
    generator = np.random.default_rng(index)
    reflections = (SPANNING, MORE, ONE_REFLECTION)[index % 3]
    true = crystal(reflections, lines=index % 4 % 3, index=index, seed=index)
    lines = tuple(
        Line(line.points + generator.normal(0, 12, 3), line.windings + generator.integers(0, 2, len(line.windings)),
             line.burgers if generator.random() < 0.8 else None, generator.random())
        for line in true.lines
    )  # fmt: skip
    extra = (Line(generator.normal(0, 20, (2, 3)), np.ones(len(reflections)), None, generator.random()),)
    phase = true.volumes.phase + generator.normal(0, 0.2, true.volumes.phase.shape)
    probabilities = generator.dirichlet(np.ones(6) + 3 * np.eye(6)[(0, 2, 3)[len(lines)]])
    support = np.where(generator.random(SHAPE) < 0.1, 1 - true.volumes.support, true.volumes.support)
    sure = float(probabilities.max())
    said = PredictedCrystal(
        CrystalObject(support, phase), lines + extra * (index % 5 == 0), probabilities,
        undetermined=sure < 0.4, confidence=sure,
    )  # fmt: skip
    return crystal_score(said, replace(true, determined=index % 7 != 3))


@pytest.fixture(scope="module")
def scores() -> list[CrystalScore]:
    return [noisy(index) for index in range(24)]


def test_the_truth_scores_perfectly_in_every_statistic() -> None:
    """1 or 0 each, but for what needs wrong answers to be defined."""
    table = summary([crystal_score(oracle(crystal(lines=k, index=k)), crystal(lines=k)) for k in range(3)], number=20)
    errors = ("distance", "error", "RMS", "area")
    for name, told in table.items():
        if name == "abstention AUROC":
            assert np.isnan(told.value)
        else:
            assert told.value == pytest.approx(0.0 if any(word in name for word in errors) else 1.0, abs=1e-6), name


def test_every_statistic_of_weights_is_that_of_repeated_crystals(scores: list[CrystalScore]) -> None:
    """A resample by weights and the same crystals written out give the same number: for all of them."""
    for weights in resamples(len(scores), seed=5, number=3):
        repeated = [score for score, times in zip(scores, weights, strict=True) for _ in range(int(times))]
        for name, of in STATISTICS.items():
            by_weights, written_out = of(scores)(weights[None])[0], of(repeated)(np.ones((1, len(repeated))))[0]
            assert by_weights == pytest.approx(written_out, nan_ok=True), name


def test_the_noisy_crystals_are_no_trivial_case(scores: list[CrystalScore]) -> None:
    """Otherwise the test above would hold for anything."""
    table = summary(scores, number=10)
    assert not any(np.isnan(told.value) for told in table.values())
    assert sum(told.value in (0.0, 1.0) for told in table.values()) < 5


def test_numbers_by_hand_from_single_scores(scores: list[CrystalScore]) -> None:
    """The sums that the tables stand for, once more without them."""
    table = summary(scores, number=10)
    lines = [s.lines for s in scores if s.lines is not None]
    hits = sum(line.hits(2) for line in lines)
    assert table["line precision at 2 voxels"].value == pytest.approx(hits / sum(line.predicted for line in lines))
    assert table["line recall at 2 voxels"].value == pytest.approx(hits / sum(line.true for line in lines))
    distances = np.concatenate([line.distances for line in lines])
    assert table["median line distance (voxels)"].value == pytest.approx(np.median(distances))
    right = sum(np.nansum(line.burgers) for line in lines)
    asked = sum((~np.isnan(line.burgers)).sum() for line in lines)
    assert table["Burgers top-1"].value == pytest.approx(right / asked)
    every = sum(line.determined for line in lines)
    assert table["Burgers top-1, missed lines wrong"].value == pytest.approx(right / every)
    sites = [s.sites.outside for s in scores if s.sites is not None]
    rms = (sum(c.squares for c in sites) / sum(c.common for c in sites)) ** 0.5
    assert table["site RMS outside cores (pm)"].value == pytest.approx(rms)
    assert table["site recall inside cores"].value == pytest.approx(
        sum(s.sites.inside.right for s in scores if s.sites) / sum(s.sites.inside.true for s in scores if s.sites)
    )


def test_each_statistic_tells_how_many_crystals_are_behind_it(scores: list[CrystalScore]) -> None:
    table = summary(scores, number=10)
    assert table["class accuracy"].crystals == sum(s.determined for s in scores)
    assert table["site RMS outside cores (pm)"].crystals == sum(s.sites is not None for s in scores)
    assert table["line recall at 2 voxels"].crystals == sum(s.lines.true > 0 for s in scores if s.lines)
    assert table["answered"].crystals == len(scores)
    answered = sum(s.determined and not s.undetermined for s in scores)
    assert table["class accuracy where answered"].crystals == answered


def test_a_tier_without_lines_and_with_one_reflection_is_told_so() -> None:
    """No line, no three reflections: NaN with nobody behind, never a perfect score."""
    true = crystal(ONE_REFLECTION, lines=0)
    table = summary([crystal_score(oracle(true), true)] * 3, number=10)
    for name in ("line F1 at 2 voxels", "median line distance (nm)", "Burgers top-1", "site RMS inside cores (pm)",
                 "site precision outside cores", "calibration error of lines", "defect AUROC"):  # fmt: skip
        assert np.isnan(table[name].value), name
    assert table["line F1 at 2 voxels"].crystals == table["site precision outside cores"].crystals == 0
    assert table["count exact"].value == 1


def test_what_a_method_does_not_say_is_not_asked_for() -> None:
    """A classifier has no lines, and missing ones are no misses; lines alone have no class."""
    true = crystal(lines=1)
    classifier = crystal_score(PredictedCrystal(class_probabilities=np.full(6, 1 / 6)), true)
    assert (classifier.lines, classifier.volumes, classifier.sites) == (None, None, None)
    assert np.isnan(classifier.count_right)
    assert classifier.defect_probability == pytest.approx(5 / 6)
    assert np.isnan(summary([classifier], number=5)["line F1 at 2 voxels"].value)
    traced = crystal_score(PredictedCrystal(true.volumes, oracle(true).lines), true)
    assert traced.count_right == 1
    assert np.isnan(summary([traced], number=5)["class accuracy"].value)


@pytest.mark.parametrize(
    ("said", "among_three", "of_two"),
    [
        # none, edge, screw, mixed, partial-or-fault, loop-or-network
        ([0.0, 0.3, 0.1, 0.6, 0.0, 0.0], 1, 1),
        ([0.5, 0.3, 0.1, 0.1, 0.0, 0.0], 0, 1),
        ([0.0, 0.1, 0.3, 0.0, 0.6, 0.0], 0, 0),
    ],
)
def test_published_classifiers_are_asked_for_three_classes_or_two(
    said: list[float], among_three: int, of_two: int
) -> None:
    """An edge, whatever is said of the classes that are not asked for."""
    true = replace(crystal(lines=1), defect="edge")
    table = summary([crystal_score(PredictedCrystal(class_probabilities=np.array(said)), true)], number=5)
    assert (table["none, edge or screw"].value, table["edge or screw"].value) == (among_three, of_two)


@pytest.mark.parametrize(("defect", "three", "two"), [("none", 1, 0), ("mixed", 0, 0), ("screw", 1, 1)])
def test_crystals_of_other_classes_are_not_among_them(defect: str, three: int, two: int) -> None:
    true = replace(crystal(lines=0 if defect == "none" else 1), defect=defect)
    table = summary([crystal_score(PredictedCrystal(class_probabilities=np.full(6, 1 / 6)), true)], number=5)
    assert (table["none, edge or screw"].crystals, table["edge or screw"].crystals) == (three, two)


def test_what_nobody_can_tell_is_not_graded_but_wrong_to_answer() -> None:
    """g·b = 0 for every line: neither class nor count, and whoever is sure all the same abstains badly."""
    dark = known(np.array([[0.0, 0, -30], [0, 0, 30]]), np.array([0.5, -0.5, 0]), ONE_REFLECTION)
    hidden = replace(crystal(ONE_REFLECTION), lines=(dark,), determined=False)
    assert not dark.visible
    sure = crystal_score(PredictedCrystal(hidden.volumes, (), np.eye(6)[2], confidence=1.0), hidden)
    unsure = crystal_score(PredictedCrystal(hidden.volumes, (), np.eye(6)[2], confidence=0.1), hidden)
    right = crystal_score(oracle(crystal(lines=1)), crystal(lines=1))
    assert np.isnan(sure.count_right)
    assert np.isnan(summary([sure], number=5)["defect accuracy"].value)
    assert summary([unsure, right], number=5)["abstention AUROC"].value == 1
    assert summary([sure, right], number=5)["abstention AUROC"].value == 0.5


@pytest.mark.parametrize(("count", "right"), [(None, 1), (1, 1), (2, 0)])
def test_a_count_is_the_method_s_own_or_that_of_its_lines(count: int | None, right: int) -> None:
    """A line found on a hidden one is not counted against it."""
    true = crystal(lines=1)
    hidden = KnownLine(np.add(true.lines[0].points, [0, 40.0, 0]), np.zeros(3))
    said = oracle(true)
    assert said.lines is not None
    both = (*said.lines, Line(hidden.points, np.zeros(3)))
    score = crystal_score(replace(said, lines=both, count=count), replace(true, lines=(*true.lines, hidden)))
    assert score.count_right == right


def test_calibration_data_are_those_of_graded_answers(scores: list[CrystalScore]) -> None:
    """One entry a graded crystal, one a line; for the abstention one a crystal."""
    assert len(defect_calibration(scores)[0]) == len(class_calibration(scores)[0]) == sum(s.determined for s in scores)
    assert len(line_calibration(scores)[0]) == sum(s.lines.predicted for s in scores if s.lines)
    confidence, right = abstention(scores)
    assert len(confidence) == len(scores)
    assert not right[[not s.determined for s in scores]].any()


def test_differences_are_of_the_same_crystals(scores: list[CrystalScore]) -> None:
    """A method against itself differs by nothing, certainly; against another by its own minus the other's."""
    assert all(told.value == told.low == told.high == 0 for told in differences(scores, scores, number=10).values())
    perfect = [crystal_score(oracle(crystal(lines=1)), crystal(lines=1, index=s.index)) for s in scores]
    told = differences(perfect, scores, number=10)["support Dice"]
    assert told.value == pytest.approx(1 - summary(scores, number=5)["support Dice"].value)
    with pytest.raises(ValueError, match="theirs must be of the 24 crystals of ours in their order, got 23"):
        differences(scores, scores[1:])
    with pytest.raises(ValueError, match="theirs must be of the 24 crystals"):
        differences(scores, scores[::-1])


def test_a_table_must_have_crystals() -> None:
    with pytest.raises(ValueError, match="scores must be of at least one crystal, got none"):
        summary([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"defect": "kink"}, "defect must be one of none, edge, .*, got 'kink'"),
        ({"G": np.zeros((2, 3))}, r"G must have shape \(3, 3\), one row a phase, got \(2, 3\)"),
        ({"reflections": np.zeros(3)}, r"reflections must have shape \(3, 3\)"),
        ({"lines": (KnownLine(np.eye(3), np.ones(2)),)}, "windings must be 3, one a reflection, got 2"),
    ],
)
def test_a_true_crystal_must_hold_together(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(crystal(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"lines": ()}, "volumes must be given with lines: they choose the twin, got None"),
        ({"class_probabilities": np.ones(6)}, "class_probabilities must be 6 that sum to 1, got"),
        ({"class_probabilities": np.full(4, 0.25)}, "class_probabilities must be 6"),
        (
            {"volumes": CrystalObject(np.ones(SHAPE), np.zeros((2, *SHAPE))), "lines": (Line(np.eye(3), np.ones(3)),)},
            "windings must be 2, one a reflection, got 3",
        ),
    ],
)
def test_a_prediction_must_hold_together(said: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictedCrystal(**said)  # type: ignore[arg-type]
