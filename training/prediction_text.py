"""A prediction in words: what ``cdi predict`` prints. Free of torch."""

from collections.abc import Iterator, Sequence

import numpy as np

from models.burgers_name import burgers_name
from models.prediction import CLASSES, PredictedLine, Prediction
from training.measured_crystal import MeasuredCrystal

REASONS = {
    "unsure": "neither defect nor none is probable enough, or no line supports it",
    "novel": "the pattern is unlike those that the network was trained on",
}
SHOWN_CANDIDATES = 4
LEAST_SHOWN = 0.02
"""Probability below which a class, a count or a Burgers vector is not printed."""


def report(prediction: Prediction, crystal: MeasuredCrystal) -> Iterator[str]:
    """Lines of text: class, count, each dislocation line, what is undetermined and why."""
    unit = "voxels" if crystal.exposures[0].grid is None else "Å"
    hkl = [" ".join(map(str, h)) for h in crystal.known.reflections] if crystal.known is not None else []
    of = f" of {crystal.known.lattice.formula} {', '.join(hkl)}" if crystal.known is not None else ""
    yield f"patterns     {len(crystal.exposures)}{of}"
    yield f"class        {prediction.defect_class}  ({_likely(CLASSES, prediction.class_probabilities)})"
    yield f"P(defect)    {prediction.defect_probability:.3f}"
    if prediction.undetermined:
        yield f"undetermined {prediction.undetermined}: {REASONS[prediction.undetermined]}"
    numbers = [str(n) for n in range(len(prediction.count_probabilities) - 1)]
    numbers.append(f"{len(numbers)} or more")
    yield f"lines        {prediction.count} traced  (visible: {_likely(numbers, prediction.count_probabilities)})"
    for line in prediction.lines:
        yield from _line(line, crystal, unit)
    yield f"model        {prediction.model['name']} {prediction.model['weights_sha256'][:12]}"


def undetermined_burgers(line: PredictedLine, crystal: MeasuredCrystal) -> str:
    """Why the Burgers vector of ``line`` is not told in the laboratory; "" where it is."""
    if line.burgers is not None:
        return ""
    if not line.candidates or crystal.known is None:
        return "the lattice or the reflections are unknown"
    chances = np.array([candidate.probability for candidate in line.candidates])
    alike = int(np.isclose(chances, chances[0], rtol=1e-6).sum())
    if alike > 1:
        return f"{alike} vectors wind alike in these reflections"
    if not any(np.dot(crystal.known.reflections, line.candidates[0].fractions)):
        return "no reflection sees it"
    return "collinear reflections leave the crystal's orientation open"


def _line(line: PredictedLine, crystal: MeasuredCrystal, unit: str) -> Iterator[str]:
    first, last = (line.points_A[end].round(1).tolist() for end in (0, -1))
    yield f"  from {first} to {last} {unit}, {line.length:.0f} long, confidence {line.confidence:.2f}"
    yield f"    g·b      {'  '.join(f'{w:+.2f}' for w in line.windings)}"
    likely = [c for c in line.candidates[:SHOWN_CANDIDATES] if c.probability >= LEAST_SHOWN]
    names = ", ".join(f"{burgers_name(c.fractions)} {c.probability:.2f}" for c in likely)
    why = undetermined_burgers(line, crystal)
    yield f"    b        {'undetermined: ' + why if why else names}{f' ({names}, …)' if why and names else ''}"


def _likely(names: Sequence[str], probabilities: Sequence[float]) -> str:
    ranked = sorted(zip(probabilities, names, strict=True), key=lambda pair: -pair[0])
    return ", ".join(f"{name} {p:.2f}" for p, name in ranked if p >= LEAST_SHOWN)
