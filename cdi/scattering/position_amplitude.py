"""Amplitude of atoms as a differentiable function of their positions.

The derivative of ``F(Q) = Σ_j exp(+iQ·r_j)`` is its adjoint transform, weighted with Q: as fast as the
amplitude itself, whatever the route. First derivatives only.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from cdi.grid import QGrid
from cdi.scattering.form_factor import atomic_amplitude
from cdi.scattering.geometric_sum import Route, check_route, geometric_sums, position_derivatives
from cdi.scattering.model import ScatteringModel


def position_amplitudes(
    positions: Tensor,
    species: NDArray[np.int64],
    elements: Sequence[str],
    grids: Sequence[QGrid],
    *,
    route: Route = "nufft",
    model: ScatteringModel | None = None,
) -> tuple[Tensor, ...]:
    """Amplitude on each of ``grids``, complex128, in electrons, on the device of ``positions``.

    ``positions`` (n, 3) float64 Å stay in the graph of derivatives; ``species`` (n,) indexes ``elements``.

    Raises
    ------
    ValueError
        For an unknown route, or positions that are not float64 of shape (n, 3).
    """
    check_route(route)
    if positions.ndim != 2 or positions.shape[1] != 3 or positions.dtype != torch.float64:
        raise ValueError(f"positions must be float64 (n, 3), got {positions.dtype} {tuple(positions.shape)}")
    chosen = model or ScatteringModel()
    moduli = [grid.modulus() for grid in grids]
    totals = [torch.zeros(grid.shape, dtype=torch.complex128, device=positions.device) for grid in grids]
    for index, element in enumerate(elements):
        mine = torch.as_tensor(np.flatnonzero(species == index), device=positions.device)
        if len(mine):
            sums = _GeometricSums.apply(positions[mine], tuple(grids), route, chosen)
            factors = [
                torch.as_tensor(atomic_amplitude(element, modulus, chosen), device=positions.device)
                for modulus in moduli
            ]
            totals = [total + f * geometric for total, f, geometric in zip(totals, factors, sums, strict=True)]
    return tuple(totals)


class _GeometricSums(torch.autograd.Function):
    """``geometric_sums`` with its adjoint; numpy does the work on a CPU, CUDA tensors stay where they are."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, grids: tuple[QGrid, ...], route: Route,
                model: ScatteringModel) -> tuple[Tensor, ...]:  # fmt: skip
        ctx.save_for_backward(positions)
        ctx.settings = grids, route, model
        sums = geometric_sums(_native(positions), grids, route=route, model=model)
        return tuple(torch.as_tensor(value, device=positions.device).to(torch.complex128) for value in sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (positions,) = ctx.saved_tensors
        grids, route, model = ctx.settings
        native = [_native(value) for value in cotangents]
        derivative = position_derivatives(_native(positions), grids, native, route=route, model=model)
        return torch.as_tensor(derivative, device=positions.device), None, None, None


def _native(value: Tensor) -> Any:
    """A view in numpy of what lies on a CPU."""
    return value.detach() if value.is_cuda else value.detach().resolve_conj().numpy()
