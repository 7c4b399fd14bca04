"""The picture of an answer: each pattern with its phase, and the lines in the crystal from three sides."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdi.picture import (
    PLANES,
    draw_intensity_slice,
    draw_lines,
    draw_phase_slice,
    draw_support_slice,
    new_figure,
    save_figure,
    support_points,
)
from models.burgers_name import burgers_name
from models.prediction import PredictedLine, Prediction
from training.measured_crystal import MeasuredCrystal

ROW_INCHES = 3.6
SHOWN = PLANES[:2]


def save_prediction_picture(fitted: MeasuredCrystal, prediction: Prediction, path: str | Path, *, title: str) -> None:
    """PNG: a row a reflection (pattern and phase in two planes), then support and lines.

    ``fitted`` holds the exposures as the network saw them.
    """
    figure = new_figure(15, ROW_INCHES * (len(fitted.exposures) + 1))
    axes = figure.subplots(len(fitted.exposures) + 1, 4)
    known = fitted.exposures[0].grid is not None
    voxel = prediction.voxel if known else None
    for row, (name, exposure, phase) in enumerate(zip(fitted.names, fitted.exposures, prediction.phase, strict=True)):
        for column, plane in enumerate(SHOWN):
            pattern = draw_intensity_slice(
                axes[row, column], exposure.counts, plane, grid=exposure.grid, mask=exposure.mask
            )
            wave = draw_phase_slice(axes[row, 2 + column], phase, prediction.support, plane, voxel=voxel)
        figure.colorbar(pattern, ax=axes[row, :2].tolist(), label="photons", shrink=0.8)
        figure.colorbar(wave, ax=axes[row, 2:].tolist(), label="phase G·u (rad)", shrink=0.8)
        axes[row, 0].set_title(f"{name}: {exposure.counts.sum():.2g} photons", fontsize=9)
    draw_support_slice(axes[-1, 0], prediction.support, PLANES[0], voxel=voxel)
    axes[-1, 0].set_title("support", fontsize=9)
    points = [line.points_A for line in prediction.lines]
    labels = [_label(line) for line in prediction.lines]
    for axis, plane in zip(axes[-1, 1:], PLANES, strict=True):
        draw_lines(axis, points, plane, outline=_outline(prediction), labels=labels)
        if not known:
            axis.set_xlabel(axis.get_xlabel().replace("Å", "voxels"))
            axis.set_ylabel(axis.get_ylabel().replace("Å", "voxels"))
    if points:
        figure.legend(*axes[-1, -1].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"{title}: {answer(prediction)}")
    save_figure(figure, path, dpi=130)


def answer(prediction: Prediction) -> str:
    """One line: class, probability, number of lines, doubt."""
    doubt = f", undetermined ({prediction.undetermined})" if prediction.undetermined else ""
    lines = f"{prediction.count} line{'s' if prediction.count != 1 else ''}"
    return f"{prediction.defect_class}, P(defect) {prediction.defect_probability:.2f}, {lines}{doubt}"


def _label(line: PredictedLine) -> str:
    burgers = burgers_name(line.candidates[0].fractions) if line.burgers is not None else "b undetermined"
    return f"{burgers}, confidence {line.confidence:.2f}"


def _outline(prediction: Prediction) -> NDArray[np.float64] | None:
    """Voxels within the crystal, if they span space: a hull of fewer has no area."""
    points = support_points(prediction.support, prediction.voxel)
    return points if len(points) and np.linalg.matrix_rank(points - points.mean(0)) == 3 else None
