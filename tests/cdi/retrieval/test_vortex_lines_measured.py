"""Vortex lines of a measured crystal: none where there is no dislocation, and the one that is put in."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray

from cdi.pattern import Exposure
from cdi.retrieval.config import RetrievalConfig
from cdi.retrieval.phase_retrieval import retrieve
from cdi.retrieval.vortex_lines import VortexCriteria, vortex_lines

Array = NDArray[np.complex128]


@pytest.fixture(scope="module")
def measured() -> tuple[Array, NDArray[np.bool_]]:
    """Density and support that a measured gold pattern phases to."""
    file = Path(__file__).parents[4] / "shared" / "real" / "chan2021-64" / "ft_crop_64.tif"
    if not file.exists():
        pytest.skip("the measured pattern is not here")
    config = RetrievalConfig(schedule="HIO 60, ER 20", starts=2, best=1)
    exposure = Exposure(tifffile.imread(file).astype(np.float32))
    found = retrieve([exposure], config, generator=torch.Generator().manual_seed(1))
    return found.density[0], found.support[0]


def test_a_measured_crystal_without_dislocation_has_no_line(measured: tuple[Array, NDArray[np.bool_]]) -> None:
    """Chan et al., Appl. Phys. Rev. 8, 021407 (2021): one compact object. Its rim alone holds residues."""
    density, support = measured
    assert support.sum() > 1000
    every = VortexCriteria(edge=0, amplitude=0, length=0, confidence=0)
    assert len(vortex_lines(density, support, criteria=every)) > 0
    assert vortex_lines(density, support) == ()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_vortex_put_into_the_measured_crystal_is_found(sign: int, measured: tuple[Array, NDArray[np.bool_]]) -> None:
    """Through its brightest part, along a direction beside all axes: one line, within a voxel, in its sense."""
    density, support = measured
    place = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in density.shape), indexing="ij"), -1)
    centre = place[support].mean(0)
    xi = np.array([0.36, 0.48, 0.8])
    x = np.array([0.8, -0.6, 0.0])
    away = place - centre
    implanted = density * np.exp(sign * 1j * np.arctan2(away @ np.cross(xi, x), away @ x))
    (line,) = vortex_lines(implanted, support)
    offset = np.linalg.norm(np.cross(line.points - centre, xi), axis=1)
    assert np.median(offset) < 1
    assert line.winding == 1
    assert sign * (line.points[-1] - line.points[0]) @ xi > 0.8 * line.length
