"""Loops whose far sides close beyond the crystal, in the precision that training uses."""

import torch

from cdi.defects.dislocation_loop import DislocationLoop


def test_single_precision_points_get_the_double_precision_field() -> None:
    """A side 10⁵ Å long beside the crystal: points in float32 see the field of float64 to float32's precision."""
    corners = torch.tensor([[10.0, 70.0, 11.0], [-5.0, 122.0, 240.0], [5.3e4, 3.4e4, 5.8e4], [6.1e4, 7.3e3, -6.0e4]])
    loop = DislocationLoop(corners, torch.tensor([-0.18, 0.64, 2.81]), 0.41)
    points = 200 * torch.rand(4096, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 100
    single = points.float()
    torch.testing.assert_close(
        loop.displacement(single), loop.displacement(single.double()).float(), atol=1e-6, rtol=1e-6
    )
