"""The report: what makes lines hard, failures in words, figures, and a page that says n."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluated_crystals import answer_of

from cdi.defects.classes import CLASSES
from training.asked_lines import asked_lines, drawing
from training.evaluation import Answer, tables
from training.figures import best_median_worst, curves_figure
from training.metrics import CrystalObject, Interval, KnownLine, Line, PredictedCrystal, TrueCrystal
from training.report import Report, cell, write_report
from training.strata import TRAITS, failure_modes, strata

VOXEL = np.array([[9.0, 0, 0], [1.5, 10.0, 0], [-0.7, 1.2, 11.0]])
SHAPE = (14, 16, 18)


def line(corner: tuple[float, float, float], along: tuple[float, float, float], winding: float) -> KnownLine:
    """A straight line from ``corner``, in voxels."""
    points = np.array([corner, np.add(corner, along)], np.float64) @ VOXEL
    return KnownLine(points, np.array([winding]), np.array([0.5, 0.5, 0]) * np.sign(winding or 1))


LONG = line((0, 0, -4), (0, 0, 8), 1)
SHORT = line((3, 0, -1), (0, 0, 2), -1)
HIDDEN = line((0, 3, -2), (0, 0, 4), 0)


def truth(*lines: KnownLine, defect: str = "screw", index: int = 0) -> TrueCrystal:
    """A lopsided box with lines."""
    support = np.zeros(SHAPE)
    support[3:12, 4:12, 3:16] = 1
    support[10:12, 10:12] = 0
    phase = np.random.default_rng(index).normal(0, 0.1, (1, *SHAPE))
    return TrueCrystal(
        index, CrystalObject(support, phase), lines, defect, True, np.array([[1, 1, 1]]), np.array([[1.0, 1.2, 0.8]]),
        VOXEL, 16.0,
    )  # fmt: skip


def said(true: TrueCrystal, *lines: Line, defect: str = "screw") -> PredictedCrystal:
    probabilities = np.full(6, 0.02)
    probabilities[CLASSES.index(defect)] = 0.9
    return PredictedCrystal(true.volumes, lines, probabilities, confidence=0.9)


def moved(known: Line, by: float) -> Line:
    """The line ``by`` voxels along x, with a confidence."""
    return Line(known.points + by * VOXEL[0], known.windings, None, 0.6)


def answers(number: int = 4, tier: str = "T1") -> list[Answer]:
    """Crystals whose long line is found and whose short one is missed."""
    trues = [truth(LONG, SHORT, HIDDEN, index=i) for i in range(number)]
    return [answer_of(said(t, moved(LONG, 0.3 * i)), t, tier=tier) for i, t in enumerate(trues)]


def test_a_line_is_described_in_voxels() -> None:
    """Length, winding, distance to the other line and to its prediction, by hand; the hidden line is not asked for."""
    true = truth(LONG, SHORT, HIDDEN)
    asked = asked_lines(said(true, moved(LONG, 1.0)), true)
    assert asked is not None
    assert [round(one.length, 6) for one in asked] == [8, 2]
    assert [one.winding for one in asked] == [1, 1]
    assert [one.neighbour for one in asked] == pytest.approx([3, 3])
    assert asked[0].distance == pytest.approx(1.0, abs=1e-6)
    assert asked[1].distance == np.inf
    assert [one.found for one in asked] == [True, False]


def test_depth_is_the_distance_from_the_surface() -> None:
    """A line along the middle lies deeper than one beside a face, whose depth is known."""
    true = truth(line((0, 0, -3), (0, 0, 6), 1), line((-4, 0, -3), (0, 0, 6), 1))
    asked = asked_lines(said(true), true)
    assert asked is not None
    assert asked[1].depth == pytest.approx(1.0)
    assert asked[0].depth > 3


def test_no_lines_told_is_not_no_line_found() -> None:
    true = truth(LONG)
    assert asked_lines(PredictedCrystal(class_probabilities=np.full(6, 1 / 6)), true) is None


def test_pictures_show_the_twin_that_the_volumes_chose() -> None:
    """A prediction in the twin is drawn on the truth, not at the other side of the crystal."""
    from training.metrics.joint_group import Alignment

    true = truth(SHORT)
    group = Alignment(True, np.array([1.0, 0, -1]), np.zeros(1))
    plain = said(true, moved(SHORT, 0.0))
    assert plain.lines is not None
    turned = replace(plain, volumes=group.volumes(true.volumes), lines=(group.line(plain.lines[0], VOXEL),))
    there = drawing(turned, true)
    assert np.abs(there.predicted[0] - there.true[0]).max() < 0.1
    assert len(drawing(plain, truth(SHORT, HIDDEN)).hidden) == 1


def test_strata_count_every_visible_line_once() -> None:
    """Each trait splits the same lines; short ones are the missed ones here."""
    rows = strata(answers())
    for trait in TRAITS:
        assert sum(row.lines for row in rows if row.trait == trait) == 8
        assert sum(row.found for row in rows if row.trait == trait) == 4
    short = next(row for row in rows if row.trait.startswith("length") and row.part == "below 4")
    assert (short.lines, short.found, short.crystals, short.recall) == (4, 0, 4, 0.0)


def test_lines_alone_are_a_stratum() -> None:
    """A single line is infinitely far from the next."""
    true = truth(LONG)
    rows = strata([answer_of(said(true, moved(LONG, 0)), true)])
    assert [row.lines for row in rows if row.part == "alone"] == [1]


def test_failure_modes_say_shares_of_the_data() -> None:
    """Half of the lines are missed, all of them short; one clean crystal of two has a false line; one confusion."""
    clean = [truth(defect="none", index=10 + i) for i in range(2)]
    more = [answer_of(said(clean[0], moved(LONG, 0)), clean[0]), answer_of(said(clean[1], defect="none"), clean[1])]
    text = " ".join(failure_modes([*answers(), *more]))
    assert "4 of 8 visible lines are missed at 2 voxels (50%)." in text
    assert "length (voxels), below 4: recall 0% of 4 lines against 100% of the others; 100% of the misses" in text
    assert "A line is reported in 1 of 2 crystals without any (50%)." in text
    assert "none taken for screw: 1 of 1 wrong classes (100%), in 1 of 2 such crystals." in text


def test_a_flawless_method_has_no_failures_by_kind() -> None:
    true = truth(LONG)
    assert failure_modes([answer_of(said(true, moved(LONG, 0)), true)]) == [
        "0 of 1 visible lines are missed at 2 voxels (0%)."
    ]


def test_crystals_are_ranked_by_their_lines() -> None:
    """The nearest found first; without a visible line nothing is ranked."""
    ranked = best_median_worst([*answers(3), answer_of(said(truth()), truth(defect="none"))], each=1)
    assert [part[0].score.index for part in ranked.values()] == [0, 1, 2]


def test_a_cell_says_its_interval_and_how_many_crystals() -> None:
    assert cell(Interval(0.5, 0.25, 0.75, 12)) == "0.500 [0.250, 0.750] n=12"
    assert cell(Interval(float("nan"), float("nan"), float("nan"), 0)) == cell(None) == "–"


def test_curves_have_a_panel_for_each_condition() -> None:
    """Points of one condition stand in order of its value, one curve a number of reflections; no tier, no figure."""
    table = tables([*answers(tier="T5-strain-0"), *answers(tier="T5-strain-2")], number=20)
    figure = curves_figure(table, "by hand")
    assert figure is not None
    x = figure.axes[0].lines[0].get_xdata()
    assert np.asarray(x).tolist() == [0, 2]
    assert curves_figure({}, "by hand") is None


def test_a_report_is_one_page_with_its_numbers(tmp_path: Path) -> None:
    """Every image is in the page, what is not defined is null in the numbers, names are escaped."""
    found = [*answers(12, "T2-rod"), *answers(3, "T5-strain-0")]
    facts = {"model": "a<b", "tiers": {"T2-rod": {"title": "rods"}}, "baselines": {"prior": {"crystals": 7}}}
    real = [{"pattern": "gold", "defect_probability": 0.1, "class": "none", "false_lines": 0, "undetermined": ""}]
    write_report(Report("A <title>", facts, found, tables(found, number=20), real), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == page.count("data:image/png;base64") == 4
    assert "A &lt;title&gt;" in page
    assert "n=12" in page
    assert "gold" in page
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert numbers["scores"]["T2"]["by hand, 1 reflection"]["site RMS outside cores (pm)"]["value"] is None
    assert numbers["headline"] == "T2, by hand, 1 reflection"
    assert len((tmp_path / "crystals.jsonl").read_text().splitlines()) == 15
    for name in ("gallery", "calibration", "confusion", "curves"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
