"""Turn raw outputs into confidences: temperature, abstention and line threshold on held-out crystals."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch.utils.data import DataLoader

from cdi.ambiguity import inverted
from models.checkpoint import Calibration
from models.lines import trace_lines
from models.network import DefectNet
from models.preprocess import features
from training.metrics import LineScore, f1, match_lines
from training.targets import Targets

Array = NDArray[np.float64]

WANTED_ACCURACY = 0.98
"""Accuracy of "defect or none" among answered crystals at which abstention aims."""
LEAST_CONFIDENCE = 0.7
"""Whatever the accuracy, an answer less sure than this is "undetermined"."""


def calibrate(network: DefectNet, loader: DataLoader[Targets]) -> Calibration:
    """Fit on the crystals of ``loader`` (determined ones), which training has not seen."""
    device = next(network.parameters()).device
    network.eval()
    logits, defects, volumes = [], [], []
    with torch.inference_mode():
        for batch in loader:
            output = network(features(batch.counts.to(device)), batch.geometry.to(device))
            keep = batch.determined > 0
            logits.append(output.class_logits.cpu()[keep])
            defects.append(batch.defect[keep])
            volumes += list(zip(output.line_logits.sigmoid().cpu()[keep].numpy(), batch.line[keep], strict=True))
    scores, labels = torch.cat(logits).double(), torch.cat(defects)
    temperature = fit_temperature(scores, labels)
    defect = 1 - (scores / temperature).softmax(-1)[:, 0].numpy()
    return Calibration(
        temperature=temperature,
        decision_confidence=decision_confidence(defect, labels.numpy() > 0),
        line_threshold=line_threshold(volumes),
    )


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The temperature of least cross-entropy (Guo et al., ICML 2017), within [0.25, 8]."""

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / np.exp(log_temperature), labels))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.25), np.log(8.0)), method="bounded").x))


def decision_confidence(defect: Array, happened: NDArray[np.bool_]) -> float:
    """The lowest confidence strictly above which answers reach ``WANTED_ACCURACY``; 0.95 where none does."""
    confidence, hit = np.maximum(defect, 1 - defect), (defect > 0.5) == happened
    for level in (round(LEAST_CONFIDENCE + 0.01 * step, 2) for step in range(26)):
        answered = confidence > level
        if answered.any() and hit[answered].mean() >= WANTED_ACCURACY:
            return level
    return 0.95


def line_threshold(volumes: Sequence[tuple[NDArray[np.float32], torch.Tensor]]) -> float:
    """The density threshold of best line F1 at 2 voxels; the true lines are traced from their own density."""
    levels = np.arange(0.2, 0.75, 0.05)

    def score(level: float) -> float:
        return f1([_score(density, truth, level) for density, truth in volumes], 2.0)

    return float(round(levels[int(np.nanargmax([score(level) for level in levels]))], 2))


def _score(density: NDArray[np.float32], truth: torch.Tensor, level: float) -> LineScore:
    """Matching against the twin that is closer, by overlap of the densities."""
    twinned = float((inverted(truth) * torch.as_tensor(density)).sum()) > float(
        (truth * torch.as_tensor(density)).sum()
    )
    found, there = (trace_lines(v, np.eye(3), threshold=t) for v, t in ((density, level), (truth.numpy(), 0.5)))
    return match_lines([line.points_A for line in found], [line.points_A for line in there], twinned=twinned)
