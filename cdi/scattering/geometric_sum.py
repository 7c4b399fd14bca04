"""``Σ_j exp(+i Q·r_j)`` of one species on any number of grids, and its derivative. Free of torch.

With Q = c + m · step the sum is ``Σ_j exp(i c·r_j) exp(i m·θ_j)``, θ = step · r: c·r (10⁴ rad and
more) is formed in float64, the rest is a transform of the route. Grids with the same steps share its
points. Works on numpy arrays, and on CUDA tensors where the route does.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from cdi.grid import QGrid
from cdi.scattering import direct_sum
from cdi.scattering.model import ScatteringModel
from cdi.scattering.nufft import Apply, nufft_library
from cdi.scattering.phase import constant_like, in_single, unit_phase

Route = Literal["nufft", "direct"]
ROUTES = ("nufft", "direct")

ATOMS_AT_ONCE = 2**21
"""Atoms transformed at a time: bounds the memory beside positions and result."""

Array = Any


def geometric_sums(
    positions: Array, grids: Sequence[QGrid], *, route: Route, model: ScatteringModel
) -> tuple[Array, ...]:
    """The sums, each of its grid's shape, complex; ``positions`` (n, 3) Å float64, n ≥ 1."""
    totals: list[Array] = [None] * len(grids)
    for shared in _sharing(grids):
        for part in _parts(positions, grids[shared[0]]):
            apply = _transform(positions[part], grids[shared[0]], 1, route, model)
            for index in shared:
                centre = constant_like(grids[index].centre, positions)
                found = apply(_cast(unit_phase(positions[part] @ centre), model, route))
                totals[index] = found if totals[index] is None else totals[index] + found
    return tuple(totals)


def position_derivatives(
    positions: Array, grids: Sequence[QGrid], cotangents: Sequence[Array], *, route: Route, model: ScatteringModel
) -> Array:
    """Derivative ``(n, 3)`` of ``Re Σ_Q conj(g) F`` with respect to each position, summed over the grids.

    ``Im[Σ_Q g(Q) Q exp(−iQ·r_j)]``: the adjoint transform of the cotangents g, once for each component of Q.
    """
    pieces = []
    for part in _parts(positions, grids[0]):
        total = 0.0 * positions[part]
        for shared in _sharing(grids):
            apply = _transform(positions[part], grids[shared[0]], 2, route, model)
            for index in shared:
                centre = constant_like(grids[index].centre, positions)
                turn = unit_phase(-(positions[part] @ centre))
                for axis, q in enumerate(grids[index].axes()):
                    modes = _cast(cotangents[index] * constant_like(q, positions), model, route)
                    total[:, axis] += (turn * apply(modes)).imag
        pieces.append(total)
    return np.concatenate(pieces) if isinstance(positions, np.ndarray) else _concatenated(pieces)


def check_route(route: str, choices: Sequence[str] = ROUTES) -> None:
    """Raise ``ValueError`` unless ``route`` is one of ``choices``."""
    if route not in choices:
        raise ValueError(f"route must be one of {', '.join(choices)}, got {route!r}")


def _transform(positions: Array, grid: QGrid, kind: int, route: Route, model: ScatteringModel) -> Apply:
    if route == "direct":
        angles = positions @ constant_like(np.ascontiguousarray(grid.step.T), positions)
        return (direct_sum.sum_over_points if kind == 1 else direct_sum.sum_over_modes)(angles, grid.shape)
    library = nufft_library(model.library, on_gpu=not isinstance(positions, np.ndarray))
    if library.by_column:
        angles = (constant_like(grid.step, positions) @ positions.T).T
    else:
        angles = positions @ constant_like(np.ascontiguousarray(grid.step.T), positions)
    if model.precision == "single":
        # Only what lies within ±π keeps its digits in float32.
        turns = angles / (2 * np.pi)
        angles = in_single((turns - turns.round()) * (2 * np.pi))
    return library.plan(angles, grid.shape, kind, model.nufft_tolerance, model.threads)


def _cast(values: Array, model: ScatteringModel, route: Route) -> Array:
    """Complex values in the precision of the transform; the direct sum knows only float64."""
    return values if model.precision == "double" or route == "direct" else in_single(values)


def _sharing(grids: Sequence[QGrid]) -> list[list[int]]:
    """Indices of the grids, those with the same steps and shape together."""
    groups: list[list[int]] = []
    for index, grid in enumerate(grids):
        for group in groups:
            first = grids[group[0]]
            if first.shape == grid.shape and np.array_equal(first.step, grid.step):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def _parts(positions: Array, grid: QGrid) -> Iterator[slice]:
    # Each part transforms the whole grid once: a part must outweigh it.
    size = max(ATOMS_AT_ONCE, 4 * int(np.prod(grid.shape)))
    return (slice(start, start + size) for start in range(0, len(positions), size))


def _concatenated(pieces: list[Array]) -> Array:
    import torch

    return torch.cat(pieces)
