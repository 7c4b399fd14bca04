"""Implants: a known object stands in for a retrieved one, and what is implanted is what the pattern shows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cdi.fourier import amplitude_from_object
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from data.sample import Sample
from training.implants import ImplantRecipe, RetrievedObject, implant_recipe, implanted, measured_patterns

SHAPE = (24, 28, 30)
RECIPE = ImplantRecipe(
    "implants", samples=4, seed=5, shape=SHAPE, elements=("Au",), reflections=((1, 1, 1),), max_lines=1,
    class_fractions=(0, 1, 0, 0), hidden_fraction=0.0, pattern="measured.tif",
)  # fmt: skip


def retrieved() -> RetrievedObject:
    """A lopsided strained crystal off the origin, on a sheared grid of gold's (111) along an odd direction."""
    x, y, z = np.meshgrid(*(np.arange(n) - n // 2 for n in SHAPE), indexing="ij")
    x, y, z = x - 2.6, y + 2.2, z + 1.7
    support = ((x / 4.5) ** 2 + (y / 5) ** 2 + (z / 5.5) ** 2 < 1) & (x + y - z < 5)
    density = support * (1 + 0.1 * np.sin(x)) * np.exp(0.4j * np.sin(y / 2))
    voxel = np.array([[60.0, 0, 0], [8, 65, 0], [-5, 9, 70]])
    step = 2 * np.pi * np.linalg.inv(voxel).T / np.array(SHAPE)[:, None]
    G = np.array([0.6, -0.48, 0.64]) * np.linalg.norm(Lattice.of_material("Au").reflection_vector((1, 1, 1)))
    return RetrievedObject(density, support, QGrid(G, step, SHAPE), 3e7)


FOUND = retrieved()


def sample(seed: int = 1, **changes: object) -> Sample:
    return implanted(FOUND, replace(RECIPE, **changes), 7, np.random.default_rng(seed))  # type: ignore[arg-type]


def likeness(counts: np.ndarray, density: np.ndarray) -> float:
    """Correlation of the roots of a pattern and of what an object scatters."""
    root = amplitude_from_object(torch.as_tensor(density)).abs().numpy()
    return float((root * np.sqrt(counts)).sum() / np.sqrt((root**2).sum() * counts.sum()))


def test_nothing_implanted_is_the_object_exposed_anew() -> None:
    """Finer voxels and cropping give back the retrieved amplitude, the measured photons; only their noise is new."""
    plain = sample(class_fractions=(1, 0, 0, 0))
    expected = amplitude_from_object(torch.as_tensor(FOUND.density)).abs().square().numpy()
    expected *= FOUND.photons / expected.sum()
    off = (plain.exposure.counts - expected) / np.sqrt(np.maximum(expected, 1))
    bright = expected > 20
    assert plain.truth.defect == "none"
    assert plain.exposure.counts.sum() == pytest.approx(FOUND.photons, rel=1e-3)
    assert off[bright].std() == pytest.approx(1, abs=0.1)


def test_the_pattern_shows_the_implanted_phase() -> None:
    """|F|² of the object with the true phase is what is counted; without the dislocation, or with −φ, it is not."""
    made = sample()
    modulus = np.abs(FOUND.density)
    right = likeness(made.exposure.counts, modulus * np.exp(1j * made.truth.phase))
    assert right > 0.99
    assert likeness(made.exposure.counts, FOUND.density) < right - 0.02
    assert likeness(made.exposure.counts, modulus * np.exp(-1j * made.truth.phase)) < right - 0.005


def circulation(made: Sample, radius: float) -> float | None:
    """Of φ − φ_retrieved in turns about the middle of the only line; None where the circle leaves the crystal."""
    (line,) = made.truth.lines
    along = line.points[-1] - line.points[0]
    along /= np.linalg.norm(along)
    first = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    first /= np.linalg.norm(first)
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)[:, None]
    circle = line.points.mean(0) + radius * (np.cos(angle) * first + np.sin(angle) * np.cross(along, first))
    index = np.rint(circle @ np.linalg.inv(FOUND.grid.voxel)).astype(int) + np.array(SHAPE) // 2
    if not FOUND.support[tuple(index.T)].all():
        return None
    phase = (made.truth.phase - np.angle(FOUND.density))[tuple(index.T)]
    turns = np.diff(np.append(phase, phase[0])) / (2 * np.pi)
    return float((turns - np.round(turns)).sum())


def test_the_phase_winds_by_g_b_about_the_line() -> None:
    """About every implanted line that lies deep enough the truth's phase turns by G·b/2π, with its sign."""
    made = [sample(seed, class_fractions=(0, 0, 0, 1)) for seed in range(16)]
    found = [(circulation(each, 150.0), each.truth.lines[0].g_dot_b) for each in made]
    deep = [(turns, winding) for turns, winding in found if turns is not None]
    assert {winding for _, winding in deep} == {-1.0, 1.0}
    for turns, winding in deep:
        assert turns == pytest.approx(winding, abs=1e-3)


def test_gold_lies_with_its_g_along_the_measured_one() -> None:
    """The orientation brings (111) onto the measured direction; the azimuth about it is any."""
    first, second = sample(1).truth, sample(2).truth
    ideal = Lattice.of_material("Au").reflection_vector((1, 1, 1))
    for truth in (first, second):
        assert truth.orientation @ ideal == pytest.approx(FOUND.grid.centre)
    assert np.abs(first.orientation - second.orientation).max() > 0.1


def test_lines_lie_in_the_crystal_and_wind() -> None:
    """Both ends are within a voxel of the support, which is not at the origin; every line has g·b ≠ 0."""
    inside = (np.argwhere(FOUND.support) - np.array(SHAPE) // 2) @ FOUND.grid.voxel
    for seed in range(4):
        for line in sample(seed, max_lines=2).truth.lines:
            away = np.linalg.norm(line.points[:, None] - inside, axis=-1).min(1)
            assert away.max() < 80
            assert abs(line.g_dot_b) == 1


def test_implants_repeat_with_their_generator() -> None:
    assert np.array_equal(sample(3).exposure.counts, sample(3).exposure.counts)


def test_measured_patterns_are_found_by_folder(tmp_path: Path) -> None:
    """A folder of frames, or one with a single stack; others are passed over."""
    (tmp_path / "a" / "frames").mkdir(parents=True)
    (tmp_path / "a" / "dark.tif").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "stack.tif").touch()
    (tmp_path / "c").mkdir()
    assert measured_patterns(tmp_path) == {"a": tmp_path / "a" / "frames", "b": tmp_path / "b" / "stack.tif"}


def test_a_folder_without_patterns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold folders with frames/ or one TIFF stack"):
        measured_patterns(tmp_path)


def test_patterns_without_geometry_take_no_implants(tmp_path: Path) -> None:
    """Without G and voxels no dislocation's phase is known."""
    import tifffile

    (tmp_path / "b").mkdir()
    tifffile.imwrite(tmp_path / "b" / "stack.tif", np.ones((9, 10, 11), np.uint16))
    with pytest.raises(ValueError, match="must hold a pattern with its geometry"):
        implant_recipe(tmp_path, samples=2, shape=(16, 16, 16))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pattern": ""}, "pattern must be the path of a measurement"),
        ({"elements": ("Au", "Cu")}, "elements must hold the one of the pattern"),
        ({"reflections": ((1, 1, 1), (2, 0, 0))}, "reflections must hold the one of the pattern"),
        ({"starts": 0}, "starts must be at least 1, got 0"),
        ({"class_fractions": (1, 0, 0, 0, 1)}, "class_fractions must be of none, edge, screw, mixed alone"),
    ],
)
def test_bad_recipes_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(RECIPE, **changes)  # type: ignore[arg-type]
