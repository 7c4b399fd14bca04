"""Samples of relaxed crystals: signs against the analytic truth, DXA against what was put in, and what is kept."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from checks_of_data import assert_same_sample
from jsonargparse import ArgumentParser
from scipy.spatial import cKDTree

from cdi.config import write_config
from cdi.defects.line import DislocationLine
from cdi.errors import RunError
from cdi.lattices.lattice import Lattice
from data.molecular_dynamics import relaxed_samples as module
from data.molecular_dynamics.cli import relaxed_set as command
from data.molecular_dynamics.lines_apart import _points, with_lines_apart
from data.molecular_dynamics.relaxed_recipe import RelaxedRecipe
from data.molecular_dynamics.relaxed_samples import exposed, lines_of_atoms, placed_crystal, relaxed_samples
from data.recipe import Distractors
from data.sampling import Draw, draw_crystal, expose, exposure_generators
from data.store import SampleFile

needs_lammps = pytest.mark.skipif(
    find_spec("lammps") is None or find_spec("mpi4py") is None, reason="needs LAMMPS and mpi4py"
)
needs_ovito = pytest.mark.skipif(find_spec("ovito") is None, reason="needs OVITO")

ONE_LINE = RelaxedRecipe(
    "one line", samples=3, seed=4, samples_per_file=2, shape=(24, 28, 26), elements=("Cu", "Fe"),
    potentials=("Cu_mishin1", "Fe_mm"), reflections=((1, 1, 1), (2, 2, 0), (1, 1, 0), (2, 0, 0)),
    reflection_count=3, diameter_A=(58.0, 66.0), oversampling=(2.3, 2.9), class_fractions=(0.0, 0.5, 0.5),
    max_lines=1, anisotropic_fraction=1.0, hidden_fraction=0.0, peak_counts=(1e5, 1e5),
)  # fmt: skip
FINE = replace(ONE_LINE, diameter_A=(90.0, 96.0), shape=(32, 34, 30), strain_rad=(0.0, 1.0))
SMALL = replace(ONE_LINE, diameter_A=(40.0, 44.0), anchored_shell_A=6.0, class_fractions=(0.3, 0.3, 0.4))


def drawn(index: int, recipe: RelaxedRecipe = ONE_LINE) -> Draw:
    return draw_crystal(recipe, *exposure_generators(recipe, index))


def swollen(lattice: Lattice) -> Lattice:
    """Another edge, as a potential has it."""
    return replace(lattice, cell=1.012 * lattice.cell)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_atoms_that_did_not_move_have_the_analytic_truth(index: int) -> None:
    """Phase with its ramp, support, displacement and counts of each view; only the lattice constant differs."""
    draw = drawn(index, FINE)
    placed = placed_crystal(draw, swollen(draw.crystal.lattice))
    lines = [DislocationLine(1.012 * line.points, 1.012 * line.burgers) for line in draw.crystal.lines()]
    positions = placed.built.sites + placed.built.displacement
    samples = exposed(placed, positions, lines, ("at rest",), 7, exposure_generators(FINE, index))
    for got, wanted in zip(samples, expose(draw, 7, exposure_generators(FINE, index)), strict=True):
        assert got.index == wanted.index == 7
        assert got.reflection == wanted.reflection
        grid, other = got.exposure.grid, wanted.exposure.grid
        assert grid is not None
        assert other is not None
        np.testing.assert_allclose(1.012 * grid.step, other.step)
        np.testing.assert_allclose(1.012 * grid.centre, other.centre)
        inside = np.minimum(got.truth.support, wanted.truth.support) > 0.9
        difference = np.angle(np.exp(1j * (got.truth.phase - wanted.truth.phase)))[inside]
        assert np.median(np.abs(difference)) < 0.06
        assert np.quantile(np.abs(difference), 0.9) < 0.2
        assert abs(difference.mean()) < 0.04
        assert np.std(got.truth.phase[inside]) > 0.25
        assert np.abs(got.truth.support - wanted.truth.support).max() < 0.35
        assert got.truth.support.sum() == pytest.approx(wanted.truth.support.sum(), rel=0.05)
        moved = np.linalg.norm(got.truth.displacement - 1.012 * wanted.truth.displacement, axis=0)[inside]
        assert np.median(moved) < 0.05
        seen = np.corrcoef(np.sqrt(got.exposure.counts).ravel(), np.sqrt(wanted.exposure.counts).ravel())[0, 1]
        assert seen > 0.95
        assert got.truth.defect == wanted.truth.defect
        (line,), (truth,) = got.truth.lines, wanted.truth.lines
        assert (line.g_dot_b, line.candidates) == (truth.g_dot_b, truth.candidates)
        np.testing.assert_allclose(line.burgers_lattice, truth.burgers_lattice)
        np.testing.assert_allclose(line.burgers, 1.012 * truth.burgers)


@needs_ovito
@pytest.mark.parametrize("index", [0, 1, 2, 4])
def test_dxa_finds_the_line_that_was_put_in(index: int) -> None:
    """b exact up to (b, ξ) → (−b, −ξ); every point within 10 Å of the line; most of its length."""
    draw = drawn(index)
    placed = placed_crystal(draw, swollen(draw.crystal.lattice))
    (line,) = lines_of_atoms(placed.built.sites + placed.built.displacement, placed, skin_A=5.0)
    (wanted,) = draw.crystal.lines()
    ends = 1.012 * wanted.points
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    sense = np.sign((line.points[-1] - line.points[0]) @ along)
    np.testing.assert_allclose(sense * line.burgers, 1.012 * wanted.burgers, atol=1e-9)
    beside = line.points - ends[0]
    beside = beside - (beside @ along)[:, None] * along
    assert np.linalg.norm(beside, axis=1).max() < 10
    assert line.length > 0.7 * wanted.length


def test_of_atoms_that_overlap_one_is_left_out_and_its_site_is_empty() -> None:
    """Where fields of crossing lines add up; the others and all sites are still there."""
    draw = drawn(1)
    placed = placed_crystal(draw, draw.crystal.lattice)
    sites, _ = draw.crystal.reference_sites()
    squeezed = replace(draw.crystal, defects=(_Squeeze(),))
    pressed = placed_crystal(replace(draw, crystal=squeezed), draw.crystal.lattice)
    positions = pressed.built.sites + pressed.built.displacement
    assert cKDTree(positions).query(positions, k=2)[0][:, 1].min() > 1.4
    gone = len(sites) - len(pressed.built.sites)
    assert 0 < gone < 0.1 * len(sites)
    assert len(placed.built.sites) == len(sites)
    assert len(pressed.built.empty) == len(placed.built.empty) + gone


class _Squeeze:
    """Presses what lies above z = 10 Å down by 1.7 Å."""

    kind, defect_class = "squeeze", "none"

    def displacement(self, points: torch.Tensor) -> torch.Tensor:
        down = -1.7 * torch.sigmoid(20 * (points[..., 2] - 10.0))
        return torch.stack([0 * down, 0 * down, down], -1)


def test_lines_are_put_in_apart_and_the_first_stays() -> None:
    """As many as found room; with no clearance the draw is as it was."""
    recipe = replace(ONE_LINE, diameter_A=(100.0, 110.0), max_lines=5, clearance_A=18.0)
    drawn_counts, kept_counts = [], []
    for index in range(12):
        draw = drawn(index, recipe)
        spread = with_lines_apart(draw, recipe, np.random.default_rng(index))
        lines = [d for d in spread.crystal.defects if d.defect_class != "none"]
        drawn_counts.append(sum(d.defect_class != "none" for d in draw.crystal.defects))
        kept_counts.append(len(lines))
        assert lines[0] is draw.crystal.defects[0]
        assert {d.defect_class for d in lines} == {draw.defect}
        for i, line in enumerate(lines):
            for other in lines[:i]:
                a, b = _points(line, draw.crystal.shape), _points(other, draw.crystal.shape)
                assert cKDTree(a).query(b)[0].min() >= 18.0
        assert with_lines_apart(draw, replace(recipe, clearance_A=0.0), np.random.default_rng(0)) is draw
    assert max(drawn_counts) > 2
    assert max(kept_counts) > 1
    assert all(kept <= count for kept, count in zip(kept_counts, drawn_counts, strict=True))


@needs_lammps
@needs_ovito
def test_a_sample_is_the_same_again_and_its_exposures_are_of_one_crystal() -> None:
    """One index, one step of q, one set of lines; g·b is that of each reflection; kinds say how it came to rest."""
    first = relaxed_samples(SMALL, 3)
    for got, again in zip(first, relaxed_samples(SMALL, 3), strict=True):
        assert_same_sample(got, again)
    assert len({sample.reflection for sample in first}) == 3
    assert {sample.index for sample in first} == {3}
    truth = first[0].truth
    assert truth.kinds[:2] == ("anchored shell", "at rest")
    assert truth.lines
    for sample in first:
        assert sample.exposure.grid is not None
        np.testing.assert_array_equal(sample.exposure.grid.step, first[0].exposure.grid.step)
        assert sample.truth.defect == truth.defect
        np.testing.assert_array_equal(sample.truth.support, truth.support)
        for line, other in zip(sample.truth.lines, truth.lines, strict=True):
            np.testing.assert_array_equal(line.points, other.points)
            assert line.g_dot_b == pytest.approx(line.burgers_lattice @ sample.reflection, abs=1e-5)
    # On the potential's own lattice: header and table differ from it by more than this.
    edges = {"Cu": 3.61493, "Fe": 2.85532}
    assert truth.cell == pytest.approx(edges[truth.formula] * np.eye(3), abs=1e-4)


@needs_lammps
@needs_ovito
def test_a_snapshot_moves_and_a_free_surface_says_so() -> None:
    recipe = replace(SMALL, free_fraction=1.0, snapshot_fraction=1.0, time_ps=0.05, class_fractions=(1.0,))
    truth = relaxed_samples(recipe, 0)[0].truth
    assert truth.kinds == ("free surface", "thermal motion")
    assert (truth.defect, truth.lines) == ("none", ())


@needs_lammps
@needs_ovito
def test_a_crystal_that_fails_to_relax_is_kept_as_it_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RunError("LAMMPS stopped: lost atoms")

    monkeypatch.setattr(module, "relax", fail)
    recipe = replace(ONE_LINE, anchored_shell_A=0.5)
    truth = relaxed_samples(recipe, 0)[0].truth
    assert truth.kinds == ("anchored shell", "not relaxed", "perfect dislocation")
    assert truth.defect == drawn(0, recipe).defect


@pytest.mark.slow
@needs_lammps
@needs_ovito
def test_the_command_makes_a_set_that_resumes_by_crystal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shard that is missing is made again, the same; the others are left alone."""
    recipe = replace(SMALL, elements=("Fe",), potentials=("Fe_mm",), samples=2, samples_per_file=1, reflection_count=2)
    write_config(recipe, tmp_path / "recipe.yaml")

    def run() -> None:
        parser = ArgumentParser(exit_on_error=False)
        command.add_arguments(parser)
        words = [tmp_path / "recipe.yaml", "seed=6", "--output", tmp_path / "set", "--processes", 1, "--no-progress"]
        command.run(parser.parse_args([str(word) for word in words]))

    run()
    assert "2 relaxed crystals in 2 reflections each" in capsys.readouterr().out
    with SampleFile(tmp_path / "set" / "dataset.h5") as file:
        made = list(file)
    assert [sample.index for sample in made] == [0, 0, 1, 1]
    kept = (tmp_path / "set" / "shard-00000.h5").stat().st_mtime_ns
    (tmp_path / "set" / "shard-00001.h5").unlink()
    run()
    assert (tmp_path / "set" / "shard-00000.h5").stat().st_mtime_ns == kept
    with SampleFile(tmp_path / "set" / "dataset.h5") as file:
        for got, wanted in zip(file, made, strict=True):
            assert_same_sample(got, wanted)


@needs_lammps
@needs_ovito
def test_a_potential_that_is_not_there_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 'Cu_mishin'; near names: Cu_mishin1"):
        module.relaxed_set(replace(ONE_LINE, potentials=("Cu_mishin", "Fe_mm")), tmp_path / "set")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"potentials": ("Cu_mishin1",)}, "potentials must name one for each of Cu, Fe, got"),
        ({"elements": ("Cu", "Si")}, r"elements must be fcc or bcc to be relaxed, got Si \(diamond\)"),
        ({"distractors": Distractors(void_fraction=0.1)}, "distractors must be left out of a relaxed recipe, got"),
        ({"free_fraction": 1.5}, r"free_fraction must lie in \[0, 1\], got 1.5"),
        ({"snapshot_fraction": -0.1}, r"snapshot_fraction must lie in \[0, 1\], got -0.1"),
        ({"anchored_shell_A": 0.0}, "anchored_shell_A must be positive, got 0.0"),
        ({"temperature_K": -3.0}, "temperature_K must be positive, got -3.0"),
        ({"time_ps": 0.0}, "time_ps must be positive, got 0.0"),
        ({"force_tolerance_eV_A": 0.0}, "force_tolerance_eV_A must be positive, got 0.0"),
        ({"max_iterations": 0}, "max_iterations must be positive, got 0"),
        ({"clearance_A": -1.0}, "clearance_A must not be negative, got -1.0"),
        ({"pair_voxels": -1.0}, "pair_voxels must not be negative, got -1.0"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
    ],
)
def test_a_bad_recipe_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ONE_LINE, **change)  # type: ignore[arg-type]
