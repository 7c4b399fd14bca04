"""All baselines: train them on one set of exposures, keep them in a directory, and have them as methods again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from data.recipe import Recipe
from training.baselines import phase_network, prior, radial, slice_cnn, video_resnet
from training.baselines.exposures import LabelledExposures, drawn_exposures
from training.baselines.learning import Budget
from training.baselines.phase_network import PhaseNetwork
from training.baselines.prior import Prior
from training.baselines.radial import RadialProfile
from training.baselines.retrieval_tracing import RetrievalTracing
from training.baselines.slice_cnn import slice_classifier
from training.baselines.stored import StoredBaseline, load_baseline, save_baseline
from training.baselines.video_resnet import video_classifier
from training.methods import Method

EXPOSURES = "exposures"
"""Folder of a baselines' directory that keeps what they learn from."""


class Baseline(Method, Protocol):
    """A method that tells in ``facts`` what it was given."""

    @property
    def facts(self) -> dict[str, Any]:
        """Crystals, exposures, processor minutes, parameters, and the curve of its loss, as far as it has them."""


class Kept(Baseline, Protocol):
    """A baseline that can be stored."""

    def stored(self) -> StoredBaseline:
        """As it is kept."""


@dataclass(frozen=True)
class Kind:
    """How a baseline comes about: ``fit`` learns it, ``restore`` has it again."""

    fit: Callable[[LabelledExposures, Budget], Kept]
    restore: Callable[[StoredBaseline], Kept]


KINDS: dict[str, Kind] = {
    prior.KIND: Kind(lambda exposures, _: Prior.fit(exposures), Prior.of),
    radial.KIND: Kind(lambda exposures, _: RadialProfile.fit(exposures), RadialProfile.of),
    slice_cnn.KIND: Kind(
        lambda exposures, budget: slice_classifier(budget.seed).fit(exposures, budget),
        lambda stored: slice_classifier().restored(stored),
    ),
    video_resnet.KIND: Kind(
        lambda exposures, budget: video_classifier(budget.seed).fit(exposures, budget),
        lambda stored: video_classifier().restored(stored),
    ),
    phase_network.KIND: Kind(
        lambda exposures, budget: PhaseNetwork.fit(exposures, budget, Prior.fit(exposures).classes),
        PhaseNetwork.of,
    ),
}
"""Every baseline that learns, in the order of tables."""


def train_baselines(
    recipe: Recipe,
    directory: Path,
    *,
    crystals: int,
    budget: Budget,
    only: Sequence[str] = (),
    workers: int = 0,
    report: Callable[[Kept], None] = lambda baseline: None,
) -> list[Kept]:
    """Draw exposures of ``recipe``, train each kind on them (or those of ``only``), keep all in ``directory``.

    What is already there is kept as it is, so that a stopped run goes on.

    Raises
    ------
    ValueError
        For an unknown kind, or a ``directory`` with exposures of another recipe.
    """
    for kind in only:
        if kind not in KINDS:
            raise ValueError(f"only must be among {', '.join(KINDS)}, got {kind!r}")
    exposures = drawn_exposures(recipe, directory / EXPOSURES, crystals, workers=workers)
    trained = []
    for kind in only or KINDS:
        path = _path(directory, kind)
        if not path.exists():
            save_baseline(KINDS[kind].fit(exposures, budget).stored(), path)
        trained.append(KINDS[kind].restore(load_baseline(path)))
        report(trained[-1])
    return trained


def load_baselines(directory: Path, *, starts: int | None = 5) -> list[Baseline]:
    """The baselines that ``directory`` holds, and phase retrieval of ``starts`` starts (None: without).

    Raises
    ------
    FileNotFoundError
        If it holds none.
    ValueError
        If a file does not read.
    """
    there = [kind for kind in KINDS if _path(directory, kind).exists()]
    if not there:
        raise FileNotFoundError(f"{directory} must hold trained baselines, it holds none; run: cdi baselines --output")
    kept: list[Baseline] = [KINDS[kind].restore(load_baseline(_path(directory, kind))) for kind in there]
    if starts is not None:
        known = [baseline for baseline in kept if isinstance(baseline, Prior)]
        kept.append(RetrievalTracing(starts, known[0].classes if known else None))
    return kept


def _path(directory: Path, kind: str) -> Path:
    return directory / f"{kind}.safetensors"
