"""Does a refinement improve what a network or a retrieval says of dislocations? JSON lines.

    python benchmarks/refinement.py DIR [--only '[T1,T2-element,T4-implanted]'] [--crystals 8] [--starts 5]

Rows, each from the first reflection of a crystal: ``retrieval``, ``network``, ``network → retrieval`` (a short
retrieval from the network's object), ``retrieval → refinement``, ``network → refinement``, and ``either``, the one of
these two that says more of the held-out voxels. Per tier and row: line F1 at 2 voxels, median distance of the matched
lines, mean phase error, lines reported in crystals without one, and seconds of a processor.
``--output`` keeps one line a crystal and row, and a stopped run goes on from it.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from machine import emit, machine

from cdi.refinement.start import StartObject
from data.dataset import StoredCrystals
from models.prediction import CLASSES
from models.predictor import Predictor
from models.preprocess import fit_set
from training.baselines.traced_lines import nothing_found, traced_crystal
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal, crystal_score
from training.network_method import NetworkMethod
from training.refinement_method import RefineMethod, method_config
from training.refinement_starts import network_starts, retrieval_starts
from training.true_crystals import true_crystal

KEPT = 2
"""Runs of a retrieval that are fitted."""
FREE = method_config().free_fraction
FREQUENCIES = np.full(len(CLASSES), 1 / len(CLASSES))


def main(
    tiers: str,
    only: list[str] = ["T1", "T2-element", "T4-implanted"],  # noqa: B006 (read by the command line)
    crystals: int = 8,
    starts: int = 5,
    model: str = "default",
    output: str | None = None,
) -> None:
    torch.set_num_threads(1)
    predictor = Predictor.load(model, "cpu")
    emit(benchmark="refinement", machine=machine(), model=predictor.model, starts=starts)
    rows: list[dict[str, Any]] = []
    done: dict[tuple[str, int], list[dict[str, Any]]] = {}
    if output is not None and Path(output).exists():
        for line in Path(output).read_text().splitlines():
            row = json.loads(line)
            done.setdefault((row["tier"], row["crystal"]), []).append(row)
    # Crystal by crystal through all tiers: a run that is stopped leaves all of them equally far.
    for number in range(crystals):
        for tier in only:
            if (tier, number) in done:
                rows += done[tier, number]
                continue
            data = StoredCrystals(Path(tiers) / tier)
            if number >= len(data):
                continue
            fresh = [{"tier": tier, "crystal": number, **row} for row in judged(data[number][:1], predictor, starts)]
            rows += fresh
            if output is not None:
                with Path(output).open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in fresh)
    rows += either(rows)
    for tier in only:
        for name in dict.fromkeys(row["method"] for row in rows):
            tell(tier, name, [row for row in rows if row["tier"] == tier and row["method"] == name])


def judged(crystal: CrystalSamples, predictor: Predictor, starts: int) -> Iterator[dict[str, Any]]:
    """One row a method for ``crystal``."""
    truth = true_crystal(crystal)
    exposures = fit_set([sample.exposure for sample in crystal], crystal[0].exposure.counts.shape)
    seed = crystal[0].index
    network = NetworkMethod(predictor)
    prediction, begun = timed(lambda: predictor.predict([exposures[0]])[0])
    said, _ = timed(lambda: network.predict([crystal])[0])
    runs, retrieving = timed(lambda: phased(lambda: retrieval_starts(exposures, starts, seed, FREE, KEPT)))
    proposed, short = timed(lambda: phased(lambda: network_starts(prediction, exposures, seed, FREE)))
    answers: list[tuple[str, PredictedCrystal, float, dict[str, Any]]] = [
        ("retrieval", traced(runs[:1], crystal), retrieving, {}),
        ("network", said, begun, {}),
        ("network → retrieval", traced(proposed[1:], crystal), begun + short, {}),
    ]
    for name, first, spent in (
        ("retrieval → refinement", runs, retrieving), ("network → refinement", proposed, begun + short),
    ):  # fmt: skip
        method = RefineMethod(lambda *_, first=first: first, name)
        (found, answer), seconds = timed(lambda method=method: both(method, crystal))
        more: dict[str, Any] = {}
        if found is not None:
            none = found.no_line if any(not j.hypothesis.lines for j in found.judged) else None
            more = {
                "none_rejected": bool(none is not None and none.difference.rejects),
                "without": [[round(line.without.value, 1), round(line.without.error, 1)] for line in found.lines],
                "free": round(found.object_deviance, 3), "crystal_free": round(found.best.fitted.free_deviance, 3),
            }  # fmt: skip
        answers.append((name, answer, spent + seconds, more))
    for name, answer, seconds, more in answers:
        score = crystal_score(answer, truth)
        yield {
            "method": name, "defect": truth.defect, "determined": truth.determined, "seconds": round(seconds, 2),
            "hits": score.lines.hits(2.0), "predicted": score.lines.predicted, "true": score.lines.true,
            "distances": score.lines.distances[score.lines.distances <= 4].round(3).tolist(),
            "phase_error": round(score.volumes.phase_error, 4), **more,
        }  # fmt: skip


def either(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the two refinements of a crystal the one that says more of the held-out voxels, for the time of both."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        if "free" in row:
            groups.setdefault((row["tier"], row["crystal"]), []).append(row)
    seconds = {key: sum(row["seconds"] for row in group) for key, group in groups.items()}
    return [
        {**min(group, key=lambda row: row["free"]), "method": "either → refinement", "seconds": seconds[key]}
        for key, group in groups.items()
    ]


def both(method: RefineMethod, crystal: CrystalSamples) -> Any:
    """The refinement, and its answer from the same fit."""
    found = method.refined(crystal)
    return found, method.answer_from(found, crystal)


def traced(starts: list[StartObject], crystal: CrystalSamples) -> PredictedCrystal:
    if not starts:
        return nothing_found(crystal, FREQUENCIES)
    density = starts[0].density
    return traced_crystal(density, starts[0].support.expand(density.shape), crystal, FREQUENCIES)


def phased(make: Callable[[], list[StartObject]]) -> list[StartObject]:
    try:
        return make()
    except ValueError:  # a peak behind a gap, an autocorrelation that fills the array
        return []


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.process_time()
    return make(), time.process_time() - begin


def tell(tier: str, method: str, rows: list[dict[str, Any]]) -> None:
    hits, predicted, true = (sum(row[key] for row in rows) for key in ("hits", "predicted", "true"))
    clean = [row for row in rows if row["defect"] == "none"]
    distances = [d for row in rows for d in row["distances"]]
    emit(tier=tier, method=method, crystals=len(rows), line_f1=round(2 * hits / max(1, predicted + true), 3),
         hits=hits, predicted=predicted, true=true,
         median_distance_voxels=round(float(np.median(distances)), 3) if distances else None,
         phase_error_rad=round(float(np.mean([row["phase_error"] for row in rows])), 3),
         phase_error_clean=round(float(np.mean([row["phase_error"] for row in clean])), 3) if clean else None,
         false_lines_clean=sum(row["predicted"] for row in clean), clean=len(clean),
         processor_seconds=round(float(np.median([row["seconds"] for row in rows])), 1))  # fmt: skip


if __name__ == "__main__":
    auto_cli(main)
