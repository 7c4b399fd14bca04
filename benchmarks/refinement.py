"""Does a refinement improve what a network or a retrieval says of dislocations? JSON lines.

    python benchmarks/refinement.py DIR [--only '[T1,T2-element,T2-relaxed,T4-implanted]'] [--crystals 8]
                                    [--starts '[1,5,20]'] [--model default] [--reflections 1]
                                    [--output rows.jsonl]

Rows, each from the first reflections of a crystal: ``retrieval, n starts`` (the best of n by held-out voxels),
``network``, ``network → retrieval`` (one short retrieval from the network's object), ``retrieval → refinement`` (from
the best two of the middle number of starts), ``network → refinement``, and ``either → refinement``, the one of these
two that says more of the held-out voxels; ``…, confirmed`` has only the lines without which the held-out voxels reject
the crystal.

Per tier and over all of them, with 95 % intervals of a bootstrap by crystal: F1 of lines at 2 voxels, median distance
of the lines matched within 4, phase error, false lines, false lines a crystal without any, processor seconds; how often
"no dislocation" is rejected with and without a visible line; distance of lone lines over their standard error. Then
paired differences of methods. ``--output`` keeps one line a crystal and row, and a stopped run goes on from it.
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

from cdi.pattern import Exposure
from cdi.refinement.config import RefinementConfig
from cdi.refinement.refinement import Refinement
from cdi.refinement.start import StartObject
from data.dataset import StoredCrystals
from models.prediction import CLASSES
from models.predictor import Predictor
from models.preprocess import fit_set
from training.baselines.traced_lines import nothing_found, traced_crystal
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal, TrueCrystal, crystal_score
from training.metrics.intervals import Median, Ratio, Statistic, difference, interval, mean, resamples
from training.network_method import NetworkMethod
from training.refinement_answer import refined, refined_answer
from training.refinement_starts import network_starts, retrieval_starts
from training.true_crystals import true_crystal

KEPT = 2
"""Runs of a retrieval that are fitted."""
MATCHED = 4.0
"""Voxels within which a pair of lines counts for the median distance."""
CONFIG = RefinementConfig(extra_lines=1, windings=0)
"""Without what no score asks for: other windings of each line."""
FREQUENCIES = np.full(len(CLASSES), 1 / len(CLASSES))

Row = dict[str, Any]


def main(
    tiers: str,
    only: list[str] = ["T1", "T2-element", "T2-relaxed", "T4-implanted"],  # noqa: B006 (read by the command line)
    crystals: int = 8,
    starts: list[int] = [1, 5, 20],  # noqa: B006
    model: str = "default",
    reflections: int = 1,
    output: str | None = None,
) -> None:
    torch.set_num_threads(1)
    predictor = Predictor.load(model, "cpu")
    emit(benchmark="refinement", machine=machine(), model=predictor.model, starts=starts, reflections=reflections)
    done = kept_rows(output)
    rows: list[Row] = []
    # Crystal by crystal through all tiers: a run that is stopped leaves all of them equally far.
    for number in range(crystals):
        for tier in only:
            if (tier, number) not in done:
                data = StoredCrystals(Path(tiers) / tier)
                if number >= len(data):
                    continue
                crystal = data[number][:reflections]
                done[tier, number] = [
                    {"tier": tier, "crystal": number, **row} for row in judged(crystal, predictor, sorted(starts))
                ]
                if output is not None:
                    with Path(output).open("a") as file:
                        file.writelines(json.dumps(row) + "\n" for row in done[tier, number])
            rows += done[tier, number]
    rows += either(rows)
    for tier in (*only, "all"):
        mine = [row for row in rows if tier in (row["tier"], "all")]
        methods = {name: [row for row in mine if row["method"] == name] for name in dict.fromkeys(methods_of(mine))}
        for name, told in methods.items():
            tell(tier, name, told)
        if tier == "all":
            best = methods_of_retrieval(sorted(starts))
            for name, other in (
                ("network → retrieval", "network"), ("network → retrieval", best[-1]),
                ("network → refinement", "network"), ("network → refinement, confirmed", "network"),
                ("retrieval → refinement", best[len(best) // 2]), ("either → refinement", best[-1]),
            ):  # fmt: skip
                compare(name, methods[name], other, methods[other])


def methods_of_retrieval(starts: list[int]) -> list[str]:
    return [f"retrieval, {number} start{'s' if number > 1 else ''}" for number in starts]


def kept_rows(output: str | None) -> dict[tuple[str, int], list[Row]]:
    """Rows of a run that was stopped, by tier and crystal."""
    done: dict[tuple[str, int], list[Row]] = {}
    if output is not None and Path(output).exists():
        for line in Path(output).read_text().splitlines():
            row = json.loads(line)
            done.setdefault((row["tier"], row["crystal"]), []).append(row)
    return done


def methods_of(rows: list[Row]) -> list[str]:
    return [row["method"] for row in rows]


def judged(crystal: CrystalSamples, predictor: Predictor, starts: list[int]) -> Iterator[Row]:
    """One row a method for ``crystal``."""
    truth = true_crystal(crystal)
    exposures = fit_set([sample.exposure for sample in crystal], crystal[0].exposure.counts.shape)
    seed = crystal[0].index
    runs: dict[int, tuple[list[StartObject], float]] = {}
    for number, name in zip(starts, methods_of_retrieval(starts), strict=True):
        runs[number] = timed(lambda n=number: retrieved(exposures, n, seed))
        yield row(name, traced(runs[number][0][:1], crystal), truth, runs[number][1])
    said, begun = timed(lambda: NetworkMethod(predictor).predict([crystal])[0])
    yield row("network", said, truth, begun)
    proposed, short = timed(lambda: proposals(predictor, exposures, seed))
    yield row("network → retrieval", traced(proposed[1:], crystal), truth, short)
    for name, (first, spent) in (
        ("retrieval → refinement", runs[starts[len(starts) // 2]]), ("network → refinement", (proposed, short)),
    ):  # fmt: skip
        found, seconds = timed(lambda first=first: refined(crystal, exposures, first, CONFIG, seed))
        for confirmed in (False, True):
            answer = refined_answer(found, crystal, confirmed=confirmed)
            yield row(name + ", confirmed" * confirmed, answer, truth, spent + seconds,
                      {} if found is None else facts(found))  # fmt: skip


def row(name: str, answer: PredictedCrystal, truth: TrueCrystal, seconds: float, more: Row | None = None) -> Row:
    score = crystal_score(answer, truth)
    near = score.lines.distances[score.lines.distances <= MATCHED]
    told = {
        "method": name, "defect": truth.defect, "seconds": round(seconds, 2), "hits": score.lines.hits(2.0),
        "predicted": score.lines.predicted, "true": score.lines.true, "distances": near.round(3).tolist(),
        "phase_error": round(score.volumes.phase_error, 4), **(more or {}),
    }  # fmt: skip
    lone = len(near) == score.lines.predicted == score.lines.true == 1 and len(told.get("errors", ())) == 1
    return {**told, "over_error": round(float(near[0]) / told["errors"][0], 2)} if lone else told


def facts(found: Refinement) -> Row:
    """What the hypotheses say."""
    return {
        "none_rejected": found.no_line is not None and found.no_line.difference.rejects,
        "free": round(found.object_fit.free_deviance, 3),
        "crystal_free": round(found.best.fitted.free_deviance, 3),
        "errors": [round(max(line.error, 1e-4), 4) for line in found.lines],
    }


def either(rows: list[Row]) -> list[Row]:
    """Of the two refinements of a crystal the one that says more of the held-out voxels, for the time of both."""
    groups: dict[tuple[str, int, bool], list[Row]] = {}
    for each in rows:
        if "free" in each:
            groups.setdefault((each["tier"], each["crystal"], "confirmed" in each["method"]), []).append(each)
    return [
        {
            **min(group, key=lambda each: each["free"]), "method": "either → refinement" + ", confirmed" * confirmed,
            "seconds": sum(each["seconds"] for each in group),
        }
        for (_, _, confirmed), group in groups.items()
    ]  # fmt: skip


def traced(starts: list[StartObject], crystal: CrystalSamples) -> PredictedCrystal:
    if not starts:
        return nothing_found(crystal, FREQUENCIES)
    density = starts[0].density
    return traced_crystal(density, starts[0].support.expand(density.shape), crystal, FREQUENCIES)


def retrieved(exposures: tuple[Exposure, ...], starts: int, seed: int) -> list[StartObject]:
    """Runs of a retrieval, the best first; none where the pattern cannot be phased."""
    try:
        return retrieval_starts(exposures, starts, seed, CONFIG.free_fraction, KEPT)
    except ValueError:  # a peak behind a gap, an autocorrelation that fills the array
        return []


def proposals(predictor: Predictor, exposures: tuple[Exposure, ...], seed: int) -> list[StartObject]:
    """The network's object, and what one short retrieval makes of it."""
    (prediction,) = predictor.predict_crystals([exposures])
    return network_starts(prediction, exposures, seed, CONFIG.free_fraction)


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    """What ``make`` gives, and the seconds of a processor that it took."""
    begin = time.process_time()
    return make(), time.process_time() - begin


def statistics(rows: list[Row]) -> dict[str, Statistic]:
    """What is told of a method, by crystal."""
    every = np.ones(len(rows), bool)
    hits, predicted, true = (np.array([row[key] for row in rows], float) for key in ("hits", "predicted", "true"))
    owner = np.array([n for n, row in enumerate(rows) for _ in row["distances"]], int)
    distances = np.array([d for row in rows for d in row["distances"]])
    clean = np.array([row["defect"] == "none" for row in rows])
    return {
        "line_f1": Ratio(2 * hits, predicted + true, every),
        "median_distance_voxels": Median(distances, owner, every),
        "phase_error_rad": mean(np.array([row["phase_error"] for row in rows])),
        "false_lines_a_crystal": mean(predicted - hits),
        "false_lines_a_clean_crystal": mean(np.where(clean, predicted, np.nan)),
    }


def tell(tier: str, method: str, rows: list[Row]) -> None:
    """One line for a method on a tier."""
    weights = resamples(len(rows))
    told = {name: str(interval(statistic, weights)) for name, statistic in statistics(rows).items()}
    counts = {key: sum(row[key] for row in rows) for key in ("hits", "predicted", "true")}
    asked = [row for row in rows if "none_rejected" in row]
    over = [row["over_error"] for row in rows if "over_error" in row]
    more: Row = {}
    if asked:
        more["none_rejected_with_line"] = share([row["none_rejected"] for row in asked if row["true"]])
        more["none_rejected_clean"] = share([row["none_rejected"] for row in asked if row["defect"] == "none"])
        more["free_deviance"] = round(float(np.median([row["free"] for row in asked])), 2)
        more["distance_over_error"] = f"{np.median(over):.1f} of {len(over)}" if over else None
    emit(tier=tier, method=method, crystals=len(rows), clean=sum(row["defect"] == "none" for row in rows), **counts,
         **told, processor_seconds=round(float(np.median([row["seconds"] for row in rows])), 1), **more)  # fmt: skip


def share(answers: list[bool]) -> str:
    return f"{sum(answers)} of {len(answers)}"


def compare(method: str, ours: list[Row], other: str, theirs: list[Row]) -> None:
    """Paired differences of two methods."""
    weights = resamples(len(ours))
    mine, base = statistics(ours), statistics(theirs)
    emit(tier="all", method=f"{method} minus {other}", crystals=len(ours),
         **{name: str(difference(mine[name], base[name], weights)) for name in mine})  # fmt: skip


if __name__ == "__main__":
    auto_cli(main)
