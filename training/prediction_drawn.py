"""The pictures of the report of an answer, one figure each. Free of torch."""

from typing import TYPE_CHECKING

import numpy as np

from cdi.drawn_crystal import DrawnCrystal, DrawnLine
from cdi.errors import MissingDependencyError
from cdi.picture import (
    PLANES,
    draw_intensity_slice,
    draw_lines,
    draw_phase_slice,
    draw_support_slice,
    new_figure,
    support_points,
)
from cdi.picture3d import crystal_figure
from cdi.surface import Surface, hull_surface, isosurface
from data.viewing import around_peak
from models.burgers_name import burgers_name
from models.prediction import PredictedLine, Prediction
from training.measured_crystal import MeasuredCrystal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.5
ROW_INCHES = 3.3
LARGEST_SLICE = 129
"""Voxels a side of a measured pattern that are shown: further out fringes are too fine for the page."""


def drawn_prediction(prediction: Prediction, fitted: MeasuredCrystal, title: str) -> DrawnCrystal:
    """The predicted crystal: its surface with the phase of each reflection, its lines with their Burgers vectors.

    Without scikit-image the surface is the convex hull of the support, without phase.
    """
    unit = "Å" if fitted.exposures[0].grid is not None else "voxels"
    lines = tuple(
        DrawnLine(line.points_A, None if line.burgers is None else np.array(line.burgers), _label(number, line))
        for number, line in enumerate(prediction.lines, 1)
    )
    return DrawnCrystal(title, _surfaces(prediction, fitted.names), lines, unit)


def pattern_figure(crystal: MeasuredCrystal) -> "Figure":
    """Slices of each measured pattern through its peak, in log scale over q, as far as fringes can be seen."""
    number = len(crystal.exposures)
    figure = new_figure(11, ROW_INCHES * number + 0.2)
    rows = figure.subplots(number, 3, squeeze=False)
    for row, name, exposure in zip(rows, crystal.names, crystal.exposures, strict=True):
        shown = around_peak(exposure, LARGEST_SLICE)
        for axes, plane in zip(row, PLANES, strict=True):
            image = draw_intensity_slice(axes, shown.counts, plane, grid=shown.grid, mask=shown.mask)
        row[0].set_title(name, fontsize=9, loc="left")
        figure.colorbar(image, ax=row.tolist(), label="counts", shrink=0.85, pad=0.01)
    return figure


def object_figure(prediction: Prediction, fitted: MeasuredCrystal) -> "Figure":
    """Slices of the predicted support, and of each reflection's predicted phase within it."""
    voxel = prediction.voxel if fitted.exposures[0].grid is not None else None
    number = len(prediction.phase)
    figure = new_figure(11, ROW_INCHES * (number + 1))
    rows = figure.subplots(number + 1, 3, squeeze=False)
    for axes, plane in zip(rows[0], PLANES, strict=True):
        draw_support_slice(axes, prediction.support, plane, voxel=voxel)
    rows[0][0].set_title("support: dark where the crystal is", fontsize=9, loc="left")
    for row, name, phase in zip(rows[1:], fitted.names, prediction.phase, strict=True):
        for axes, plane in zip(row, PLANES, strict=True):
            image = draw_phase_slice(axes, phase, prediction.support, plane, voxel=voxel)
        row[0].set_title(f"phase, {name}", fontsize=9, loc="left")
        figure.colorbar(image, ax=row.tolist(), label="G·u (rad)", shrink=0.85, pad=0.01)
    return figure


def lines_figure(drawn: DrawnCrystal) -> "Figure":
    """The crystal from two sides: the first reflection's phase on its surface, lines within."""
    return crystal_figure(DrawnCrystal("", dict([*drawn.surfaces.items()][:1]), drawn.lines, drawn.unit))


def twin_figure(prediction: Prediction, drawn: DrawnCrystal) -> "Figure":
    """Lines as told, and dashed their twin, from three sides: one pattern for both."""
    figure = new_figure(11, 3.7)
    points = [line.points_A for line in prediction.lines]
    outline = support_points(prediction.support, prediction.voxel)
    spans = len(outline) > 3 and np.linalg.matrix_rank(outline - outline.mean(0)) == 3
    for axes, plane in zip(figure.subplots(1, 3), PLANES, strict=True):
        draw_lines(axes, points, plane, outline=outline if spans else None)
        draw_lines(axes, [-line for line in points], plane, style=":")
        for name in "xy":
            label = getattr(axes, f"get_{name}label")()
            getattr(axes, f"set_{name}label")(label.replace("Å", drawn.unit))
    figure.suptitle("as told (solid) and its twin (dotted): the same intensity", fontsize=10)
    return figure


def _surfaces(prediction: Prediction, names: tuple[str, ...]) -> dict[str, Surface]:
    if not prediction.support.max() > LEVEL:
        return {}
    try:
        return {
            name: isosurface(prediction.support, LEVEL, prediction.voxel, phase)
            for name, phase in zip(names, prediction.phase, strict=True)
        }
    except MissingDependencyError:
        points = support_points(prediction.support, prediction.voxel)
        spans = len(points) > 3 and np.linalg.matrix_rank(points - points.mean(0)) == 3
        return {"support": hull_surface(points)} if spans else {}


def _label(number: int, line: PredictedLine) -> str:
    burgers = burgers_name(line.candidates[0].fractions) if line.burgers is not None else "b undetermined"
    return f"{number}: {burgers}, confidence {line.confidence:.2f}"
