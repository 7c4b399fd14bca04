"""Evaluate a network on crystals that it never saw, beside both baselines, crystal by crystal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from data.sample import Sample
from models.prediction import Prediction, class_index
from models.predictor import Predictor
from models.preprocess import fit_to_grid
from training.baselines import Prior, RadialProfile
from training.metrics import (
    Interval,
    LineScore,
    ObjectScore,
    bootstrap,
    expected_calibration_error,
    f1,
    match_lines,
    object_score,
)
from training.targets import targets

Array = NDArray[np.float64]

METHODS = ("network", "radial profile", "prior")


@dataclass(frozen=True)
class Crystals:
    """The evaluated crystals: truth, what each method says, and the network's volumes scored.

    Parameters
    ----------
    defects : (n,) index into ``CLASSES``
    determined : (n,) whether the exposure can tell
    probabilities : method → (n, classes)
    undetermined : (n,) where the network declined
    objects, lines : one score per crystal
    examples : a few (sample, prediction) pairs for pictures
    """

    defects: NDArray[np.int64]
    determined: NDArray[np.bool_]
    probabilities: dict[str, Array]
    undetermined: NDArray[np.bool_]
    objects: list[ObjectScore]
    lines: list[LineScore]
    examples: list[tuple[Sample, Prediction]]


def evaluate(
    predictor: Predictor,
    samples: Dataset[Sample],
    training_samples: Dataset[Sample],
    *,
    workers: int = 1,
    batch_size: int = 16,
    examples: int = 6,
) -> Crystals:
    """Predict ``samples``; the baselines learn from ``training_samples``.

    Raises
    ------
    ValueError
        If a crystal stands on both sides.
    """
    prior, radial = _fit_baselines(training_samples, workers)
    rows: list[tuple[int, bool, bool, ObjectScore, LineScore]] = []
    probabilities: dict[str, list[Array]] = {method: [] for method in METHODS}
    kept: list[tuple[Sample, Prediction]] = []
    for batch in _batches(samples, batch_size, workers, "evaluating"):
        predictions = predictor.predict([sample.exposure for sample in batch])
        centred = [_centred_counts(sample) for sample in batch]
        probabilities["network"].append(np.array([p.class_probabilities for p in predictions]))
        probabilities["radial profile"].append(radial.class_probabilities(centred))
        probabilities["prior"].append(prior.class_probabilities(centred))
        for sample, prediction in zip(batch, predictions, strict=True):
            rows.append((class_index(sample.truth.defect), sample.truth.determined, prediction.undetermined,
                         *score(sample, prediction)))  # fmt: skip
            if len(kept) < examples:
                kept.append((sample, prediction))
    defects, determined, undetermined, objects, lines = zip(*rows, strict=True)
    return Crystals(
        np.array(defects), np.array(determined), {k: np.concatenate(v) for k, v in probabilities.items()},
        np.array(undetermined), list(objects), list(lines), kept,
    )  # fmt: skip


def score(sample: Sample, prediction: Prediction) -> tuple[ObjectScore, LineScore]:
    """Object and lines of one crystal, twin chosen jointly; hidden lines (g·b = 0) are not asked for."""
    truth = targets(sample)
    obj = object_score(prediction.support, prediction.phase, truth.support.numpy(), truth.phase.numpy())
    to_voxels = np.linalg.inv(prediction.voxel)
    predicted = [line.points_A @ to_voxels for line in prediction.lines]
    true = [line.points @ to_voxels for line in sample.truth.lines if line.visible]
    return obj, match_lines(predicted, true, twinned=obj.twinned)


def summary(crystals: Crystals, *, seed: int = 0) -> dict[str, dict[str, Interval]]:
    """Every score of every method with its interval; ``network − X`` rows are paired differences."""
    table = {method: _class_scores(crystals, crystals.probabilities[method], seed) for method in METHODS}
    table["network"] |= _volume_scores(crystals, seed)
    for method in METHODS[1:]:
        table[f"network − {method}"] = _differences(crystals, method, seed)
    return table


def _fit_baselines(samples: Dataset[Sample], workers: int) -> tuple[Prior, RadialProfile]:
    counts, defects = [], []
    for batch in _batches(samples, 16, workers, "fitting baselines"):
        for sample in batch:
            if sample.truth.determined:
                counts.append(_centred_counts(sample))
                defects.append(class_index(sample.truth.defect))
    return Prior.fit(np.array(defects)), RadialProfile.fit(counts, np.array(defects))


def _batches(samples: Dataset[Sample], size: int, workers: int, title: str) -> Iterator[Sequence[Sample]]:
    loader = DataLoader(samples, size, collate_fn=list, num_workers=workers)
    yield from tqdm(loader, desc=title, unit="batch", mininterval=1.0, disable=None)


def _centred_counts(sample: Sample) -> NDArray[np.float32]:
    x, y, z = sample.exposure.counts.shape
    return fit_to_grid(sample.exposure, (x, y, z)).counts


def _class_scores(crystals: Crystals, probabilities: Array, seed: int) -> dict[str, Interval]:
    keep = np.flatnonzero(crystals.determined)
    defects, p = crystals.defects[keep], probabilities[keep]
    statistics = {
        "class accuracy": lambda i: _accuracy(defects[i], p[i]),
        "defect accuracy": lambda i: float(((p[i, 0] < 0.5) == (defects[i] > 0)).mean()),
        "defect AUROC": lambda i: _auroc(defects[i] > 0, 1 - p[i, 0]),
        "calibration error": lambda i: expected_calibration_error(1 - p[i, 0], defects[i] > 0),
    }
    return {name: bootstrap(statistic, len(keep), seed=seed) for name, statistic in statistics.items()}


def _differences(crystals: Crystals, method: str, seed: int) -> dict[str, Interval]:
    keep = np.flatnonzero(crystals.determined)
    defects = crystals.defects[keep]
    ours, theirs = (crystals.probabilities[m][keep] for m in ("network", method))
    return {
        "class accuracy": bootstrap(
            lambda i: _accuracy(defects[i], ours[i]) - _accuracy(defects[i], theirs[i]), len(keep), seed=seed
        ),
        "defect AUROC": bootstrap(
            lambda i: _auroc(defects[i] > 0, 1 - ours[i, 0]) - _auroc(defects[i] > 0, 1 - theirs[i, 0]),
            len(keep),
            seed=seed,
        ),
    }


def _volume_scores(crystals: Crystals, seed: int) -> dict[str, Interval]:
    number = len(crystals.defects)
    dice = np.array([o.dice for o in crystals.objects])
    phase = np.array([o.phase_error for o in crystals.objects])
    answered = crystals.determined & ~crystals.undetermined
    hit = (crystals.probabilities["network"][:, 0] < 0.5) == (crystals.defects > 0)
    exact = np.array([line.predicted == line.true for line in crystals.lines])

    def detection(tolerance: float) -> Interval:
        return bootstrap(lambda i: f1([crystals.lines[k] for k in i], tolerance), number, seed=seed)

    return {f"line F1 at {t} voxels": detection(t) for t in (1, 2, 4)} | {
        "median line distance (voxels)": bootstrap(
            lambda i: _median_distance([crystals.lines[k] for k in i]), number, seed=seed
        ),
        "count exact": bootstrap(lambda i: _mean(exact[i][crystals.determined[i]]), number, seed=seed),
        "support Dice": bootstrap(lambda i: float(dice[i].mean()), number, seed=seed),
        "phase error (rad)": bootstrap(lambda i: float(np.nanmean(phase[i])), number, seed=seed),
        "answered": bootstrap(lambda i: float((~crystals.undetermined[i]).mean()), number, seed=seed),
        "defect accuracy where answered": bootstrap(lambda i: _mean(hit[i][answered[i]]), number, seed=seed),
    }


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _accuracy(defects: NDArray[np.int64], probabilities: Array) -> float:
    return float((probabilities.argmax(1) == defects).mean())


def _median_distance(lines: Sequence[LineScore]) -> float:
    distances = np.concatenate([line.distances for line in lines] or [np.empty(0)])
    return float(np.median(distances)) if len(distances) else float("nan")


def _auroc(positive: NDArray[np.bool_], score: Array) -> float:
    """Area under the ROC curve by ranks (Mann–Whitney), ties shared."""
    from scipy.stats import rankdata

    n, m = int(positive.sum()), int((~positive).sum())
    if n == 0 or m == 0:
        return float("nan")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))
