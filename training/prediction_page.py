"""The report of one answer: a single HTML page with its pictures, to read, to turn, to print. Free of torch."""

import base64
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cdi import __version__
from cdi.drawn_crystal import DrawnCrystal
from cdi.errors import MissingDependencyError
from cdi.picture import LINE_COLOURS
from models.burgers_name import burgers_name
from models.prediction import CLASSES, PredictedLine, Prediction
from training.indistinguishable import indistinguishable
from training.measured_crystal import MeasuredCrystal
from training.prediction_drawn import drawn_prediction, lines_figure, object_figure, pattern_figure, twin_figure
from training.prediction_quality import Familiarity, PatternQuality, coherence_words
from training.prediction_text import REASONS, undetermined_burgers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).parent / "prediction_page.html.jinja"
DEFECT, NONE, UNSURE = "#b3261e", "#1d7a3a", "#8a6d00"
SHOWN_CANDIDATES = 4
LEAST_SHOWN = 0.02


@dataclass(frozen=True, eq=False)
class PredictionReport:
    """All that the page tells.

    Parameters
    ----------
    title : of the page.
    prediction, crystal, fitted : the answer, its patterns as measured, and as the network saw them.
    quality, familiar : of ``training.prediction_quality``.
    warnings : what files said against themselves.
    """

    title: str
    prediction: Prediction
    crystal: MeasuredCrystal
    fitted: MeasuredCrystal
    quality: Sequence[PatternQuality]
    familiar: Sequence[Familiarity]
    warnings: Sequence[str] = ()


def write_page(report: PredictionReport, path: Path) -> None:
    """Write the page; it needs no network."""
    from jinja2 import Environment

    prediction, crystal = report.prediction, report.crystal
    drawn = drawn_prediction(prediction, report.fitted, report.title)
    verdict, because, colour = verdict_words(prediction)
    images = {
        "pattern": _png(pattern_figure(crystal)),
        "object": _png(object_figure(prediction, report.fitted)),
        "lines": _png(lines_figure(drawn)),
        "twin": _png(twin_figure(prediction, drawn)) if prediction.lines else "",
    }
    environment = Environment(autoescape=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=report.title, subtitle=_subtitle(crystal), verdict=verdict, because=because, colour=colour,
        classes=sorted(zip(CLASSES, prediction.class_probabilities, strict=True), key=lambda pair: -pair[1]),
        quality=report.quality, familiar=report.familiar, warnings=report.warnings, coherence=coherence_words,
        likeness=_likeness(prediction), images=images, unit=drawn.unit, turn=_turn(drawn),
        lines=[_row(number, line, crystal) for number, line in enumerate(prediction.lines)],
        alternatives=list(indistinguishable(prediction, crystal)), counts=_counts(prediction), made=_made(report),
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")


def verdict_words(prediction: Prediction) -> tuple[str, str, str]:
    """The answer in a few words, why it is so sure or not, and its colour."""
    defect = prediction.defect_probability > 0.5
    chance = prediction.defect_probability if defect else 1 - prediction.defect_probability
    what = f"a defect, most likely {prediction.defect_class}" if defect else "no visible defect"
    lines = f"{prediction.count} line{'s' if prediction.count != 1 else ''} traced."
    if prediction.undetermined:
        return (
            "Undetermined",
            f"It leans to {what} ({chance:.2f}), but {REASONS[prediction.undetermined]}. {lines}",
            UNSURE,
        )
    sure = f"Calibrated probability {chance:.2f}. {lines}"
    if defect:
        return f"{what[0].upper()}{what[1:]}", sure, DEFECT
    return "No visible defect", f"{sure} A line with g·b = 0 would not show.", NONE


def _subtitle(crystal: MeasuredCrystal) -> str:
    number = f"{len(crystal.exposures)} pattern{'s' if len(crystal.exposures) > 1 else ''}"
    if crystal.known is None:
        return f"{number}, lattice unknown"
    hkl = ", ".join(f"({' '.join(map(str, h))})" for h in crystal.known.reflections)
    return f"{number} of {crystal.known.lattice.formula} {hkl}"


def _likeness(prediction: Prediction) -> str:
    if prediction.undetermined == "novel":
        return "By what the class is decided from, the pattern is unlike those of the training: do not use the answer."
    return "By what the class is decided from, the pattern is like those of the training."


def _row(number: int, line: PredictedLine, crystal: MeasuredCrystal) -> dict[str, str]:
    ends = [", ".join(f"{x:.0f}" if abs(x) >= 100 else f"{x:.1f}" for x in line.points_A[end]) for end in (0, -1)]
    likely = [c for c in line.candidates[:SHOWN_CANDIDATES] if c.probability >= LEAST_SHOWN]
    names = ", ".join(f"{burgers_name(c.fractions)} {c.probability:.2f}" for c in likely)
    why = undetermined_burgers(line, crystal)
    return {
        "colour": LINE_COLOURS[number % len(LINE_COLOURS)], "first": ends[0], "last": ends[1],
        "length": f"{line.length:.0f}", "confidence": f"{line.confidence:.2f}",
        "windings": ", ".join(f"{w:+.2f}" for w in line.windings), "burgers": f"undetermined: {why}" if why else names,
    }  # fmt: skip


def _counts(prediction: Prediction) -> list[tuple[str, float]]:
    last = len(prediction.count_probabilities) - 1
    names = [f"{n} or more" if n == last else str(n) for n in range(last + 1)]
    return [(name, p) for name, p in zip(names, prediction.count_probabilities, strict=True) if p >= LEAST_SHOWN]


def _made(report: PredictionReport) -> list[tuple[str, str]]:
    return [
        ("files", ", ".join(report.crystal.names)),
        ("command", " ".join(["cdi", *sys.argv[1:]])),
        ("program", f"crystal-defects-insitu {__version__}"),
        ("network", f"{report.prediction.model['name']} {report.prediction.model['weights_sha256']}"),
        ("time", f"{report.prediction.seconds:.1f} s for the answer"),
    ]


def _turn(drawn: DrawnCrystal) -> str:
    """The crystal to be turned, "" where plotly is not installed."""
    from cdi.scene import crystal_scene, fragment

    try:
        return fragment(crystal_scene(drawn), library=True)
    except MissingDependencyError:
        return ""


def _png(figure: "Figure") -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
