"""Displacement and sites of known phases are those of the crystal; what cannot be told is refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure
from models.burgers_name import burgers_name
from models.known_crystal import KnownCrystal
from models.predicted_sites import predicted_displacement, predicted_sites
from models.prediction import CLASSES, MOST_LINES, Prediction

TURN = Rotation.from_rotvec([0.4, -0.7, 0.2]).as_matrix()
HKL = ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (2, 0, 0))
SHAPE = (32, 28, 30)
STRAIN = np.array([[4e-3, 1e-3, 0], [-2e-3, 3e-3, 1e-3], [0, 0, -5e-3]])


def u(points: np.ndarray) -> np.ndarray:
    """A mean strain and a wave, in Å."""
    return points @ STRAIN.T + 0.15 * np.sin(points @ [[0.1, 0, 0], [0, 0.13, 0], [0.05, 0, 0.08]])


def measured(lattice: Lattice, number: int) -> tuple[Prediction, list[Exposure], KnownCrystal]:
    """A ball whose ``number`` phases are true, each pattern's grid off its peak by its own part of a voxel."""
    rng = np.random.default_rng(number)
    reflections = HKL[:number]
    step = 0.03 * (np.eye(3) + rng.normal(size=(3, 3)) * 0.1)
    G = np.array([TURN @ lattice.reflection_vector(hkl) for hkl in reflections])
    centres = G + rng.uniform(-0.4, 0.4, (number, 3)) @ step
    counts = np.ones(SHAPE)
    exposures = [Exposure(counts, QGrid(centre, step, SHAPE)) for centre in centres]
    voxel = exposures[0].grid.voxel  # type: ignore[union-attr]
    half = tuple(n // 2 for n in SHAPE)
    places = (np.moveaxis(np.indices(half), 0, -1) - np.array(half) // 2) @ voxel
    inside = np.linalg.norm(places, axis=-1) < 32
    phase = np.einsum("rj,xyzj->rxyz", G, u(places)) + np.einsum("rj,xyzj->rxyz", centres - G, places)
    found = Prediction(
        0.9, (0.1, 0.9, *[0.0] * (len(CLASSES) - 2)), (1.0, *[0.0] * MOST_LINES), "", (),
        np.zeros(half, np.float32), inside.astype(np.float32), np.angle(np.exp(1j * phase)).astype(np.float32), voxel,
        {"name": "true", "weights_sha256": "0" * 64}, 0.0,
    )  # fmt: skip
    return found, exposures, KnownCrystal(lattice, reflections)


@pytest.mark.parametrize(("name", "number"), [("Au", 3), ("Au", 4), ("MgO", 3)])
def test_sites_are_those_of_the_strained_crystal(name: str, number: int) -> None:
    """R + u(R) of every site well within, to 0.05 Å, although orientation and G come from grids off their peaks."""
    lattice = Lattice.of_material(name)
    atoms = predicted_sites(*measured(lattice, number))
    perfect, kind = lattice.sites_in_box([-60] * 3, [60] * 3)
    for species, element in enumerate(atoms.elements):
        own = np.asarray(lattice.elements)[kind] == element
        true = perfect[own] @ TURN.T
        true = true[np.linalg.norm(true, axis=1) < 24] + u(true[np.linalg.norm(true, axis=1) < 24])
        away, _ = cKDTree(atoms.positions[atoms.species == species]).query(true)
        assert len(true) > 500
        assert away.max() < 0.05
    assert len(atoms) == pytest.approx(4 / 3 * np.pi * 32**3 / lattice.cell_volume * len(lattice.sites), rel=0.05)


def test_without_a_lattice_displacement_is_told_against_the_mean_one() -> None:
    """Phases less no ramp: G·u of the result is the phase itself, up to a constant."""
    found, exposures, _ = measured(Lattice.of_material("Au"), 3)
    told = predicted_displacement(found, exposures)
    assert told is not None
    inside = found.support > 0
    for exposure, phase in zip(exposures, found.phase, strict=True):
        assert exposure.grid is not None
        left = np.exp(1j * (np.tensordot(exposure.grid.centre, told, 1) - phase))[inside]
        assert abs(left.mean()) == pytest.approx(1, abs=1e-6)


def test_what_the_reflections_do_not_tell_is_refused() -> None:
    lattice = Lattice.of_material("Au")
    found, exposures, known = measured(lattice, 3)
    with pytest.raises(ValueError, match="sites must be those of a known lattice, got none"):
        predicted_sites(found, exposures, None)
    two = KnownCrystal(lattice, known.reflections[:2])
    with pytest.raises(ValueError, match="sites must come from at least three reflections that are not coplanar"):
        predicted_sites(replace(found, phase=found.phase[:2]), exposures[:2], two)
    assert predicted_displacement(replace(found, phase=found.phase[:2]), exposures[:2], two) is None
    empty = replace(found, support=np.zeros_like(found.support))
    with pytest.raises(ValueError, match="and 0 voxels"):
        predicted_sites(empty, exposures, known)
    coarse = KnownCrystal(lattice, ((2, 0, 0), (0, 2, 0), (0, 0, 2)))
    G = np.array([TURN @ lattice.reflection_vector(hkl) for hkl in coarse.reflections])
    there = [Exposure(e.counts, replace(e.grid, centre=g)) for e, g in zip(exposures, G, strict=True)]  # type: ignore[type-var]
    with pytest.raises(ValueError, match="sites must come from reflections that generate the reciprocal lattice of Au"):
        predicted_sites(found, there, coarse)


@pytest.mark.parametrize(
    ("fractions", "name"),
    [
        ((0.5, -0.5, 0), "½[1-10]"),
        ((1 / 6, 1 / 6, -1 / 3), "⅙[11-2]"),
        ((-1, 0, 0), "[-100]"),
        ((2 / 3, 0, -2 / 3), "⅔[10-1]"),
        ((0.375, 0, 0.375), "3/8 [101]"),
        ((0.1234, 0, 0), "[0.123, 0.000, 0.000]"),
    ],
)
def test_burgers_vectors_are_written_as_the_field_does(fractions: tuple[float, float, float], name: str) -> None:
    assert burgers_name(fractions) == name
