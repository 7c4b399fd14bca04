"""A parametric crystal: an outline, smooth strain, and dislocation lines that the phase must wind about.

φ_r(r) = Σ_lines m_lr w_l(r) + Σ_lines Σ_t c_lrt s_lt(r) + Σ_modes a_rk T_k(r) in reflection r: w winds once about
line l, s are its strain terms, T are smooth modes. The modulus is positive and free on every voxel of the support.
Nothing of this can wind but the lines: hypotheses with other lines have the same other freedoms.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.refinement.line_phase import STRAIN_TERMS, Track, strain_phases, winding_phase
from cdi.refinement.object_model import Box

LEAST_MODULUS = 1e-3
"""Of the mean modulus: what a voxel of the support starts from at least."""
RIDGE = 1e-3
"""Of the modes' first fit: what no voxel tells stays small."""
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class ModelLine:
    """A line of a hypothesis: its track, and the whole number of turns ``(reflections,)`` about it in each pattern."""

    track: Track
    windings: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Modes:
    """Smooth functions on a box: 1, x, y, z, and products of cosines up to ``order`` half waves in all."""

    values: Tensor

    @classmethod
    def on(cls, box: Box, order: float) -> "Modes":
        """Values ``(modes, voxels inside)``; the first is constant."""
        sides = box.inside.shape
        unit = [(torch.arange(n, dtype=torch.float64, device=box.inside.device) + 0.5) / n for n in sides]
        grid = torch.stack(torch.meshgrid(*unit, indexing="ij"))[:, box.inside]
        rows = [torch.ones_like(grid[0]), *(3**0.5 * (2 * axis - 1) for axis in grid)]
        most = int(order)
        waves = [
            (a, b, c) for a in range(most + 1) for b in range(most + 1) for c in range(most + 1)
            if 0 < a * a + b * b + c * c <= order**2
        ]  # fmt: skip
        for numbers in waves:
            x, y, z = (
                torch.cos(torch.pi * n * axis) * (2**0.5 if n else 1) for n, axis in zip(numbers, grid, strict=True)
            )
            rows.append(x * y * z)
        return cls(torch.stack(rows))


class CrystalModel:
    """A hypothesis with its free numbers, started as near as it can be to ``density`` (reflections, box).

    The smooth modes take the phase steps between neighbouring voxels that the ``lines`` leave, by least squares. Free
    numbers are scaled so that a step of one in any of them changes the pattern about as much.
    """

    def __init__(self, box: Box, modes: Modes, lines: Sequence[ModelLine], density: Tensor) -> None:
        here = density.device
        self.box, self.modes = box, modes
        self.lines = tuple(ModelLine(line.track.to(here), line.windings) for line in lines)
        for line in lines:
            if len(line.windings) != len(density):
                raise ValueError(f"windings must be one a reflection ({len(density)}), got {line.windings}")
        windings = torch.tensor([line.windings for line in lines], dtype=torch.float64, device=here)
        self.windings = windings.reshape(len(lines), len(density), 1)
        values = density[:, box.inside]
        self.points = box.points()[box.inside]
        self.scale = values.abs().mean(1, keepdim=True).clamp_min(TINY)
        relative = (values.abs() / self.scale).clamp_min(LEAST_MODULUS)
        unit = float(len(self.points)) ** -0.5
        self._units: tuple[float, ...] = (1.0, unit, 2 * unit, 3 * unit)
        self.modulus = relative + torch.log(-torch.expm1(-relative))
        self.smooth = torch.zeros(len(density), len(modes.values), dtype=torch.float64, device=here)
        self.strains = torch.zeros(len(lines), len(density), STRAIN_TERMS, dtype=torch.float64, device=here)
        self.steps = [torch.zeros(line.track.freedoms, dtype=torch.float64, device=here) for line in lines]
        wound = self.phase()
        fitted = _smooth_fit(box, modes, values * torch.polar(torch.ones_like(wound), -wound))
        self.smooth = fitted / self._units[1]
        for number in self.parameters():
            number.requires_grad_()

    def parameters(self) -> list[Tensor]:
        """All free numbers; ``modulus``, ``smooth``, ``strains`` and the steps of each line, in this order."""
        return [self.modulus, self.smooth, self.strains, *self.steps]

    def of_reflection(self, number: int) -> "CrystalModel":
        """One reflection of it, with free numbers of its own."""
        alone, one = copy(self), slice(number, number + 1)
        alone.lines = tuple(ModelLine(line.track, (line.windings[number],)) for line in self.lines)
        alone.scale, alone.windings = self.scale[one], self.windings[:, one]
        alone.modulus, alone.smooth = (values[one].detach().clone() for values in (self.modulus, self.smooth))
        alone.strains = self.strains[:, one].detach().clone()
        alone.steps = [step.detach().clone() for step in self.steps]
        return alone

    def tracks(self) -> list[Track]:
        """Where the lines are, in voxel numbers from the origin."""
        return [line.track.moved(self._units[3] * step) for line, step in zip(self.lines, self.steps, strict=True)]

    def track_scale(self) -> float:
        """Voxels that one unit of a step moves a corner."""
        return self._units[3]

    def phase(self) -> Tensor:
        """``(reflections, voxels inside)`` in radians."""
        total: Tensor = self._units[1] * self.smooth @ self.modes.values
        for windings, track, factors in zip(self.windings, self.tracks(), self.strains, strict=True):
            total = total + windings * winding_phase(track, self.points)
            total = total + self._units[2] * factors @ strain_phases(track, self.points)
        return total

    def phase_slopes(self) -> Tensor:
        """∂φ/∂ ``(strains and smooth modes of a reflection, voxels inside)``, in which the phase is linear."""
        strains = [self._units[2] * strain_phases(track, self.points) for track in self.tracks()]
        return torch.cat([*strains, self._units[1] * self.modes.values])

    def density(self) -> Tensor:
        """Complex ``(reflections, box)``."""
        return self.box.spread(torch.polar(self.scale * torch.nn.functional.softplus(self.modulus), self.phase()))


def _smooth_fit(box: Box, modes: Modes, values: Tensor) -> Tensor:
    """Coefficients ``(reflections, modes)`` whose phase has the steps of ``values`` (reflections, voxels inside)."""
    inside = box.inside
    number = torch.full(inside.shape, -1, dtype=torch.long, device=inside.device)
    number[inside] = torch.arange(int(inside.sum()), device=inside.device)
    pairs = []
    for axis in range(3):
        n = inside.shape[axis]
        here, there = number.narrow(axis, 0, n - 1).flatten(), number.narrow(axis, 1, n - 1).flatten()
        both = (here >= 0) & (there >= 0)
        pairs.append(torch.stack([here[both], there[both]]))
    here, there = torch.cat(pairs, 1)
    steps = (modes.values[1:, there] - modes.values[1:, here]).T
    rows = []
    for row in values:
        product = row[there] * row[here].conj()
        weight = product.abs() / product.abs().mean().clamp_min(TINY) if len(product) else product.abs()
        normal = steps.T @ (weight[:, None] * steps)
        normal = normal + RIDGE * normal.diagonal().mean().clamp_min(1.0) * torch.eye(len(normal)).to(normal)
        found = torch.linalg.solve(normal, steps.T @ (weight * product.angle()))
        turned = row * torch.polar(torch.ones_like(row.abs()), -(found @ modes.values[1:]))
        rows.append(torch.cat([turned.sum().angle()[None], found]))
    return torch.stack(rows)
