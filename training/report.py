"""The report of an evaluation: one HTML page with figures, tables and pictures, and its numbers as JSON."""

import base64
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.prediction import CLASSES
from training.evaluation import METHODS, Crystals
from training.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).parent / "report.html.jinja"


def write_report(
    crystals: Crystals, table: dict[str, dict[str, Interval]], output: Path, *, title: str, facts: dict[str, Any]
) -> None:
    """``report.html``, ``metrics.json`` and ``examples.png``, ``classes.png`` in ``output``."""
    from jinja2 import Environment

    figures = {
        "Confusion and calibration": class_figure(crystals),
        "Predictions beside the truth": example_figure(crystals),
    }
    images = []
    for (caption, figure), name in zip(figures.items(), ("classes.png", "examples.png"), strict=True):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130)
        (output / name).write_bytes(buffer.getvalue())
        images.append((caption, base64.b64encode(buffer.getvalue()).decode()))
    columns = list(table["prior"])
    page = Environment(autoescape=True).from_string(TEMPLATE.read_text()).render(
        title=title,
        facts=", ".join(f"{key}: {value}" for key, value in facts.items()),
        columns=columns,
        rows={row: {c: str(cells[c]) for c in columns if c in cells} for row, cells in table.items()},
        volumes={name: str(value) for name, value in table["network"].items() if name not in columns},
        images=images,
    )  # fmt: skip
    (output / "report.html").write_text(page)
    numbers = {row: {name: asdict(value) for name, value in cells.items()} for row, cells in table.items()}
    (output / "metrics.json").write_text(json.dumps({"facts": facts, "scores": numbers}, indent=1))


def class_figure(crystals: Crystals) -> "Figure":
    """Confusion matrix of the network and the reliability of its defect probability."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    keep = crystals.determined
    answers = crystals.probabilities["network"][keep].argmax(1)
    matrix = np.zeros((len(CLASSES), len(CLASSES)))
    np.add.at(matrix, (crystals.defects[keep], answers), 1)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    left.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(matrix.shape):
        colour = "white" if share[i, j] > 0.5 else "black"
        left.text(j, i, f"{share[i, j]:.0%}\n{int(matrix[i, j])}", ha="center", va="center", color=colour)
    left.set(xlabel="predicted", ylabel="true", title="share of each true class",
             xticks=range(4), yticks=range(4), xticklabels=CLASSES, yticklabels=CLASSES)  # fmt: skip
    happened = crystals.defects[keep] > 0
    for method in METHODS[:2]:
        probability = 1 - crystals.probabilities[method][keep][:, 0]
        which = np.minimum((probability * 10).astype(int), 9)
        bins = [b for b in range(10) if (which == b).sum() >= 10]
        right.plot(
            [probability[which == b].mean() for b in bins],
            [happened[which == b].mean() for b in bins],
            "o-",
            label=method,
        )
    right.plot([0, 1], [0, 1], color="0.6", lw=1, label="perfect calibration")
    right.set(xlabel="stated probability of a defect", ylabel="frequency of a defect", title="calibration")
    right.legend(frameon=False)
    return figure


def example_figure(crystals: Crystals) -> "Figure":
    """Pattern, true and predicted phase with lines, and line density, one row a crystal (first ones evaluated)."""
    from matplotlib.figure import Figure

    from training.pictures import draw_comparison

    rows = max(1, len(crystals.examples))
    figure = Figure(figsize=(13, 3.1 * rows), layout="constrained")
    axes = figure.subplots(rows, 4, squeeze=False)
    for row, (sample, prediction) in zip(axes, crystals.examples, strict=False):
        draw_comparison(list(row), sample, prediction)
    return figure
