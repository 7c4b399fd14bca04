"""Derivatives of the amplitude: gradcheck on every route, and a crystal fitted to its pattern."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.scattering.forward import amplitudes
from cdi.scattering.model import ScatteringModel
from cdi.scattering.position_amplitude import position_amplitudes
from cdi.shapes.ball import Ball
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron

Array = NDArray[np.float64]
GOLD = Lattice.of_material("Au")
SLIP = GOLD.slip_systems()[3]


@pytest.mark.parametrize("route", ["nufft", "direct"])
def test_derivatives_with_respect_to_positions(route: str, sheared_grid: QGrid) -> None:
    """gradcheck of amplitude and intensity on two grids that share steps; two species."""
    rng = np.random.default_rng(0)
    positions = torch.as_tensor(rng.normal(size=(5, 3)) * 4).requires_grad_()
    grids = [
        QGrid(sheared_grid.centre, sheared_grid.step, (3, 4, 2)),
        QGrid(-sheared_grid.centre, sheared_grid.step, (3, 4, 2)),
    ]
    model = ScatteringModel(tolerance=1e-12)

    def both(r: Tensor) -> Tensor:
        first, second = position_amplitudes(
            r, np.array([0, 1, 0, 1, 1]), ("Ni", "Al"), grids, route=route, model=model  # type: ignore[arg-type]
        )  # fmt: skip
        return torch.cat([torch.view_as_real(first).flatten(), second.abs().square().flatten() / 10])

    assert torch.autograd.gradcheck(both, positions, atol=1e-4)


@pytest.mark.parametrize("route", ["nufft", "direct", "object"])
def test_derivatives_with_respect_to_a_dislocation(route: str, rotation: Array) -> None:
    """gradcheck in position and Burgers vector of a line in a crystal."""
    line = dislocation_on(GOLD, SLIP, character_deg=60, point=np.array([2.3, -1.1, 3.2]), orientation=rotation)
    shape = truncated_octahedron(16, rotation, ratio=1.2)
    crystal = Crystal(GOLD, shape, rotation)
    G = crystal.reflection_vector((1, 1, 1))
    grid = QGrid.orthogonal(G + 0.02, shape.extent(np.eye(3)), 2.7, (8, 7, 6))
    model = ScatteringModel(tolerance=1e-12) if route == "nufft" else ScatteringModel()

    def pattern(point: Tensor, size: Tensor) -> Tensor:
        moved = replace(line, point=point, burgers=size * line.burgers)
        (found,) = amplitudes(replace(crystal, defects=(moved,)), [((1, 1, 1), grid)], route=route, model=model)  # type: ignore[arg-type]
        return torch.view_as_real(found)[2:5, 2:5, 2:5] / 100

    point = line.point.clone().requires_grad_()
    size = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pattern, (point, size), atol=1e-5)


def test_derivatives_with_respect_to_the_shape() -> None:
    """gradcheck in the facets of a polyhedron and the radius of a ball, on the object route."""
    normals = np.concatenate([np.eye(3), -np.eye(3), np.array([[1, 1, 1]]) / 3**0.5])
    distances = torch.tensor([21.3, 18.7, 20.1, 19.2, 22.4, 17.9, 24.6], dtype=torch.float64, requires_grad=True)
    radius = torch.tensor(21.7, dtype=torch.float64, requires_grad=True)
    grid = QGrid.orthogonal(GOLD.reflection_vector((1, 1, 1)), [50.0] * 3, 2.2, (8, 7, 9))

    def pattern(d: Tensor, r: Tensor) -> Tensor:
        shapes = Polyhedron(torch.as_tensor(normals), d), Ball(r)
        found = [amplitudes(Crystal(GOLD, s), [((1, 1, 1), grid)], route="object")[0] for s in shapes]
        return torch.view_as_real(torch.stack(found))[:, 2:5, 2:5, 3:6] / 100

    assert torch.autograd.gradcheck(pattern, (distances, radius), atol=1e-5)


def test_a_parametric_crystal_is_fitted_to_a_pattern(rotation: Array) -> None:
    """Facet distances to 0.5 % and the line's place to 1 Å, from the intensities of two reflections alone."""
    true = truncated_octahedron(120, rotation, ratio=1.25)
    line = dislocation_on(GOLD, SLIP, character_deg=60, point=np.array([9.0, -5, 11]), orientation=rotation)
    crystal = Crystal(GOLD, true, rotation, (line,))
    extent = 1.15 * true.extent(np.eye(3))
    views = [
        (h, QGrid.orthogonal(crystal.reflection_vector(h), extent, 2.6, (16, 15, 17))) for h in ((1, 1, 1), (0, 0, 2))
    ]
    measured = [f.abs() for f in amplitudes(crystal, views, route="object")]
    scale = max(float(m.max()) for m in measured)
    rng = np.random.default_rng(0)
    distances = (true.distances * torch.as_tensor(1 + rng.uniform(-0.03, 0.03, 14))).requires_grad_()
    across = torch.as_tensor([3.0, -2.0], dtype=torch.float64).requires_grad_()
    axes = line.frame[:2]
    optimiser = torch.optim.LBFGS(
        [distances, across], max_iter=30, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        moved = replace(line, point=line.point + across @ axes)
        shape = Polyhedron(true.normals, distances)
        found = amplitudes(Crystal(GOLD, shape, rotation, (moved,)), views, route="object")
        error = sum(
            (((f.abs() - m) / scale).square().sum() for f, m in zip(found, measured, strict=True)), torch.zeros(())
        )
        error.backward()
        return error

    start = loss().item()
    optimiser.step(loss)
    end = loss().item()
    print(f"misfit {start:.2e} to {end:.2e}; line {across.tolist()} Å")
    assert end < 1e-4 * start
    assert float(across.detach().norm()) < 1
    # The object may be found anywhere, and the facets with it: only opposite distances together tell its size.
    sizes = (distances + distances[_opposite(true.normals)]).detach()
    np.testing.assert_allclose(sizes, true.distances + true.distances[_opposite(true.normals)], rtol=5e-3)


def _opposite(normals: Tensor) -> Tensor:
    return (normals @ normals.T).argmin(1)
