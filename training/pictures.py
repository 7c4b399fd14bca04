"""Pictures of predictions beside the truth."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdi.pattern import Exposure
from data.sample import Sample
from models.prediction import Prediction
from training.metrics import object_score
from training.targets import targets

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


def draw_comparison(axes: list["Axes"], sample: Sample, prediction: Prediction) -> None:
    """Four panels: pattern, true phase with true lines, predicted phase and lines, line density.

    The truth is shown as the twin that the prediction chose, in the plane through the centre.
    """
    truth = targets(sample)
    support, phase = truth.support.numpy(), truth.phase.numpy()
    twinned = object_score(prediction.support, prediction.phase, support, phase).twinned
    sign = -1 if twinned else 1
    if twinned:
        from cdi.ambiguity import inverted

        support, phase = inverted(truth.support).numpy(), -inverted(truth.phase).numpy()
    to_voxels = np.linalg.inv(prediction.voxel)
    _draw_pattern(
        axes[0], sample.exposure.counts, f"{sample.truth.defect} {sample.reflection}, {_photons(sample.exposure)}"
    )
    _draw_phase(axes[1], support, phase, "true phase and lines")
    _draw_lines(axes[1], [sign * line.points @ to_voxels for line in sample.truth.lines if line.visible], support.shape)
    # The global phase is free: show the prediction with the truth's.
    offset = np.angle(np.vdot(prediction.support * np.exp(1j * prediction.phase), support * np.exp(1j * phase)))
    _draw_phase(axes[2], prediction.support, prediction.phase + offset, _answer(prediction))
    _draw_lines(axes[2], [line.points_A @ to_voxels for line in prediction.lines], support.shape)
    _draw_density(axes[3], prediction)


def _answer(prediction: Prediction) -> str:
    doubt = ", undetermined" if prediction.undetermined else ""
    return f"{prediction.defect_class}, P(defect) {prediction.defect_probability:.2f}, {prediction.count} lines{doubt}"


def _photons(exposure: Exposure) -> str:
    return f"{exposure.counts.sum():.2g} photons"


def _plane(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    return volume[:, :, volume.shape[2] // 2]


def _draw_pattern(axes: "Axes", counts: NDArray[np.float32], title: str) -> None:
    axes.imshow(np.log10(1 + _plane(counts)).T, origin="lower", cmap="magma")
    axes.set_title(title, fontsize=9)
    axes.set(xlabel="$q_x$ (voxels)", ylabel="$q_y$ (voxels)")


def _draw_phase(axes: "Axes", support: Any, phase: Any, title: str) -> None:
    shown = np.ma.masked_where(_plane(support) < 0.5, np.angle(np.exp(1j * _plane(phase))))
    axes.imshow(shown.T, origin="lower", cmap="twilight", vmin=-np.pi, vmax=np.pi)
    axes.set_title(title, fontsize=9)
    axes.set(xlabel="x (voxels)", ylabel="y (voxels)", facecolor="0.93")


def _draw_lines(axes: "Axes", lines: list[Array], shape: tuple[int, ...]) -> None:
    """Lines projected along z onto the central plane."""
    for line in lines:
        axes.plot(line[:, 0] + shape[0] // 2, line[:, 1] + shape[1] // 2, color="#00a36c", lw=3, solid_capstyle="round")


def _draw_density(axes: "Axes", prediction: Prediction) -> None:
    axes.imshow(prediction.line_density.max(2).T, origin="lower", cmap="viridis", vmin=0, vmax=1)
    axes.contour(prediction.support.max(2).T, levels=[0.5], colors="white", linewidths=1)
    axes.set_title("line density, projected along z", fontsize=9)
    axes.set(xlabel="x (voxels)", ylabel="y (voxels)")
