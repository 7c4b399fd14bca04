"""What the network is asked for, as tensors on its grid: from crystals drawn on the fly, or from stored samples."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.defects.classes import CLASSES
from cdi.fourier import centre_crop
from cdi.grid import QGrid
from cdi.identifiability import SEEN
from data.drawn_batches import DrawnBatch
from data.sample import Sample
from data.sampling import Draw
from data.truth_lines import fault_step
from models.network import Proposal
from models.pattern_set import PatternSet
from models.prediction import MOST_LINES

Array = NDArray[np.float64]

LINE_WIDTH = 0.9
"""Standard deviation, in voxels, of the tube that stands for a line in the target density."""
POINTS_AT_ONCE = 2**22
"""Distances held at a time."""


@dataclass(frozen=True)
class Targets:
    """A batch of crystals; volumes cover the grid's central half.

    Parameters
    ----------
    patterns : PatternSet
        Centred exposures.
    defect : (batch,)
        Index into ``CLASSES``.
    determined : (batch,)
        1 where these exposures can tell the class, 0 where every line has g·b = 0 and no fault shows.
    count : (batch,)
        Lines that at least one exposure sees, up to ``MOST_LINES``.
    line : (batch, x/2, y/2, z/2)
        exp(−d²/2σ²) of the distance to the nearest of these lines, within the support.
    winding : (batch, reflections, 3, x/2, y/2, z/2)
        (G·b/2π) ξ times that, ξ the unit tangent along the voxel axes, summed over lines: the circulation of the phase
        about the voxel axes, hence with the other sign where these are left-handed.
    support : (batch, reflections, x/2, y/2, z/2)
        What scatters in each reflection, in [0, 1].
    phase : (batch, reflections, x/2, y/2, z/2)
        G·u plus the ramp of the centring, radians.
    truths : the lines themselves, a crystal each.
    proposal : of a frozen first stage, where it was made beside the targets; else None.
    """

    patterns: PatternSet
    defect: Tensor
    determined: Tensor
    count: Tensor
    line: Tensor
    winding: Tensor
    support: Tensor
    phase: Tensor
    truths: "tuple[CrystalTruth, ...]"
    proposal: Proposal | None = None

    def to(self, device: torch.device | str) -> "Targets":
        """The same on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Targets(**{name: part.to(device) if hasattr(part, "to") else part for name, part in moved.items()})

    def __len__(self) -> int:
        return len(self.defect)


@dataclass(frozen=True)
class CrystalTruth:
    """``lines``: points (n, 3) in Å and windings G·b/2π (reflections,) of each; see ``Targets``."""

    defect: str
    determined: bool
    lines: tuple[tuple[Array, Array], ...]

    @classmethod
    def of_draw(cls, draw: Draw) -> "CrystalTruth":
        """What a drawn crystal holds, as its views see it."""
        G = np.array([draw.crystal.reflection_vector(view.reflection) for view in draw.views])
        lines = tuple((line.points, G @ line.burgers / (2 * np.pi)) for line in draw.crystal.lines())
        steps = [fault_step(draw.crystal, view.reflection) for view in draw.views]
        return cls(draw.defect, _determined(draw.defect, lines, steps), lines)

    @classmethod
    def of_samples(cls, samples: Sequence[Sample]) -> "CrystalTruth":
        """The same from the samples of one crystal."""
        truths = [sample.truth for sample in samples]
        windings = zip(*([line.g_dot_b for line in truth.lines] for truth in truths), strict=True)
        lines = tuple((line.points, np.array(w)) for line, w in zip(truths[0].lines, windings, strict=True))
        return cls(truths[0].defect, _determined(truths[0].defect, lines, [t.fault_step for t in truths]), lines)

    @property
    def visible(self) -> tuple[tuple[Array, Array], ...]:
        """The lines that a reflection sees."""
        return tuple((points, windings) for points, windings in self.lines if np.abs(windings).max() > SEEN)


def targets_of_batch(batch: DrawnBatch) -> Targets:
    """Targets of drawn crystals, on the device that holds them."""
    grids = [[view.grid for view in draw.views] for draw in batch.draws]
    truths = [CrystalTruth.of_draw(draw) for draw in batch.draws]
    return _targets(batch.counts, batch.mask, batch.support, batch.phase, grids, truths)


def targets_of_samples(crystals: Sequence[Sequence[Sample]]) -> Targets:
    """Targets of stored crystals, each the samples of its equally many exposures."""
    grids = [[_grid(sample) for sample in samples] for samples in crystals]
    shape = grids[0][0].shape
    half = (shape[0] // 2, shape[1] // 2, shape[2] // 2)
    counts, mask, support, phase = (
        torch.as_tensor(np.array([[_volumes(sample)[part] for sample in samples] for samples in crystals]))
        for part in range(4)
    )
    truths = [CrystalTruth.of_samples(samples) for samples in crystals]
    return _targets(counts, mask, centre_crop(support, half), centre_crop(phase, half), grids, truths)


def _volumes(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    exposure, truth = sample.exposure, sample.truth
    mask = np.ones(exposure.counts.shape, bool) if exposure.mask is None else exposure.mask
    return exposure.counts, mask, truth.support, truth.phase


def _grid(sample: Sample) -> QGrid:
    if sample.exposure.grid is None:
        raise ValueError(f"exposure of sample {sample.index} must come with its q-grid, got none")
    return sample.exposure.grid


def _targets(
    counts: Tensor,
    mask: Tensor,
    support: Tensor,
    phase: Tensor,
    grids: Sequence[Sequence[QGrid]],
    truths: Sequence[CrystalTruth],
) -> Targets:
    counts, mask, shift = centred(counts * mask, mask)
    step = torch.as_tensor(np.array([[grid.step for grid in row] for row in grids]), device=counts.device)
    centre = torch.as_tensor(np.array([[grid.centre for grid in row] for row in grids]), device=counts.device)
    voxel = np.array([row[0].voxel for row in grids])
    G = centre + torch.einsum("bri,brij->brj", shift.double(), step)
    # Centring moves the origin of q: the object of the centred pattern carries the opposite ramp.
    phase = phase + _ramp(shift, counts.shape[-3:], phase.shape[-3:])
    line, winding = [], []
    for truth, vectors in zip(truths, voxel, strict=True):
        density, flux = line_volumes(truth.visible, vectors, phase.shape[1], phase.shape[-3:], counts.device)
        line.append(density)
        winding.append(flux)
    inside = (support.amax(1) > 0).float()
    present = torch.ones(counts.shape[:2], dtype=torch.bool, device=counts.device)
    vectors = torch.as_tensor(voxel, device=counts.device)
    numbers = [[CLASSES.index(t.defect), int(t.determined), min(len(t.visible), MOST_LINES)] for t in truths]
    defect, determined, count = torch.as_tensor(numbers, device=counts.device).unbind(1)
    return Targets(
        PatternSet(counts.float(), mask, present, G, vectors), defect, determined.float(), count,
        torch.stack(line) * inside, torch.stack(winding) * inside[:, None, None], support.float(), phase.float(),
        tuple(truths),
    )  # fmt: skip


def centred(counts: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counts and mask ``(b, r, x, y, z)`` moved by whole voxels, centre of mass to ``N // 2``; the move ``(b, r, 3)``.

    What comes in from beyond the edge is 0 and not measured, as ``models.preprocess.fit_to_grid`` has it.
    """
    size = torch.tensor(counts.shape[-3:], device=counts.device)
    total = counts.double().sum((-3, -2, -1))
    middle = torch.stack(
        [
            (counts.double().sum([a for a in (-3, -2, -1) if a != axis]) * torch.arange(n, device=counts.device)).sum(
                -1
            )
            / total
            for axis, n in zip((-3, -2, -1), counts.shape[-3:], strict=True)
        ],
        -1,
    )
    shift = torch.round(middle).long() - size // 2
    moved, seen = counts.flatten(0, 1).clone(), mask.flatten(0, 1).clone()
    for n, move in enumerate(shift.flatten(0, 1).tolist()):
        for axis, distance in enumerate(move):
            if distance:
                for volume in (moved, seen):
                    volume[n] = torch.roll(volume[n], -distance, axis)
                    edge = (slice(-distance, None) if distance > 0 else slice(0, -distance),)
                    volume[n][(slice(None),) * axis + edge] = 0
    return moved.reshape(counts.shape), seen.reshape(mask.shape), shift


def _ramp(shift: Tensor, whole: Sequence[int], half: Sequence[int]) -> Tensor:
    """2π n·shift/N ``(b, r, x/2, y/2, z/2)`` of the voxels n of the central half."""
    total = torch.zeros(*shift.shape[:2], *half, dtype=torch.float64, device=shift.device)
    for axis, (n, m) in enumerate(zip(whole, half, strict=True)):
        index = torch.arange(m, dtype=torch.float64, device=shift.device) - m // 2
        line = 2 * torch.pi / n * shift[..., axis].double()[..., None] * index
        total += line.reshape(*shift.shape[:2], *(m if a == axis else 1 for a in range(3)))
    return total.float()


def line_volumes(
    lines: Sequence[tuple[Array, Array]],
    voxel: Array,
    reflections: int,
    shape: Sequence[int],
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Density ``(x, y, z)`` and winding ``(reflections, 3, x, y, z)`` of ``lines``; see ``Targets``.

    Distances and tangents are taken in voxels, so that a tube is round on the network's grid.
    """
    axes = [torch.arange(n, dtype=torch.float32, device=device) - n // 2 for n in shape]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    density = torch.zeros(len(index), device=device)
    flux = torch.zeros(reflections, 3, len(index), device=device)
    to_voxels, hand = np.linalg.inv(voxel), float(np.sign(np.linalg.det(voxel)))
    for points, windings in lines:
        corners = torch.as_tensor(points @ to_voxels, dtype=torch.float32, device=device)
        squared, tangent = _nearest(index, corners)
        tube = torch.exp(-squared / (2 * LINE_WIDTH**2))
        density = torch.maximum(density, tube)
        turns = torch.as_tensor(hand * windings, dtype=torch.float32, device=device)
        flux += turns[:, None, None] * (tangent.T * tube)
    return density.reshape(*shape), flux.reshape(reflections, 3, *shape)


def _nearest(index: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance ``(n,)`` to the polyline ``corners`` (m, 3) and the unit tangent ``(n, 3)`` there."""
    start, step = corners[:-1], corners[1:] - corners[:-1]
    length = step.norm(dim=1).clamp_min(1e-9)
    unit = step / length[:, None]
    squared = torch.full((len(index),), float("inf"), device=index.device)
    nearest = torch.zeros(len(index), dtype=torch.long, device=index.device)
    at_once = max(1, POINTS_AT_ONCE // len(index))
    for first in range(0, len(start), at_once):
        rows = slice(first, first + at_once)
        # |x − s|² − (clamped projection)(2 projection − clamped): no vectors of differences are stored.
        projection = index @ unit[rows].T - (start[rows] * unit[rows]).sum(1)
        clamped = torch.minimum(projection.clamp_min(0), length[rows])
        away = (index.square().sum(1, keepdim=True) - 2 * index @ start[rows].T + start[rows].square().sum(1)).sub_(
            clamped * (2 * projection - clamped)
        )
        least, which = away.min(1)
        better = least < squared
        squared = torch.where(better, least, squared)
        nearest = torch.where(better, which + first, nearest)
    return squared.clamp_min(0), unit[nearest]


def _determined(defect: str, lines: Sequence[tuple[Array, Array]], steps: Sequence[float]) -> bool:
    return defect == "none" or max(steps) > SEEN or any(np.abs(windings).max() > SEEN for _, windings in lines)
