"""What do better objects do for a model that searches? Searched, read on, and the true ones. A JSON line a score.

    python benchmarks/objects.py [--model searched] [--tiers DIR] [--crystals N] [--objects DIR] [--workers N]

The model answers thrice for every crystal: from what a search leaves, from where retrieval goes on as its reader sees
that, which is what it ships with, and from the phases and the support that are there, which no retrieval reaches.
``--tiers`` is a directory of ``cdi tiers``; without it tier T1 is drawn anew. Intervals: 95 % bootstrap over crystals;
rows ``read on − …`` are paired differences. ``--objects`` keeps what is searched. Seconds are those of one thread; of
a search they are told where nothing is kept.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isnan
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from machine import emit, machine
from torch import Tensor

from cdi.fourier import centre_pad
from cdi.retrieval.search import SearchedObject
from models.predictor import Predictor
from models.preprocess import fit_set, pattern_set
from models.searched_stage import Searcher
from training.evaluation import evaluate, tables
from training.held_out import EvaluationSettings, test_sets
from training.methods import CrystalSamples
from training.metrics import PredictedCrystal
from training.network_method import NetworkMethod
from training.true_crystals import true_crystal

EDGE = 0.1
"""Of the true support: what is less is outside."""


@dataclass(frozen=True)
class Timed(Searcher):
    """A searcher with how long it took, a pattern each."""

    searching: list[float] = field(default_factory=list)
    reading_on: list[float] = field(default_factory=list)

    def searched(self, counts: Tensor, measured: Tensor, support: Tensor | None = None) -> SearchedObject | None:
        start = time.perf_counter()
        found = super().searched(counts, measured, support)
        self.searching.append(time.perf_counter() - start)
        return found

    def read_on(self, counts: Tensor, measured: Tensor, density: Tensor) -> list[SearchedObject]:
        start = time.perf_counter()
        objects = super().read_on(counts, measured, density)
        self.reading_on.append(time.perf_counter() - start)
        return objects


@dataclass(frozen=True)
class Unread(Searcher):
    """A searcher whose objects stay as they were found."""

    def read_on(self, counts: Tensor, measured: Tensor, density: Tensor) -> list[SearchedObject]:
        return []


@dataclass(frozen=True)
class Known(Unread):
    """The truth in a searcher's stead."""

    known: dict[bytes, Tensor] = field(default_factory=dict)

    def searched(self, counts: Tensor, measured: Tensor, support: Tensor | None = None) -> SearchedObject:
        density = self.known[counts.numpy().tobytes()]
        return SearchedObject(density, density.abs() > EDGE, 1.0, 0.0)


@dataclass(frozen=True)
class FromTheTruth(NetworkMethod):
    """A method whose searcher is told the truth before it is asked."""

    def predict(self, crystals: Sequence[CrystalSamples]) -> list[PredictedCrystal]:
        searcher = self.predictor.searcher
        assert isinstance(searcher, Known)
        for crystal in crystals:
            volumes = true_crystal(crystal).volumes
            fitted = fit_set([sample.exposure for sample in crystal], self.predictor.shape)
            for counts, phase in zip(pattern_set([fitted]).counts[0], volumes.phase, strict=True):
                density = torch.as_tensor(volumes.support * np.exp(1j * phase)).to(torch.complex64)
                searcher.known[counts.numpy().tobytes()] = centre_pad(density, self.predictor.shape)
        return super().predict(crystals)


def main(
    model: str = "searched",
    tiers: str | None = None,
    crystals: int | None = None,
    objects: str | None = None,
    workers: int = 0,
) -> None:
    torch.set_num_threads(1)
    predictor = Predictor.load(model, "cpu", None if objects is None else Path(objects))
    if predictor.searcher is None:
        raise SystemExit(f"model must be one that searches, got {model!r}")
    config, folder = predictor.searcher.config, predictor.searcher.folder
    timed = Timed(config, folder)
    searchers = {"read on": timed, "searched": Unread(config, folder)}
    methods = [NetworkMethod(_with(predictor, searcher), name) for name, searcher in searchers.items()]
    methods.append(FromTheTruth(_with(predictor, Known(config)), "true"))
    sets = test_sets(EvaluationSettings(model, tiers=tiers, crystals=crystals, workers=workers), predictor.shape)
    emit(benchmark="objects", machine=machine(), model=predictor.model, test_seeds={one.tier: one.seed for one in sets})
    answers = [
        answer
        for one in sets
        for answer in evaluate(methods, one.crystals, tier=one.tier, reflections=one.reflections, workers=workers)
    ]
    for tier, table in tables(answers).items():
        for method, scores in table.items():
            for name, interval in scores.items():
                values = {key: None if isnan(value) else round(value, 4) for key, value in asdict(interval).items()}
                emit(tier=tier, method=method, score=name, **values)
    for name, seconds in (("searching", timed.searching), ("reading on", timed.reading_on)):
        if folder is None or seconds is timed.reading_on:
            quantiles = np.quantile(seconds, [0.05, 0.5, 0.95]).round(2).tolist()
            emit(seconds_a_pattern=name, patterns=len(seconds), p5_p50_p95=quantiles)


def _with(predictor: Predictor, searcher: Searcher) -> Predictor:
    return replace(predictor, searcher=searcher)


if __name__ == "__main__":
    auto_cli(main)
