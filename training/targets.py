"""What the network is asked for, as tensors on its grid, from a sample and its truth."""

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.fourier import centre_crop
from data.sample import Sample
from data.symmetry import AxisSymmetry
from models.prediction import class_index
from models.preprocess import fit_to_grid, geometry

LINE_WIDTH = 0.9
"""Standard deviation, in voxels, of the tube that stands for a line in the target density."""


@dataclass(frozen=True)
class Targets:
    """One sample, or a batch with a leading dimension; volumes cover the grid's central half.

    Parameters
    ----------
    counts : (x, y, z)
        Centred photon counts on the whole grid.
    geometry : (10,)
        ``models.preprocess.geometry`` of the exposure.
    defect : ()
        Index into ``CLASSES``.
    determined : ()
        1 where this exposure can tell the class, 0 where every line has g·b = 0.
    line : (x/2, y/2, z/2)
        exp(−d²/2σ²) of the distance to the nearest visible line, within the support.
    support : (x/2, y/2, z/2)
        In [0, 1].
    phase : (x/2, y/2, z/2)
        G·u plus the ramp of the centring, radians.
    """

    counts: Tensor
    geometry: Tensor
    defect: Tensor
    determined: Tensor
    line: Tensor
    support: Tensor
    phase: Tensor

    def to(self, device: torch.device | str) -> "Targets":
        """The same on another device."""
        return Targets(*(getattr(self, f.name).to(device) for f in fields(self)))


def targets(sample: Sample, symmetry: AxisSymmetry | None = None, *, hide_geometry: bool = False) -> Targets:
    """Targets of one sample, its axes relabelled by ``symmetry`` where given."""
    exposure, grid = sample.exposure, sample.exposure.grid
    assert grid is not None
    centred = fit_to_grid(exposure, grid.shape)
    assert centred.grid is not None
    points = _central_points(centred.grid.voxel, grid.shape)
    # Centring moves the origin of q: the object of the centred pattern carries the opposite ramp.
    phase = _half(sample.truth.phase) + points @ (centred.grid.centre - grid.centre)
    support = _half(sample.truth.support)
    line_density = _line_density(sample, points, centred.grid.voxel) * (support > 0)
    volumes: list[NDArray[Any]] = [centred.counts, line_density, support, phase]
    seen = centred.grid
    if symmetry is not None:
        volumes = [symmetry.apply(volume) for volume in volumes]
        seen = symmetry.apply_grid(seen)
    where = torch.from_numpy(geometry(None if hide_geometry else seen))
    defect = torch.tensor(class_index(sample.truth.defect))
    determined = torch.tensor(float(sample.truth.determined))
    seen_counts, *answers = (torch.as_tensor(volume, dtype=torch.float32) for volume in volumes)
    return Targets(seen_counts, where, defect, determined, *answers)


def collate(items: list[Targets]) -> Targets:
    """A batch."""
    return Targets(*(torch.stack([getattr(item, f.name) for item in items]) for f in fields(Targets)))


def _half(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    x, y, z = volume.shape
    return np.asarray(centre_crop(torch.as_tensor(volume), (x // 2, y // 2, z // 2)).numpy())


def _central_points(voxel: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    axes = (np.arange(n // 2) - n // 4 for n in shape)
    return np.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), -1) @ voxel)


def _line_density(sample: Sample, points: NDArray[np.float64], voxel: NDArray[np.float64]) -> NDArray[np.float32]:
    """Distances are taken in voxels, so that a tube is round on the network's grid."""
    to_voxels = np.linalg.inv(voxel)
    index = points @ to_voxels
    density = np.zeros(points.shape[:3])
    for line in sample.truth.lines:
        if line.visible:
            corners = line.points @ to_voxels
            for start, end in pairwise(corners):
                density = np.maximum(density, np.exp(-(segment_distance(index, start, end) ** 2) / (2 * LINE_WIDTH**2)))
    return density.astype(np.float32)


def segment_distance(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance ``(...)`` from ``points`` ``(..., 3)`` to the segment from ``start`` to ``end``."""
    along = end - start
    t = np.clip((points - start) @ along / (along @ along), 0, 1)
    return np.asarray(np.linalg.norm(points - start - t[..., None] * along, axis=-1))
