"""The report of an evaluation: one HTML page with its figures, the numbers as JSON, and a line for each crystal."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluation import Answer, Table
from training.figures import best_median_worst, calibration_figure, confusion_figure, curves_figure, gallery_figure
from training.metrics import Interval
from training.strata import failure_modes, strata

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).parent / "report.html.jinja"
COLUMNS = (
    "line F1 at 2 voxels", "median line distance (voxels)", "count exact", "class accuracy", "defect accuracy",
    "Burgers top-1", "|g·b| right", "site RMS outside cores (pm)", "phase error (rad)", "support Dice",
    "calibration error", "answered", "defect accuracy where answered", "abstention AUROC",
)  # fmt: skip
"""Of the first table; the others follow by tier."""


METRICS = "metrics.json"


@dataclass(frozen=True, eq=False)
class Report:
    """What an evaluation found.

    Parameters
    ----------
    title : str
    facts : model, machine, tiers with their seeds, what baselines were given.
    answers : of every method about every crystal.
    tables : of ``training.evaluation.tables``.
    real : what the network says of measured patterns, one a pattern.
    """

    title: str
    facts: Mapping[str, Any]
    answers: Sequence[Answer]
    tables: Mapping[str, Table]
    real: Sequence[Mapping[str, Any]] = ()

    @property
    def first(self) -> list[Answer]:
        """Answers of the first method: the one that figures and failure modes are of."""
        return [answer for answer in self.answers if answer.method == self.answers[0].method]

    @property
    def headline(self) -> list[Answer]:
        """Of these, the headline tier's from the most reflections: T2 where it is there, else the first tier."""
        groups = {answer.group for answer in self.first}
        group = "T2" if "T2" in groups else self.first[0].group
        most = max(answer.score.reflections for answer in self.first if answer.group == group)
        return [a for a in self.first if a.group == group and a.score.reflections == most]


def write_report(report: Report, output: Path) -> None:
    """``report.html``, ``metrics.json``, ``crystals.jsonl`` and the figures as PNG in ``output``."""
    from jinja2 import Environment

    images = []
    for (name, caption), figure in figures(report).items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        (output / f"{name}.png").write_bytes(buffer.getvalue())
        images.append((caption, base64.b64encode(buffer.getvalue()).decode()))
    environment = Environment(autoescape=True)
    environment.filters["cell"] = cell
    page = environment.from_string(TEMPLATE.read_text()).render(
        report=report, columns=COLUMNS, images=images, strata=strata(report.headline),
        failures=failure_modes(report.headline), headline=_headline_name(report),
    )  # fmt: skip
    (output / "report.html").write_text(page)
    (output / METRICS).write_text(json.dumps(_numbers(report), indent=1))
    with (output / "crystals.jsonl").open("w") as file:
        file.writelines(json.dumps(answer.to_json()) + "\n" for answer in report.answers)


def figures(report: Report) -> "dict[tuple[str, str], Figure]":
    """Every figure by file name and caption."""
    method, answers = report.answers[0].method, report.first
    found = {
        ("gallery", f"Lines of the best, median and worst crystals ({_headline_name(report)})"): gallery_figure(
            best_median_worst(report.headline)
        ),
        ("calibration", f"Confidence: {method}"): calibration_figure(answers),
        ("confusion", f"Classes: {method}, graded crystals"): confusion_figure(answers),
    }
    curves = curves_figure(report.tables, method)
    if curves is not None:
        found["curves", f"T5: one condition set, {method}"] = curves
    return found


def cell(value: Interval | None) -> str:
    """A statistic with its interval and the crystals behind it; a dash where the tier does not define it."""
    if value is None or math.isnan(value.value):
        return "–"
    return f"{value} n={value.crystals}"


def _headline_name(report: Report) -> str:
    first = report.headline[0]
    return f"{first.group}, {first.row}"


def _numbers(report: Report) -> dict[str, Any]:
    return {
        "facts": dict(report.facts),
        "scores": {
            tier: {row: {name: _plain(value) for name, value in cells.items()} for row, cells in table.items()}
            for tier, table in report.tables.items()
        },
        "real patterns": [dict(entry) for entry in report.real],
        "strata": [asdict(row) for row in strata(report.headline)],
        "failure modes": failure_modes(report.headline),
        "headline": _headline_name(report),
    }


def _plain(value: Interval) -> dict[str, float | int | None]:
    return {key: None if isinstance(x, float) and math.isnan(x) else x for key, x in asdict(value).items()}
