"""The phase about a line as its corners move: what winds, and the strain that a dislocation of that winding may have.

In voxel numbers. About a closed polygon the phase ½Ω winds once: Ω, the solid angle under which a point sees
it, is what a loop's displacement jumps with (``cdi.defects.solid_angle``). An open line goes on straight at both ends
and closes far outside of the crystal, as a curved dislocation does (``cdi.defects.loop_shapes``).

The strain of a straight dislocation adds ln ρ², cos 2θ and sin 2θ with factors that depend on b beyond G·b and on the
medium (``cdi.defects.medium``). One reflection does not tell b, so the factors are free: Burgers vectors of one winding
are one hypothesis, in any medium whose field has these terms.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cdi.defects.solid_angle import solid_angle

FAR = 30.0
"""Closing of an open line, in units of the reach of the points about it."""
CORE = 0.5
"""Softening of the strain terms in voxels."""
STRAIN_TERMS = 3


@dataclass(frozen=True, eq=False)
class Track:
    """Where a line is allowed to move from: ``corners`` (n, 3), and whether it closes.

    Raises
    ------
    ValueError
        For fewer than two corners (three of a closed line), or a line of no length.
    """

    corners: Tensor
    closed: bool = False

    def __post_init__(self) -> None:
        corners = self.corners.detach()
        least = 3 if self.closed else 2
        if corners.ndim != 2 or corners.shape[1] != 3 or len(corners) < least:
            raise ValueError(f"corners must have shape (n ≥ {least}, 3), got {tuple(corners.shape)}")
        if self.corners.requires_grad:  # on its way through a fit: to look at it would hold a GPU up
            return
        if not bool(torch.isfinite(corners).all()) or bool(((corners[1:] == corners[:-1]).all(1)).any()):
            raise ValueError(f"corners must be finite and differ from the next, got {corners.tolist()}")

    @cached_property
    def across(self) -> Tensor:
        """Directions ``(n, 2, 3)`` in which each corner may move: an open line's ends do not slide along it."""
        if self.closed:
            return torch.eye(3, dtype=self.corners.dtype, device=self.corners.device).expand(len(self.corners), 3, 3)
        return perpendicular(self.corners[-1] - self.corners[0]).expand(len(self.corners), 2, 3)

    @property
    def freedoms(self) -> int:
        """Numbers that place it."""
        return int(self.across.shape[0] * self.across.shape[1])

    def to(self, device: torch.device) -> "Track":
        """On ``device``."""
        return self if self.corners.device == device else Track(self.corners.to(device), self.closed)

    def moved(self, steps: Tensor) -> "Track":
        """With corners moved by ``steps`` (freedoms,)."""
        across = self.across
        shift = (steps.reshape(len(across), -1, 1) * across).sum(1)
        return Track(self.corners + shift, self.closed)


def perpendicular(direction: Tensor) -> Tensor:
    """Two unit vectors ``(2, 3)`` that are right-handed about ``direction`` (3,)."""
    along = direction / torch.linalg.vector_norm(direction)
    least = along.detach().abs().argmin(0, keepdim=True)
    helper = torch.zeros_like(along).scatter(0, least, 1.0)
    first = torch.linalg.cross(helper, along)
    first = first / torch.linalg.vector_norm(first)
    return torch.stack([first, torch.linalg.cross(along, first)])


def winding_phase(track: Track, points: Tensor) -> Tensor:
    """Phase ``(m,)`` in radians at ``points`` (m, 3) that winds by 2π right-handed about the line."""
    corners = track.corners
    if not track.closed:
        reach = points.norm(dim=1).max() * FAR
        start, end = corners[0] - corners[1], corners[-1] - corners[-2]
        aside = perpendicular(corners[-1] - corners[0])[0] * reach
        first, last = corners[0] + start * (reach / start.norm()), corners[-1] + end * (reach / end.norm())
        corners = torch.cat([first[None], corners, torch.stack([last, last + aside, first + aside])])
    # Ω falls by 4π through the polygon along its normal, on a circuit that is right-handed about its sides.
    angle: Tensor = solid_angle(points, corners)
    return -angle / 2


def strain_phases(track: Track, points: Tensor) -> Tensor:
    """ln ρ², cos 2θ and sin 2θ ``(3, m)`` about the nearest place of the line; the last two vanish on a closed one."""
    corners = torch.cat([track.corners, track.corners[:1]]) if track.closed else track.corners
    offset = _offsets(corners, points, open_ends=not track.closed)
    square = offset.square().sum(-1) + CORE**2
    if track.closed:
        return torch.stack([square.log(), torch.zeros_like(square), torch.zeros_like(square)])
    x, y = (offset @ perpendicular(corners[-1] - corners[0]).T).T
    return torch.stack([square.log(), (x * x - y * y) / square, 2 * x * y / square])


def _offsets(corners: Tensor, points: Tensor, *, open_ends: bool) -> Tensor:
    """Vector ``(m, 3)`` from the nearest place on the polyline, whose ends go on straight, to each point."""
    starts, steps = corners[:-1], corners[1:] - corners[:-1]
    relative = points[:, None] - starts
    share = (relative * steps).sum(-1) / steps.square().sum(-1)
    low, high = share.new_zeros(len(steps)), share.new_ones(len(steps))
    if open_ends:
        low[0], high[-1] = -torch.inf, torch.inf
    offsets = relative - share.clamp(low, high)[..., None] * steps
    nearest = offsets.detach().square().sum(-1).argmin(1)
    return offsets.take_along_dim(nearest[:, None, None], 1)[:, 0]
