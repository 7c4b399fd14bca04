"""``cdi evaluate``: which crystals, which methods, the scores and the report."""

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from torch.utils.data import Dataset

from cdi.config import read_object
from data.dataset import StoredCrystals
from data.drawn import DrawnCrystals
from data.generation import JOINED_FILE
from data.recipe import Recipe
from data.store import open_hdf5
from models.checkpoint import load
from models.predictor import Predictor
from training.baselines.registry import Baseline, load_baselines
from training.baselines.retrieval_tracing import RetrievalTracing
from training.baselines.search_tracing import SearchTracing
from training.evaluation import Answer, Table, evaluate, tables
from training.methods import CrystalSamples, Method
from training.network_method import NetworkMethod
from training.report import Report, write_report
from training.tiers import IMPLANTED, RELAXED, TIERS, sized


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated.

    Parameters
    ----------
    model : checkpoint file or shipped name.
    tiers : directory of ``cdi tiers``; None: T1 drawn anew.
    dataset : any set of ``cdi generate`` instead.
    crystals : of each tier, the first so many; None: all.
    baselines : directory of trained baselines; None: the network alone.
    objects : folder in which a model that searches (``searched``) keeps what it finds, so that an evaluation that was
        stopped need not search again; None: nowhere.
    starts : of phase retrieval, the slowest of them, which is left out of T5's curves; 0: without it.
    real : directory of measured patterns in which a line would be false; None: none.
    workers : processes that draw or read crystals.

    Raises
    ------
    ValueError
        If both tiers and dataset are given, or a number is too small.
    """

    model: str = "default"
    tiers: str | None = None
    dataset: str | None = None
    crystals: int | None = None
    baselines: str | None = None
    objects: str | None = None
    starts: int = 5
    real: str | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.tiers is not None and self.dataset is not None:
            raise ValueError(f"dataset must be left out with tiers, got {self.dataset}")
        if self.crystals is not None and self.crystals < 2:
            raise ValueError(f"crystals must be at least 2, got {self.crystals}")
        for name in ("workers", "starts"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class TestSet:
    """Crystals of one tier; ``seed`` is the root of their randomness, ``reflections`` how many a method is given."""

    tier: str
    title: str
    crystals: Dataset[CrystalSamples]
    reflections: tuple[int, ...]
    seed: int


class FirstCrystals(Dataset[CrystalSamples]):
    """The first ``number`` crystals of a data set."""

    def __init__(self, crystals: Dataset[CrystalSamples], number: int) -> None:
        self.crystals, self.number = crystals, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, position: int) -> CrystalSamples:
        if not 0 <= position < self.number:
            raise IndexError(f"position must lie in [0, {self.number}), got {position}")
        return self.crystals[position]


def evaluate_held_out(
    settings: EvaluationSettings, output: Path, stop: Callable[[], bool] = lambda: False
) -> dict[str, Table]:
    """Score the model and the baselines on every set, write the report into ``output`` and return its tables.

    ``stop`` is asked before each batch; once True, the report is of the crystals scored so far, and says so.

    Raises
    ------
    ValueError
        If ``output`` holds something, a set is missing or damaged, or the model was trained on a set's seed.
    KeyboardInterrupt
        If ``stop`` was True before any crystal was scored.
    """
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"--output must be a new or empty directory, got {output}")
    predictor = Predictor.load(settings.model, objects=None if settings.objects is None else Path(settings.objects))
    sets = test_sets(settings, predictor.shape)
    refuse_training_seed(settings.model, sets)
    baselines = _baselines(settings.baselines, settings.starts)
    answers: list[Answer] = []
    for each in sets:
        quick = [baseline for baseline in baselines if not isinstance(baseline, RetrievalTracing)]
        chosen = quick if each.tier.startswith("T5") else baselines
        methods: list[Method] = [NetworkMethod(predictor), *rules_of_the_search(predictor), *chosen]
        answers += evaluate(
            methods, each.crystals, tier=each.tier, reflections=each.reflections, workers=settings.workers, stop=stop
        )
    if not answers:
        raise KeyboardInterrupt
    table = tables(answers)
    facts = _facts(predictor, sets, baselines) | ({"interrupted": "not all crystals were scored"} if stop() else {})
    real = () if settings.real is None else tuple(real_answers(predictor, settings.real))
    report = Report(f"Evaluation of {predictor.model['name']}", facts, answers, table, real)
    output.mkdir(parents=True, exist_ok=True)
    write_report(report, output)
    return table


def test_sets(settings: EvaluationSettings, shape: tuple[int, int, int]) -> list[TestSet]:
    """What ``settings`` ask for: a data set, every tier that is stored, or T1 drawn on ``shape`` voxels.

    Raises
    ------
    ValueError
        If there is no stored tier in the directory, or a file is damaged.
    """
    if settings.dataset is not None:
        return [_limited(_stored(Path(settings.dataset), Path(settings.dataset).name), settings.crystals)]
    if settings.tiers is None:
        tier = sized(TIERS["T1"], settings.crystals, shape)
        return [TestSet(tier.name, tier.title, DrawnCrystals(tier.recipe), tier.reflections, tier.recipe.seed)]
    known = [*TIERS, RELAXED, IMPLANTED]
    there = sorted(
        (path.parent for path in Path(settings.tiers).glob(f"*/{JOINED_FILE}") if path.parent.name in known),
        key=lambda path: known.index(path.name),
    )
    if not there:
        raise ValueError(f"--tiers must be a directory of cdi tiers, {settings.tiers} holds no finished one")
    return [_limited(_stored(path, path.name), settings.crystals) for path in there]


def refuse_training_seed(model: str, sets: Sequence[TestSet]) -> None:
    """Raise ``ValueError`` if the model was trained on crystals of the seed of a set."""
    training = load(model).training.get("config", {}).get("recipe", {})
    for each in sets:
        if training.get("seed") == each.seed:
            raise ValueError(f"the test seed must differ from the training's, got {each.seed} for both ({each.tier})")


def training_recipe(model: str) -> Recipe:
    """The recipe that the checkpoint was trained on.

    Raises
    ------
    ValueError
        If the checkpoint does not carry it.
    """
    return read_object(Recipe, load(model).training_config["recipe"], origin=f"model {model!r}")


def real_answers(predictor: Predictor, directory: str | Path) -> Iterator[dict[str, Any]]:
    """What the network says of measured patterns that hold no known line: any that it reports is false.

    Nothing else is known of them, hence nothing else is graded.
    """
    from data.formats.pattern_files import read_exposure
    from training.implants import measured_patterns

    for name, path in measured_patterns(directory).items():
        prediction = predictor.predict([read_exposure(path)])[0]
        yield {
            "pattern": name,
            "defect_probability": round(prediction.defect_probability, 4),
            "class": prediction.defect_class,
            "false_lines": len(prediction.lines),
            "undetermined": prediction.undetermined,
        }


def _stored(path: Path, name: str) -> TestSet:
    crystals = StoredCrystals(path)
    with open_hdf5(crystals.samples.path) as file:
        recipe = yaml.safe_load(file.attrs["recipe"])
    count = int(recipe.get("reflection_count", 1))
    tier = TIERS.get(name)
    title = tier.title if tier is not None else _OTHER_TITLES.get(name, str(recipe["name"]))
    reflections = tier.reflections if tier is not None else tuple(sorted({1, min(3, count)}))
    return TestSet(name, title, crystals, reflections, int(recipe["seed"]))


_OTHER_TITLES = {
    RELAXED: "crystals relaxed in an interatomic potential, lines by DXA",
    IMPLANTED: "known dislocations in a measured crystal, exposed anew",
}


def _limited(each: TestSet, crystals: int | None) -> TestSet:
    there = len(each.crystals)  # type: ignore[arg-type]
    if crystals is None or crystals >= there:
        return each
    return replace(each, crystals=FirstCrystals(each.crystals, crystals))


def rules_of_the_search(predictor: Predictor) -> list[Method]:
    """What rules read in the objects that a model which searches keeps; nothing where they would be searched anew."""
    searcher = predictor.searcher
    return [] if searcher is None or searcher.folder is None else [SearchTracing(searcher)]


def _baselines(directory: str | None, starts: int) -> list[Baseline]:
    return [] if directory is None else load_baselines(Path(directory), starts=starts or None)


def _facts(predictor: Predictor, sets: Sequence[TestSet], baselines: Sequence[Baseline]) -> dict[str, Any]:
    return {
        "model": predictor.model["name"],
        "weights sha256": predictor.model["weights_sha256"],
        "machine": f"{platform.machine()}, {predictor.device}",
        "tiers": {
            each.tier: {"title": each.title, "seed": each.seed, "crystals": len(each.crystals)}  # type: ignore[arg-type]
            for each in sets
        },
        "baselines": {each.name: dict(each.facts) for each in baselines},
    }
