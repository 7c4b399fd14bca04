"""The frozen test tiers: recipes with seeds of their own, and the stored sets that they give (docs/benchmark.md).

T1 the training's distribution; T2 other physics; T3 curved lines and networks; T4 dislocations implanted into a
measured crystal; T5 the training's distribution with one condition set. Free of torch until crystals are made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cdi.detector.ranges import (
    AlienRange,
    BackgroundRange,
    CoherenceRange,
    DeadRange,
    DetectorRanges,
    GapsRange,
    HotRange,
    PointSpreadRange,
    RockingRange,
    SaturationRange,
)
from cdi.errors import MissingDependencyError
from data.recipe import Distractors, Recipe

GROUPS = ("T1", "T2", "T3", "T4", "T5")
RELAXED, IMPLANTED = "T2-relaxed", "T4-implanted"
"""Tiers that need more than this program: LAMMPS and OVITO; a measured pattern."""

STANDARD = Recipe(
    name="T1",
    samples=300,
    seed=41_000_000,
    samples_per_file=20,
    shape=(32, 32, 32),
    elements=("Al", "Ni", "Cu", "Ag", "Au", "Si"),
    reflections=((1, 1, 1), (2, 0, 0), (2, 2, 0), (3, 1, 1)),
    reflection_count=3,
    crystal_shapes=("sphere", "ellipsoid", "cube", "truncated-octahedron", "wulff", "polyhedron"),
    diameter_A=(100.0, 3000.0),
    oversampling=(2.3, 4.4),
    class_fractions=(0.3, 0.15, 0.15, 0.15, 0.125, 0.125),
    max_lines=4,
    hidden_fraction=0.03,
    strain_rad=(0.0, 2.0),
    peak_counts=(3e2, 1e6),
    distractors=Distractors(twin_fraction=0.1, vacancy_fraction=0.15, void_fraction=0.1, surface_fraction=0.3),
    detector=DetectorRanges(
        coherence=CoherenceRange(0.5, (1.5, 10.0), ("gaussian", "exponential")),
        rocking=RockingRange(0.5),
        point_spread=PointSpreadRange(0.7),
        background=BackgroundRange(0.7),
        alien=AlienRange(0.2, relative_peak=(1e-4, 1e-2)),
        hot=HotRange(0.3),
        saturation=SaturationRange(0.1, (0.3, 1.0)),
        dead=DeadRange(0.5),
        gaps=GapsRange(0.2),
    ),
)
"""T1. What training draws, as it was when the tiers were frozen; pressed crystals came later (T5)."""


@dataclass(frozen=True)
class Tier:
    """One set of test crystals.

    Parameters
    ----------
    name : ``group-part``; the directory that it is stored in.
    title : what is asked.
    recipe : Recipe
    reflections : how many of each crystal's exposures are given to a method, one row of the table each.
    condition, value : what a curve of T5 is drawn against.

    Raises
    ------
    ValueError
        If the name is of no group, or a crystal has fewer exposures than are asked for.
    """

    name: str
    title: str
    recipe: Recipe
    reflections: tuple[int, ...] = (1, 3)
    condition: str = ""
    value: float = float("nan")

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ValueError(f"name must start with one of {', '.join(GROUPS)}, got {self.name!r}")
        if not 1 <= max(self.reflections) <= self.recipe.reflection_count:
            raise ValueError(
                f"reflections must be at most the recipe's {self.recipe.reflection_count}, got {self.reflections}"
            )

    @property
    def group(self) -> str:
        """``T2`` of ``T2-rod``."""
        return self.name.split("-")[0]


def _other(name: str, title: str, seed: int, samples: int, **changes: Any) -> Tier:
    """A tier of T1's recipe but for ``changes``."""
    return Tier(name, title, replace(STANDARD, name=name, seed=seed, samples=samples, **changes))


def _photons(value: float) -> dict[str, Any]:
    return {"peak_counts": (value, value)}


def _gaps(value: float) -> dict[str, Any]:
    return {"detector": replace(STANDARD.detector, gaps=GapsRange(value))}


def _coherence(value: float) -> dict[str, Any]:
    return {"detector": replace(STANDARD.detector, coherence=CoherenceRange(1.0, (value, value)))}


def _oversampling(value: float) -> dict[str, Any]:
    return {"oversampling": (value, value)}


def _strain(value: float) -> dict[str, Any]:
    return {"strain_rad": (value, value)}


def _pressed(value: float) -> dict[str, Any]:
    return {"distractors": replace(STANDARD.distractors, contact_fraction=value)}


Curve = tuple[str, tuple[float, ...], Callable[[float], dict[str, Any]]]
CURVES: Mapping[str, Curve] = {
    "photons": ("photons in the brightest voxel", (1e2, 1e3, 1e4, 1e5, 1e6), _photons),
    "gaps": ("share of patterns that a detector gap may cross", (0.0, 0.5, 1.0), _gaps),
    "coherence": ("coherence length over the crystal's extent", (0.7, 1.0, 2.0, 5.0), _coherence),
    "oversampling": ("oversampling along each axis", (2.1, 2.5, 3.0, 3.5, 4.4), _oversampling),
    "strain": ("rms phase of smooth strain (rad)", (0.0, 1.0, 2.0, 4.0), _strain),
    "pressed": ("share of crystals that flat tools press", (0.0, 0.5, 1.0), _pressed),
}
"""Conditions of T5: what is set, to which values, and what that changes in the recipe."""


def _curve_points(first_seed: int) -> list[Tier]:
    points = [(part, *curve, value) for part, curve in CURVES.items() for value in curve[1]]
    return [
        replace(
            _other(f"T5-{part}-{value:g}", f"{what} {value:g}", first_seed + number, 40, **change(value)),
            condition=part, value=value,
        )
        for number, (part, what, _, change, value) in enumerate(points)
    ]  # fmt: skip


TIERS: Mapping[str, Tier] = {
    tier.name: tier
    for tier in (
        Tier("T1", "new crystals of the training's distribution", STANDARD),
        _other("T2-anisotropic", "fields of the metals' own elastic constants", 42_000_000, 60,
               max_lines=5, anisotropic_fraction=1.0, class_fractions=(0.3, 0.25, 0.2, 0.25)),
        _other("T2-rod", "a shape family", 42_000_001, 60, max_lines=5, crystal_shapes=("rod",)),
        _other("T2-element", "elements: platinum and palladium", 42_000_002, 60, max_lines=5, elements=("Pt", "Pd")),
        _other("T2-bcc", "a structure and its slip families: iron and tungsten", 42_000_003, 60, max_lines=5,
               elements=("Fe", "W"), reflections=((1, 1, 0), (2, 0, 0), (2, 1, 1)),
               class_fractions=(0.3, 0.2, 0.2, 0.2, 0.0, 0.1)),
        _other("T3", "curved lines, loops and junction networks", 43_000_000, 100,
               class_fractions=(0.3, 0.0, 0.0, 0.0, 0.0, 0.7)),
        *_curve_points(45_000_000),
        replace(_other("T5-reflections", "reflections of each crystal", 45_000_100, 40, reflection_count=6),
                reflections=(1, 2, 3, 6), condition="reflections"),
    )
}  # fmt: skip
"""All that this program can draw by itself."""


def chosen_tiers(only: Sequence[str] = ()) -> list[Tier]:
    """Tiers by name or group; all where none is named.

    Raises
    ------
    ValueError
        If there is no such tier.
    """
    known = {*TIERS, RELAXED, IMPLANTED, *GROUPS}
    for name in only:
        if name not in known:
            raise ValueError(f"tier must be one of {', '.join(sorted(known))}, got {name!r}")
    return [tier for tier in TIERS.values() if not only or tier.name in only or tier.group in only]


def sized(tier: Tier, crystals: int | None = None, shape: tuple[int, int, int] | None = None) -> Tier:
    """The tier with so many crystals, on so many voxels."""
    recipe = tier.recipe
    samples = recipe.samples if crystals is None else crystals
    return replace(tier, recipe=replace(recipe, samples=samples, shape=shape or recipe.shape))


@dataclass(frozen=True)
class TierSettings:
    """What ``cdi tiers`` makes.

    Parameters
    ----------
    only : names or groups; empty: all.
    crystals : of each tier; None: each its own number.
    shape : voxels of the patterns; None: 32³.
    relaxed : recipe of relaxed crystals (examples/recipes/relaxed.yaml); None: without.
    real : measured gold pattern to implant dislocations in; None: without.
    implants : crystals of that tier.

    Raises
    ------
    ValueError
        If there is no such tier, or a number is not positive.
    """

    only: tuple[str, ...] = ()
    crystals: int | None = None
    shape: tuple[int, int, int] | None = None
    relaxed: str | None = None
    real: str | None = None
    implants: int = 60

    def __post_init__(self) -> None:
        chosen_tiers(self.only)
        for name in ("crystals", "implants"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive, got {value}")

    def wants(self, name: str) -> bool:
        """Whether the tier ``name`` is asked for."""
        return not self.only or name in self.only or name.split("-")[0] in self.only


def make_tiers(
    settings: TierSettings, directory: Path, *, processes: int = 1, progress: bool = True,
    report: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Make, or finish making, the stored sets of the tiers in ``directory``; ``report`` gets a line for each.

    Raises
    ------
    ValueError, OSError, RunError
        As ``data.generation.generate``.
    """
    from data.generation import generate

    for tier in chosen_tiers(settings.only):
        made = sized(tier, settings.crystals, settings.shape)
        generate(made.recipe, directory / tier.name, processes=processes, progress=progress)
        report(f"{tier.name:22s} {made.recipe.samples} crystals, {tier.title}")
    if settings.wants(RELAXED):
        report(f"{RELAXED:22s} {_make_relaxed(settings, directory, processes, progress)}")
    if settings.wants(IMPLANTED):
        report(f"{IMPLANTED:22s} {_make_implants(settings, directory, processes, progress)}")


def _make_relaxed(settings: TierSettings, directory: Path, processes: int, progress: bool) -> str:
    """Make the relaxed crystals, or say why not."""
    if settings.relaxed is None:
        return "skipped: give --relaxed examples/recipes/relaxed.yaml"
    from cdi.config import read_config
    from data.molecular_dynamics.relaxed_recipe import RelaxedRecipe
    from data.molecular_dynamics.relaxed_samples import relaxed_set

    recipe = read_config(RelaxedRecipe, settings.relaxed)
    recipe = replace(recipe, samples=settings.crystals or recipe.samples, shape=settings.shape or recipe.shape)
    try:
        relaxed_set(recipe, directory / RELAXED, processes=processes, progress=progress)
    except MissingDependencyError as error:
        return f"skipped: {error}"
    return f"{recipe.samples} crystals relaxed in an interatomic potential, lines by DXA"


def _make_implants(settings: TierSettings, directory: Path, processes: int, progress: bool) -> str:
    """Make the implanted crystals, or say why not."""
    if settings.real is None:
        return "skipped: give --real DIRECTORY of measured patterns"
    from data.generation import generate
    from training.implants import implant_recipe, implanted_samples

    samples = settings.crystals or settings.implants
    recipe = implant_recipe(settings.real, samples=samples, shape=settings.shape or STANDARD.shape)
    generate(recipe, directory / IMPLANTED, processes=processes, progress=progress, draw=implanted_samples)
    return f"{samples} dislocations implanted in the crystal of {recipe.pattern}"
