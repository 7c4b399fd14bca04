"""The frozen tiers: seeds of their own, and what is new in each."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from cdi.config import read_config
from cdi.lattices.materials import material
from cdi.lattices.slip import SLIP_FAMILIES
from data.dataset import StoredCrystals
from data.molecular_dynamics.relaxed_recipe import RelaxedRecipe
from data.recipe import Recipe
from data.sampling import draw_crystal, exposure_generators
from training.cli import tiers
from training.implants import SEED
from training.tiers import CURVES, STANDARD, TIERS, Tier, TierSettings, chosen_tiers, make_tiers, sized

ROOT = Path(__file__).parents[2]
TRAINING = read_config(Recipe, ROOT / "examples/recipes/crystals.yaml")
RELAXED = read_config(RelaxedRecipe, ROOT / "examples/recipes/relaxed.yaml")


def changed(first: Recipe, second: Recipe) -> set[str]:
    return {field.name for field in fields(Recipe) if getattr(first, field.name) != getattr(second, field.name)}


def test_no_two_tiers_share_a_seed_and_none_has_the_training_s() -> None:
    """Seeds of all tiers, of the relaxed and the implanted ones too, are different and never trained on."""
    trained = [read_config(Recipe, path).seed for path in sorted((ROOT / "examples/recipes").glob("crystals*.yaml"))]
    seeds = [tier.recipe.seed for tier in TIERS.values()] + [SEED, RELAXED.seed]
    assert len(set(seeds)) == len(seeds)
    assert not set(seeds) & {20261125, TRAINING.seed, *trained}


def test_t1_is_the_training_s_distribution_without_pressed_crystals() -> None:
    """All but name, number, seed and how many reflections are drawn; training draws smaller crystals as well."""
    how_many = {"name", "samples", "seed", "first_index", "samples_per_file", "reflection_count"}
    assert changed(STANDARD, TRAINING) == {*how_many, "diameter_A", "distractors", "emitted_fraction"}
    assert STANDARD.diameter_A == (100.0, TRAINING.diameter_A[1])
    assert replace(TRAINING.distractors, contact_fraction=0.0) == STANDARD.distractors
    assert TIERS["T1"].reflections == (1, 3)


@pytest.mark.parametrize(
    ("name", "there", "trained"),
    [
        ("T2-rod", lambda r: set(r.crystal_shapes), set(TRAINING.crystal_shapes)),
        ("T2-element", lambda r: set(r.elements), set(TRAINING.elements)),
        ("T2-bcc", lambda r: set(r.elements), set(TRAINING.elements)),
        (
            "T2-bcc",
            lambda r: {f.name for e in r.elements for f in SLIP_FAMILIES[material(e).structure]},
            {f.name for e in TRAINING.elements for f in SLIP_FAMILIES[material(e).structure]},
        ),
        ("T2-bcc", lambda r: {material(e).structure for e in r.elements}, {"fcc", "diamond"}),
    ],
)
def test_t2_holds_what_training_never_had(name: str, there, trained: set[str]) -> None:  # type: ignore[no-untyped-def]
    """Shape family, elements, structure and slip families of these tiers are disjoint from the training's."""
    assert not there(TIERS[name].recipe) & trained


def test_t2_anisotropy_is_in_every_crystal_and_never_in_training() -> None:
    """Every defective crystal of that tier holds straight lines alone, which its own elastic constants strain."""
    recipe = TIERS["T2-anisotropic"].recipe
    assert TRAINING.anisotropic_fraction == 0
    assert recipe.anisotropic_fraction == 1
    assert recipe.fraction_of("partial-or-fault") == recipe.fraction_of("loop-or-network") == 0


def test_t2_has_none_to_five_lines() -> None:
    """More lines than training draws, and crystals without any."""
    for name in ("T2-anisotropic", "T2-rod", "T2-element", "T2-bcc"):
        assert TIERS[name].recipe.max_lines == 5 > TRAINING.max_lines
        assert TIERS[name].recipe.fraction_of("none") > 0


def test_t3_holds_loops_and_networks_or_nothing() -> None:
    recipe = TIERS["T3"].recipe
    assert recipe.fraction_of("loop-or-network") + recipe.fraction_of("none") == pytest.approx(1)


@pytest.mark.parametrize("condition", CURVES)
def test_a_curve_sets_one_condition_alone(condition: str) -> None:
    """Points of a curve differ from T1 in one field of the recipe, and from each other in that alone."""
    points = [tier for tier in TIERS.values() if tier.condition == condition]
    assert [tier.value for tier in points] == list(CURVES[condition][1])
    differing = [changed(tier.recipe, STANDARD) - {"name", "seed", "samples"} for tier in points]
    assert len(set.union(*differing)) == 1
    assert len({str(getattr(tier.recipe, *set.union(*differing))) for tier in points}) == len(points)


@pytest.mark.parametrize("tier", [t for t in TIERS.values() if t.group != "T5"], ids=lambda t: t.name)
def test_every_tier_can_be_drawn(tier: Tier) -> None:
    """A crystal of each tier has its exposures in as many reflections as a method is given."""
    drawn = draw_crystal(tier.recipe, *exposure_generators(tier.recipe, 0))
    assert len({view.reflection for view in drawn.views}) == max(tier.reflections)


def test_six_reflections_are_asked_for_in_steps() -> None:
    """The curve over reflections takes the first 1, 2, 3 and 6 of each crystal's."""
    tier = TIERS["T5-reflections"]
    drawn = draw_crystal(tier.recipe, *exposure_generators(tier.recipe, 3))
    assert tier.reflections == (1, 2, 3, 6)
    assert np.linalg.matrix_rank([view.reflection for view in drawn.views[:3]]) == 3


def test_groups_and_names_choose_tiers() -> None:
    """A group stands for its parts."""
    assert [tier.name for tier in chosen_tiers(["T2"])] == ["T2-anisotropic", "T2-rod", "T2-element", "T2-bcc"]
    assert [tier.name for tier in chosen_tiers(["T3", "T1"])] == ["T1", "T3"]
    assert len(chosen_tiers()) == len(TIERS)


def test_a_size_changes_nothing_else() -> None:
    """More crystals, or more voxels: the same first crystals' choices."""
    tier = sized(TIERS["T3"], 7, (16, 16, 24))
    assert changed(tier.recipe, TIERS["T3"].recipe) == {"samples", "shape"}


def test_tiers_that_need_more_say_what(tmp_path: Path) -> None:
    """Without a relaxed recipe and measured patterns one line each tells what to give."""
    said: list[str] = []
    make_tiers(TierSettings(only=("T2-relaxed", "T4")), tmp_path, report=said.append)
    assert "--relaxed" in said[0]
    assert "--real" in said[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_stored_tier_is_resumed_and_read_by_crystal(tmp_path: Path) -> None:
    """A second run makes nothing anew; rows are crystals with all their exposures."""
    settings = TierSettings(only=("T3",), crystals=2, shape=(16, 16, 16))
    said: list[str] = []
    make_tiers(settings, tmp_path, progress=False, report=said.append)
    shard = next((tmp_path / "T3").glob("shard-*.h5"))
    made = shard.stat().st_mtime_ns
    make_tiers(settings, tmp_path, progress=False, report=said.append)
    assert shard.stat().st_mtime_ns == made
    assert [len(crystal) for crystal in StoredCrystals(tmp_path / "T3")] == [3, 3]  # type: ignore[attr-defined]
    assert said[0].startswith("T3")


def test_the_command_takes_sizes_from_a_file_and_from_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tier by name, sizes of a file, options over them; what cannot be made is said and nothing is left behind."""
    parser = ArgumentParser(exit_on_error=False)
    tiers.add_arguments(parser)
    sizes = str(ROOT / "examples/tiers/quick.yaml")
    tiers.run(parser.parse_args(["--output", str(tmp_path), "--config", sizes, "--only", "T2-relaxed", "T4"]))
    assert capsys.readouterr().out.count("skipped: give --") == 2
    with pytest.raises(ValueError, match="tier must be one of"):
        tiers.run(parser.parse_args(["--output", str(tmp_path), "--only", "T7"]))


@pytest.mark.parametrize("path", sorted((ROOT / "examples/tiers").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_sizes_are_read(path: Path) -> None:
    assert read_config(TierSettings, path).crystals


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: replace(TIERS["T1"], name="T9-x"), "name must start with one of T1"),
        (lambda: replace(TIERS["T1"], reflections=(1, 4)), "reflections must be at most the recipe's 3"),
        (lambda: chosen_tiers(["T2-hcp"]), "tier must be one of"),
        (lambda: TierSettings(crystals=0), "crystals must be positive, got 0"),
        (lambda: TierSettings(implants=0), "implants must be positive, got 0"),
    ],
)
def test_bad_tiers_are_refused(make, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=says):
        make()
