"""What the tests of formats share."""

from pathlib import Path

import numpy as np

from cdi.grid import QGrid
from cdi.pattern import Exposure

SHAPE = (12, 9, 10)


def counts() -> np.ndarray:
    """Nothing in it is symmetric; no two axes are of one length."""
    found = np.random.default_rng(4).poisson(2.0, SHAPE).astype(np.int32)
    found[6, 4, 5] = 70_000
    return found


def exposure(*, masked: bool = True) -> Exposure:
    rng = np.random.default_rng(5)
    grid = QGrid(rng.normal(size=3), np.eye(3) * 0.01 + rng.normal(size=(3, 3)) * 1e-3, SHAPE)
    mask = rng.random(SHAPE) < 0.9 if masked else None
    return Exposure(counts().astype(np.float32), grid, mask)


def assert_same_exposure(found: Exposure, wanted: Exposure) -> None:
    """Counts where they are usable, mask and grid."""
    np.testing.assert_array_equal(found.mask, wanted.mask)
    usable = np.ones(SHAPE, bool) if wanted.mask is None else wanted.mask
    np.testing.assert_array_equal(found.counts[usable], wanted.counts[usable])
    assert found.grid is not None
    assert wanted.grid is not None
    np.testing.assert_array_equal(found.grid.centre, wanted.grid.centre)
    np.testing.assert_array_equal(found.grid.step, wanted.grid.step)


GEOMETRY = """diffractometer: ID01
rocking: eta
step_deg: 0.01
angles_deg: {eta: 18.0, nu: 5.0, delta: 36.0}
energy_keV: 9.0
distance_m: 0.8
pixel_um: 55.0
"""


def geometry_file(folder: Path) -> Path:
    path = folder / "geometry.yaml"
    path.write_text(GEOMETRY)
    return path
