"""The figures of an evaluation's report, one function a figure."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdi.defects.classes import CLASSES
from training.asked_lines import Drawing
from training.evaluation import Answer, Table, of_reflections, row_name
from training.metrics import CrystalScore
from training.metrics.answer_statistics import abstention, class_calibration, defect_calibration, line_calibration
from training.metrics.confidence import reliability, risk_coverage
from training.metrics.line_scores import HEADLINE
from training.tiers import CURVES, TIERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

FEWEST = 10
"""Answers in a bin from which its point is drawn."""
CURVE_SCORES = ("line F1 at 2 voxels", "class accuracy", "median line distance (voxels)", "phase error (rad)")
TRUE_COLOUR, PREDICTED_COLOUR, HIDDEN_COLOUR = "#1f6feb", "#d1242f", "#9aa4b2"


def calibration_figure(answers: Sequence[Answer]) -> "Figure":
    """Reliability of P(defect), class and lines, and risk against coverage; a curve for each tier and row."""
    figure, panels = _figure(15, 4.0, 4)
    kinds: tuple[tuple[str, Callable[[Sequence[CrystalScore]], Any]], ...] = (
        ("P(defect)", defect_calibration), ("the most probable class", class_calibration), ("a line", line_calibration),
    )  # fmt: skip
    for axes, (title, graded) in zip(panels, kinds, strict=False):
        for label, scores in _curves(answers):
            curve = reliability(*graded(scores))
            shown = curve.number >= FEWEST
            axes.plot(
                curve.confidence[shown], curve.frequency[shown], "o-", ms=4, label=f"{label}, n={curve.number.sum()}"
            )
        axes.plot([0, 1], [0, 1], color="0.6", lw=1)
        axes.set(title=f"confidence in {title}", xlabel="stated", ylabel="frequency", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False, fontsize=7)
    for label, scores in _curves(answers):
        confidence, right = abstention(scores)
        if len(confidence):
            curve_ = risk_coverage(confidence, right)
            panels[3].plot(curve_.coverage, curve_.risk, label=f"{label}, n={len(confidence)}")
    panels[3].set(title="wrong classes among the surest", xlabel="share answered", ylabel="error rate", ylim=(0, 1))
    panels[3].legend(frameon=False, fontsize=7)
    return figure


def confusion_figure(answers: Sequence[Answer]) -> "Figure":
    """Confusion matrix of every group, of the most reflections that a method was given; graded crystals only."""
    groups = {a.group: a.score.reflections for a in sorted(answers, key=lambda a: (a.group, a.score.reflections))}
    figure, panels = _figure(5.6 * len(groups), 5.2, len(groups))
    for axes, (group, reflections) in zip(panels, groups.items(), strict=True):
        scores = [a.score for a in answers if a.group == group and a.score.reflections == reflections]
        _draw_confusion(axes, scores)
        axes.set_title(f"{group}, {of_reflections(reflections)}")
    return figure


def curves_figure(tables: Mapping[str, Table], method: str) -> "Figure | None":
    """T5: scores against each condition with their intervals, a curve for each number of reflections."""
    conditions = [name for name in [*CURVES, "reflections"] if any(_is_of(name, tier) for tier in tables)]
    if not conditions:
        return None
    figure, panels = _figure(3.4 * len(conditions), 2.6 * len(CURVE_SCORES), len(conditions), len(CURVE_SCORES))
    for column, condition in enumerate(conditions):
        for row, score in enumerate(CURVE_SCORES):
            axes = panels[row * len(conditions) + column]
            for label, points in _points(tables, method, condition, score).items():
                x, value, low, high = np.array(points, np.float64).T
                axes.errorbar(x, value, [value - low, high - value], fmt="o-", ms=4, capsize=2, label=label)
            if condition == "photons":
                axes.set_xscale("log")
            if column == 0:
                axes.set_ylabel(score, fontsize=9)
            if row == len(CURVE_SCORES) - 1:
                axes.set_xlabel(
                    CURVES[condition][0] if condition in CURVES else "reflections of each crystal", fontsize=9
                )
        if panels[column].get_legend_handles_labels()[0]:
            panels[column].legend(frameon=False, fontsize=7)
    return figure


def gallery_figure(chosen: Mapping[str, Sequence[Answer]]) -> "Figure":
    """Predicted and true lines in space, a row for each of ``chosen`` (best, median, worst), in the truth's frame."""
    from matplotlib.figure import Figure

    columns = max(1, max(map(len, chosen.values()), default=1))
    figure = Figure(figsize=(4.2 * columns, 4.0 * len(chosen)), layout="constrained")
    for row, (title, answers) in enumerate(chosen.items()):
        for column, answer in enumerate(answers):
            axes = figure.add_subplot(len(chosen), columns, row * columns + column + 1, projection="3d")
            _draw_space(axes, answer.drawing)
            axes.set_title(f"{title}: {_caption(answer)}", fontsize=8)
    handles = [
        _handle(TRUE_COLOUR, "-", "true"), _handle(PREDICTED_COLOUR, "--", "predicted"),
        _handle(HIDDEN_COLOUR, ":", "true, g·b = 0 in every reflection: not asked for"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def best_median_worst(answers: Sequence[Answer], each: int = 3) -> dict[str, list[Answer]]:
    """Crystals with visible lines by the F1 of their lines at 2 voxels, then by their mean distance."""
    asked = [a for a in answers if a.asked and a.score.lines is not None]
    ranked = sorted(asked, key=_goodness, reverse=True)
    each = min(each, max(1, len(ranked) // 3))
    middle = (len(ranked) - each) // 2
    parts = {"best": ranked[:each], "median": ranked[middle : middle + each], "worst": ranked[-each:]}
    return {title: part for title, part in parts.items() if part}


def _goodness(answer: Answer) -> tuple[float, float]:
    lines = answer.score.lines
    assert lines is not None
    share = 2 * lines.hits(HEADLINE) / (lines.predicted + lines.true)
    return share, -float(lines.distances.mean()) if len(lines.distances) else -np.inf


def _caption(answer: Answer) -> str:
    lines = answer.score.lines
    assert lines is not None
    told = answer.score.class_probabilities
    said = "" if told is None else f" → {CLASSES[int(told.argmax())]}"
    away = f", {lines.distances.mean():.1f} voxels off" if len(lines.distances) else ""
    found = f"{lines.hits(HEADLINE)} of {lines.true} found, {lines.predicted} predicted{away}"
    return f"{CLASSES[answer.score.defect]}{said}\n{found}"


def _curves(answers: Sequence[Answer]) -> list[tuple[str, list[CrystalScore]]]:
    """Scores of T1 to T4 by group and number of reflections: T5 would count T1's distribution many times."""
    found: dict[str, list[CrystalScore]] = {}
    for answer in answers:
        if answer.group != "T5":
            found.setdefault(f"{answer.group}, {of_reflections(answer.score.reflections)}", []).append(answer.score)
    return list(found.items())


def _points(
    tables: Mapping[str, Table], method: str, condition: str, score: str
) -> dict[str, list[tuple[float, float, float, float]]]:
    """(condition, value, low, high) by curve; a score that is not defined has no point."""
    curves: dict[str, list[tuple[float, float, float, float]]] = {}
    for tier in (name for name in TIERS if name in tables and _is_of(condition, name)):
        for reflections in TIERS[tier].reflections:
            cell = tables[tier].get(row_name(method, reflections), {}).get(score)
            if cell is not None and np.isfinite([cell.value, cell.low, cell.high]).all():
                by_count = condition == "reflections"
                label = "first reflections of six" if by_count else of_reflections(reflections)
                at = float(reflections) if by_count else TIERS[tier].value
                curves.setdefault(label, []).append((at, cell.value, cell.low, cell.high))
    return curves


def _is_of(condition: str, tier: str) -> bool:
    return tier in TIERS and TIERS[tier].condition == condition


def _draw_confusion(axes: "Axes", scores: Sequence[CrystalScore]) -> None:
    matrix = np.zeros((len(CLASSES), len(CLASSES)), int)
    for score in scores:
        if score.determined and score.class_probabilities is not None:
            matrix[score.defect, score.class_probabilities.argmax()] += 1
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(matrix.shape):
        if matrix[i].sum():
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, f"{share[i, j]:.0%}\n{matrix[i, j]}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(
        range(len(CLASSES)), [f"{c}, n={n}" for c, n in zip(CLASSES, matrix.sum(1), strict=True)], fontsize=8
    )
    axes.set(xlabel="predicted", ylabel="true")


def _draw_space(axes: Any, drawing: Drawing) -> None:
    """Lines over the outline of the support: the edges of its convex hull."""
    from scipy.spatial import ConvexHull, QhullError

    points = np.argwhere(drawing.inside) - np.asarray(drawing.inside.shape) // 2
    if len(points):
        try:
            faces = ConvexHull(points).simplices
            axes.plot_trisurf(*points.T, triangles=faces, color="#8c959f", alpha=0.12, shade=False, lw=0)
        except QhullError:  # flat: a crystal of few voxels
            axes.scatter(*points.T, s=2, color="0.7")
    styles = (
        (drawing.hidden, HIDDEN_COLOUR, ":"),
        (drawing.true, TRUE_COLOUR, "-"),
        (drawing.predicted, PREDICTED_COLOUR, "--"),
    )
    for lines, colour, style in styles:
        for line in lines:
            axes.plot(*line.T, color=colour, ls=style, lw=2.2)
    half = float(np.abs(points).max(initial=1)) + 0.5
    axes.set(xlim=(-half, half), ylim=(-half, half), zlim=(-half, half), box_aspect=(1, 1, 1))
    axes.set(xticks=[-4, 0, 4], yticks=[-4, 0, 4], zticks=[-4, 0, 4])
    axes.tick_params(labelsize=6)


def _handle(colour: str, style: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, ls=style, lw=2.2, label=label)


def _figure(width: float, height: float, columns: int, rows: int = 1) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())
