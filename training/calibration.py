"""Turn raw outputs into confidences, on crystals held out of training.

Temperatures of class and count, the confidence to abstain below, the threshold of lines and the probability that a
line is true, the error of a winding, and what a familiar pattern looks like.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment, minimize, minimize_scalar
from torch import Tensor

from cdi.ambiguity import inverted
from cdi.retrieval.vortex_lines import VortexLine
from models.checkpoint import Calibration
from models.line_selection import told_lines
from models.lines import TracedLine, traced_lines
from models.network import DefectNet
from models.object_lines import object_lines, vortices_of
from models.searched_stage import SearchedStage
from training.batches import Raw, finished
from training.metrics import line_distances
from training.targets import CrystalTruth, Targets

Array = NDArray[np.float64]

WANTED_ACCURACY = 0.98
"""Accuracy of "defect or none" among answered crystals at which abstention aims."""
LEAST_CONFIDENCE = 0.7
"""Whatever the accuracy, an answer less sure than this is "undetermined"."""
NEAR = 2.0
"""Voxels within which a line counts as found."""
FAMILIAR_SHARE = 0.995
"""Share of held-out crystals of the training's kind that are not called novel."""
RIDGE = 1e-2
"""Variance, over the mean one, added to every direction in which the familiar is spread."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One crystal's line volumes, in voxels, and its truth with the twin chosen by their overlap.

    ``vortices`` are those of the searched objects, where a search was the start.
    """

    density: NDArray[np.float32]
    winding: NDArray[np.float32]
    lines: tuple[tuple[Array, Array], ...]
    defect: bool
    vortices: tuple[tuple[VortexLine, ...], ...] | None = None


@torch.inference_mode()
def calibrate(network: DefectNet, batches: Iterable[Raw], stage: SearchedStage | None = None) -> Calibration:
    """Fit on the crystals of ``batches``, which training has not seen; sets what is familiar to ``network``.

    Where its first stage is a search, ``stage`` is that.
    """
    device = next(network.parameters()).device
    network.eval()
    classes, counts, hidden, defects, numbers, determined = [], [], [], [], [], []
    seen: list[Seen] = []
    for raw in batches:
        batch = finished(raw, device)
        proposal = None if stage is None else stage.proposal(batch.patterns)
        output = network(batch.patterns, proposal=proposal)
        classes.append(output.class_logits.cpu())
        counts.append(output.count_logits.cpu())
        hidden.append(output.hidden.cpu())
        defects.append(batch.defect.cpu())
        numbers.append(batch.count.cpu())
        determined.append(batch.determined.cpu() > 0)
        probability = output.class_logits.softmax(-1)[:, 0].cpu() < 0.5
        objects = None if output.objects is None else output.objects.cpu().numpy()
        seen += _seen(output.line_logits.sigmoid().cpu(), output.winding.cpu(), batch, probability, objects)
    kept = torch.cat(determined)
    logits, labels = torch.cat(classes).double()[kept], torch.cat(defects)[kept]
    temperature = fit_temperature(logits, labels)
    defect = 1 - (logits / temperature).softmax(-1)[:, 0].numpy()
    count_logits, count_labels = torch.cat(counts).double(), torch.cat(numbers)
    count_temperature = fit_temperature(count_logits, count_labels)
    threshold = line_threshold(seen, (count_logits / count_temperature).softmax(-1).numpy())
    heights, true, errors = _judged(seen, [_traced(crystal, threshold) for crystal in seen])
    slope, offset = fit_confidence(heights, true)
    limit = familiarise(network, torch.cat(hidden).double())
    return Calibration(
        temperature=temperature,
        count_temperature=count_temperature,
        decision_confidence=decision_confidence(defect, labels.numpy() > 0),
        line_threshold=threshold,
        line_slope=slope,
        line_offset=offset,
        # The root mean square, not the median's: whole numbers are right or wrong by a whole one.
        winding_sigma=float(np.clip(np.sqrt(np.mean(np.square(errors))), 0.05, 1.0)) if len(errors) else 0.3,
        novelty_limit=limit,
    )


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
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


def line_threshold(seen: Sequence[Seen], counts: Array) -> float:
    """The density threshold of best F1 at 2 voxels of the lines that are told, the highest of equals.

    ``counts`` (crystals, n) are the probabilities of 0, 1, … lines.
    """
    levels = np.arange(0.2, 0.7, 0.1)

    def score(level: float) -> float:
        traced = [_traced(crystal, level) for crystal in seen]
        slope, offset = fit_confidence(*_judged(seen, traced)[:2])
        confidence = Calibration(line_slope=slope, line_offset=offset)
        told = [told_lines(lines, number, confidence) for lines, number in zip(traced, counts, strict=True)]
        hits = sum(int((_matched(*row)[0] <= NEAR).sum()) for row in zip(seen, told, strict=True))
        number = sum(map(len, told)) + sum(len(crystal.lines) for crystal in seen)
        return 2 * hits / number if number else 0.0

    return float(round(max(levels, key=lambda level: (score(level), level)), 2))


def fit_confidence(heights: Array, true: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of Platt's sigmoid (1999) of logit height, its targets softened as his; 1, 0 without both."""
    if true.all() or not true.any():
        return 1.0, 0.0
    clipped = np.clip(heights, 1e-4, 1 - 1e-4)
    x = np.log(clipped / (1 - clipped))
    target = np.where(true, (true.sum() + 1) / (true.sum() + 2), 1 / ((~true).sum() + 2))

    def loss(parameters: Array) -> float:
        z = parameters[0] * x + parameters[1]
        return float((np.logaddexp(0, z) - target * z).mean())

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return float(slope), float(offset)


def _seen(
    density: Tensor, winding: Tensor, batch: Targets, defect: Tensor, objects: NDArray[np.complex64] | None = None
) -> list[Seen]:
    line = batch.line.cpu()
    twinned = ((inverted(line) * density).sum((1, 2, 3)) > (line * density).sum((1, 2, 3))).tolist()
    to_voxels = torch.linalg.inv(batch.patterns.voxel).cpu().numpy()
    shown = [None] * len(density) if objects is None else [*objects]
    rows = zip(density.numpy(), winding.numpy(), batch.truths, to_voxels, twinned, defect.tolist(), shown, strict=True)
    return [
        Seen(
            d,
            w,
            _lines(truth, matrix, -1 if twin else 1),
            there,
            None if one is None else vortices_of(one, np.eye(3)) if there else (),
        )
        for d, w, truth, matrix, twin, there, one in rows
    ]


def _lines(truth: CrystalTruth, to_voxels: Array, sign: int) -> tuple[tuple[Array, Array], ...]:
    return tuple((sign * points @ to_voxels, windings) for points, windings in truth.visible)


def _traced(crystal: Seen, level: float) -> tuple[TracedLine, ...]:
    found = traced_lines(crystal.density, crystal.winding, np.eye(3), threshold=level) if crystal.defect else ()
    if crystal.vortices is not None and crystal.defect:
        found = object_lines(found, crystal.density, crystal.vortices, np.eye(3))
    return found


def _matched(crystal: Seen, found: Sequence[TracedLine]) -> tuple[Array, NDArray[np.int64]]:
    """Distance of each line ``found`` to the true one that it is matched with (inf: none), and which that is."""
    distance, partner = np.full(len(found), np.inf), np.full(len(found), -1)
    if found and crystal.lines:
        table = line_distances([line.points_A for line in found], [points for points, _ in crystal.lines])
        rows, columns = linear_sum_assignment(table)
        distance[rows], partner[rows] = table[rows, columns], columns
    return distance, partner


def _judged(seen: Sequence[Seen], traced: Sequence[Sequence[TracedLine]]) -> tuple[Array, NDArray[np.bool_], Array]:
    """Of all lines ``traced``: height, whether true; and the errors of the windings of true ones, up to their sense."""
    heights, true, errors = [], [], []
    for crystal, found in zip(seen, traced, strict=True):
        for line, distance, partner in zip(found, *_matched(crystal, found), strict=True):
            heights.append(line.confidence)
            true.append(distance <= NEAR)
            if distance <= NEAR:
                windings = crystal.lines[partner][1]
                both = (line.windings - windings, line.windings + windings)
                errors.append(min(both, key=lambda error: float(np.abs(error).sum())))
    return np.array(heights), np.array(true, bool), np.concatenate(errors or [np.empty(0)])


def familiarise(network: DefectNet, hidden: Tensor) -> float:
    """Set mean and precision of what is familiar; the distance within which ``FAMILIAR_SHARE`` of it lies."""
    # What fits the spread must not also say how far it reaches: one half each.
    fitted, judged = hidden[::2], hidden[1::2]
    spread = torch.cov(fitted.T)
    spread = spread + RIDGE * spread.diagonal().mean() * torch.eye(len(spread), dtype=torch.float64)
    network.familiar_mean.copy_(fitted.mean(0))
    network.familiar_precision.copy_(torch.linalg.inv(spread))
    distances = network.novelty(judged.to(network.familiar_mean))
    return float(torch.quantile(distances.double(), FAMILIAR_SHARE))
