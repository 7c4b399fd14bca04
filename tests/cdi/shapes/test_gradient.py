"""The written-out gradient of every shape's distance is that of autograd."""

import numpy as np
import pytest
import torch

from cdi.lattices.lattice import Lattice
from cdi.shapes.named import build_shape
from cdi.shapes.shape import Shape


@pytest.mark.parametrize("name", ["sphere", "ellipsoid", "rod", "cube", "truncated-octahedron", "wulff", "polyhedron"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradient_of_the_distance(name: str, dtype: torch.dtype) -> None:
    generator = np.random.default_rng(3)
    shape: Shape = build_shape(
        name, 120.0, lattice=Lattice.of_material("Cu"), orientation=np.eye(3), generator=generator
    )
    points = torch.as_tensor(generator.normal(size=(50, 4, 3)) * 40, dtype=dtype)
    expected = torch.func.grad(lambda sites: shape.signed_distance(sites).sum())(points)
    torch.testing.assert_close(shape.gradient(points), expected, rtol=1e-5 if dtype == torch.float32 else 1e-10,
                               atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("name", ["sphere", "ellipsoid", "rod"])
def test_the_centre_has_no_direction(name: str) -> None:
    """Where autograd's answer is 0, and a rod's axis."""
    shape = build_shape(name, 120.0, lattice=Lattice.of_material("Cu"), orientation=np.eye(3))
    found = shape.gradient(torch.zeros(1, 3, dtype=torch.float64))
    assert torch.isfinite(found).all()
    assert found.norm() < 1e-9
