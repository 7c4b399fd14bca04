"""The trained network as an analysis: is there a dislocation, of what kind, along which lines.

Frames are intensities around a Bragg peak. Their attributes ``q_centre`` (3,) and ``q_step`` (3, 3) in Å⁻¹ say where
they were sampled; without them lines are in voxels. torch is loaded when the worker warms up.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.detector.counting import photon_counts
from cdi.grid import QGrid
from cdi.launched import TERMINAL_VARIABLE
from cdi.pattern import Exposure
from inference_insitu.inference.analysis import Analysis, Values
from inference_insitu.inference.frame import Frame, Variable
from inference_insitu.inference.progress import ProgressLine
from inference_insitu.inference.results import ResultsFile, results_name
from inference_insitu.inference.serving import Precision, ServingConfig, batch_sizes
from models.prediction import Prediction


class Defects(Analysis):
    """Answers with a network.

    Parameters
    ----------
    model : checkpoint's name or path.
    peak_counts : photons that the brightest voxel expects; counting noise is Poisson, seeded by (``seed``, step, rank).
        None: frames are counts already.
    seed : of the noise.
    threads : of torch; None leaves it alone.
    device : of torch; None takes a GPU where there is one.
    precision : ``bf16`` computes convolutions and products of matrices in that: for GPUs; CPUs may be slower with it.
    channels_last : lays the convolutions' weights out for channels that lie together.
    compile : compiles the network for the sizes in ``batch.buckets`` (or for ``batch.size`` alone), to which batches
        are then padded; the worker is ready minutes later (``placement.ready_timeout_s``).
    last_step : of the simulation; where given, each answer is shown on stderr.
    """

    def __init__(
        self,
        *,
        model: str = "default",
        peak_counts: float | None = None,
        seed: int = 0,
        threads: int | None = None,
        device: str | None = None,
        precision: Precision = "float32",
        channels_last: bool = False,
        compile: bool = False,
        last_step: int | None = None,
    ) -> None:
        self._serving = ServingConfig(precision, channels_last, compile)
        self._name, self._peak_counts, self._seed = model, peak_counts, seed
        self._threads, self._device = threads, device
        self._predictor: Any = None
        self._sizes: tuple[int, ...] = ()
        self._path: Path | None = None
        self._results: ResultsFile | None = None
        terminal = os.environ.get(TERMINAL_VARIABLE) == "1"
        self._progress = None if last_step is None else ProgressLine(last_step, terminal=terminal)

    def open(self, output: Path, worker: int, incarnation: int) -> None:
        """Volumes and lines are kept in ``output`` too, for they are no plain values."""
        self._path = output / results_name(worker, incarnation)

    def warm_up(self, variable: Variable) -> None:
        """Load the network and let it answer patterns of this shape once, in every size that batches are padded to.

        Raises
        ------
        ValueError
            If it does not load or does not take the shape.
        """
        self._load()
        try:
            for size in self._sizes or (1,):
                self._predictor.predict([example(variable.shape)] * size)
        except Exception as error:
            raise ValueError(
                f"model {self._name!r} must accept patterns of shape {variable.shape}, got: {error}"
            ) from error

    def answer(self, frames: Sequence[Frame]) -> Sequence[Values]:
        """What the network says of each, computed as one batch.

        Raises
        ------
        FloatingPointError
            If an answer is not finite.
        OSError
            If the results cannot be kept.
        """
        self._load()
        exposures = [self._exposure(frame) for frame in frames]
        predictions: list[Prediction] = self._predictor.predict(exposures)
        if not all(map(is_finite, predictions)):
            raise FloatingPointError("the prediction holds NaN or infinity")
        for frame, exposure, prediction in zip(frames, exposures, predictions, strict=True):
            self._keep(frame, exposure, prediction)
        return [values_of(prediction) for prediction in predictions]

    def close(self) -> None:
        """Give the results their name."""
        if self._results is not None:
            self._results.close()
        if self._progress is not None:
            with suppress(OSError):
                self._progress.close()

    def _load(self) -> None:
        if self._predictor is not None:
            return
        import torch

        from inference_insitu.inference.served_network import served
        from models.predictor import Predictor

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        self._sizes = batch_sizes(self.batching, self._serving)
        self._predictor = served(Predictor.load(self._name, self._device), self._serving, self.batching)
        identity = self._predictor.model
        self.model = f"{identity['name']} sha256:{identity['weights_sha256'][:16]}"

    def _exposure(self, frame: Frame) -> Exposure:
        if self._peak_counts is None:
            return Exposure(np.array(frame.array, np.float32), grid_of(frame))
        generator = np.random.default_rng(np.random.SeedSequence([self._seed, frame.step, frame.rank]))
        intensity = np.asarray(frame.array, np.float64)
        counts = photon_counts(intensity, peak_counts=self._peak_counts, generator=generator)
        return Exposure(counts, grid_of(frame))

    def _keep(self, frame: Frame, exposure: Exposure, prediction: Prediction) -> None:
        if self._results is None and self._path is not None:
            self._results = ResultsFile(self._path)
        if self._results is not None:
            self._results.append(frame, exposure, prediction)
        if self._progress is not None:
            with suppress(OSError):  # nobody reads it: the answer stands all the same
                self._progress.show(frame, prediction)


def grid_of(frame: Frame) -> QGrid | None:
    """Where ``frame`` was sampled, or None where it does not say so.

    Its attribute ``shape`` is that of the whole pattern: a frame that the policy made coarser has blocks of its voxels
    for voxels, each at the middle of its block.
    """
    told, shape = frame.attributes, frame.array.shape
    if "q_centre" not in told or "q_step" not in told:
        return None
    step, centre = (np.asarray(told[name], np.float64) for name in ("q_step", "q_centre"))
    whole, own = (np.asarray(lengths) for lengths in (told.get("shape", shape), shape))
    factor = whole // own
    middle = factor * (own // 2) + (factor - 1) / 2  # of the centre block, counted in whole voxels
    return QGrid(centre + (middle - whole // 2) @ step, factor[:, None] * step, shape)


def values_of(prediction: Prediction) -> dict[str, Any]:
    """Plain values, of which rules may speak: ``count > 0 and confidence >= 0.9``.

    ``confidence`` is that in "defect" or "none", whichever is answered. ``line_density_per_A2`` is the length of all
    lines by the volume of the crystal (Å⁻²; where the geometry is unknown, both are of voxels).
    """
    plain = prediction.to_json()
    defect = prediction.defect_probability
    length = sum(line.length for line in prediction.lines)
    volume = float((prediction.support > 0.5).sum() * abs(np.linalg.det(prediction.voxel)))
    return {
        "defect_probability": plain["defect_probability"],
        "class": plain["class"],
        "count": plain["count"],
        "confidence": round(max(defect, 1 - defect), 4),
        "line_length_A": round(length, 2),
        "line_density_per_A2": float(f"{length / volume:.4g}") if volume else 0.0,
        "undetermined": plain["undetermined"],
        "undetermined_because": prediction.undetermined,
        "class_probabilities": plain["class_probabilities"],
        "lines": plain["lines"],
        "seconds": plain["seconds"],
    }


def is_finite(prediction: Prediction) -> bool:
    """Whether all numbers of ``prediction`` are finite."""
    numbers: tuple[ArrayLike, ...] = (
        prediction.defect_probability,
        prediction.class_probabilities,
        prediction.count_probabilities,
        prediction.line_density,
        prediction.support,
        prediction.phase,
        *(line.points_A for line in prediction.lines),
        *(line.windings for line in prediction.lines),
    )
    return all(bool(np.isfinite(value).all()) for value in numbers)


def example(shape: tuple[int, ...]) -> Exposure:
    """An exposure of ``shape``: a perfect ball's peak, three voxels wide.

    Raises
    ------
    ValueError
        If the shape has not three axes.
    """
    if len(shape) != 3:
        raise ValueError(f"a pattern must have 3 axes, got {shape}")
    counts = photon_counts(_ball(shape), peak_counts=1e4, generator=np.random.default_rng(0))
    return Exposure(counts, QGrid.orthogonal([0.0, 0.0, 3.0], [20.0] * 3, 3.0, shape))


def _ball(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """|3(sin x − x cos x)/x³|² of a ball (Guinier & Fournet 1955, eq. 2.28)."""
    axes = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    x = 1.5 * np.sqrt(sum(axis.astype(np.float64) ** 2 for axis in axes)) + 1e-3
    return np.asarray((3 * (np.sin(x) - x * np.cos(x)) / x**3) ** 2, np.float64)
