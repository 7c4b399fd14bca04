"""Sets of atoms, patterns and exposures: what they refuse, and how they are centred."""

import re

import numpy as np
import pytest

from cdi.atoms import Atoms
from cdi.grid import QGrid
from cdi.pattern import DiffractionPattern, Exposure

POSITIONS = np.arange(15.0).reshape(5, 3) ** 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((POSITIONS[:, :2], np.zeros(5, int), ("Au",)), "positions must have shape (n, 3), got (5, 2)"),
        ((np.zeros((0, 3)), np.zeros(0, int), ("Au",)), "positions must hold at least one atom"),
        ((np.where(POSITIONS > 20, np.nan, POSITIONS), np.zeros(5, int), ("Au",)), "got 3 atoms with NaN or infinity"),
        ((POSITIONS, np.zeros(4, int), ("Au",)), "species must have shape (5,), got (4,)"),
        ((POSITIONS, np.arange(5), ("Au", "Ni")), "species must index elements ('Au', 'Ni'), got 0..4"),
        ((POSITIONS, np.zeros(5, int) - 1, ("Au",)), "species must index elements"),
        ((POSITIONS, np.zeros(5, int), ("Gold",)), "element must be a chemical symbol, got 'Gold'"),
    ],
)
def test_malformed_atoms_are_refused(arguments: tuple[np.ndarray, np.ndarray, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Atoms(*arguments)


def test_centring_moves_the_mean_to_the_origin() -> None:
    """Distances and species stay; the original is untouched."""
    atoms = Atoms(POSITIONS, np.array([0, 1, 0, 1, 1]), ("Au", "Ni"))
    centred = atoms.centred()
    np.testing.assert_allclose(centred.positions.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.diff(centred.positions, axis=0), np.diff(POSITIONS, axis=0))
    np.testing.assert_array_equal(atoms.positions, POSITIONS)
    np.testing.assert_allclose(atoms.extent, POSITIONS[4] - POSITIONS[0])
    assert len(Atoms.of_element("Au", POSITIONS)) == 5


GRID = QGrid([0, 0, 3.0], 0.01 * np.eye(3), (9, 10, 11))


def counts(**changes: float) -> np.ndarray:
    volume = np.arange(990.0).reshape(9, 10, 11)
    for value in changes.values():
        volume[3, 4, 5] = value
    return volume


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.ones((9, 10)), "counts must be a 3D array with at least 8 voxels a side, got shape (9, 10)"),
        (np.ones((9, 10, 7)), "counts must be a 3D array with at least 8 voxels a side"),
        (np.ones((9, 10, 11), complex), "counts must be real numbers, got complex128"),
        (np.ones((9, 10, 12)), "counts must have the grid's shape (9, 10, 11), got (9, 10, 12)"),
        (counts(bad=np.nan), "counts must be finite, got 1 voxels with NaN or infinity"),
        (counts(bad=np.inf), "counts must be finite"),
        (counts(bad=-2.0), "counts must not be negative, got a minimum of -2.0"),
        (np.zeros((9, 10, 11)), "counts must not be all zero"),
    ],
)
def test_malformed_exposures_are_refused(volume: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Exposure(volume, GRID)


def test_masked_voxels_may_hold_anything() -> None:
    """A gap is not a measurement: NaN there is no error; a mask of another shape is."""
    mask = np.ones((9, 10, 11), bool)
    mask[3, 4, 5] = False
    assert Exposure(counts(bad=np.nan), GRID, mask).counts.dtype == np.float32
    with pytest.raises(ValueError, match="mask must have the shape of counts"):
        Exposure(counts(), GRID, mask[:-1])


def test_a_pattern_has_the_shape_of_its_grid() -> None:
    pattern = DiffractionPattern(counts() * (1 + 2j), GRID, (1, 1, 1))
    np.testing.assert_allclose(pattern.intensity, 5 * counts() ** 2)
    with pytest.raises(ValueError, match="amplitude must have the grid's shape"):
        DiffractionPattern(counts()[:-1] + 0j, GRID, (1, 1, 1))
