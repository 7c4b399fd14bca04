"""A set of patterns and the numbers that say how its voxels lie."""

from dataclasses import fields, replace

import numpy as np
import torch
from objects_by_hand import TURN, crystals

from models.pattern_set import PatternSet, geometry
from models.preprocess import GEOMETRY_FEATURES

ROTATION = torch.as_tensor(TURN)


def test_geometry_is_the_same_in_every_laboratory_frame() -> None:
    """Rotating G and voxels together changes nothing that the patterns could show."""
    patterns = crystals()
    turned = replace(patterns, G=patterns.G @ ROTATION.T, voxel=patterns.voxel @ ROTATION.T)
    torch.testing.assert_close(geometry(turned), geometry(patterns))
    only_crystal = replace(patterns, G=patterns.G @ ROTATION.T)
    assert (geometry(only_crystal) - geometry(patterns)).abs().amax() > 0.1


def test_geometry_has_no_unit_of_length() -> None:
    """Å or nm, and a longer G in the same direction: alike."""
    patterns = crystals()
    torch.testing.assert_close(geometry(replace(patterns, voxel=7 * patterns.voxel)), geometry(patterns))
    torch.testing.assert_close(geometry(replace(patterns, G=3 * patterns.G)), geometry(patterns))


def test_geometry_is_the_direction_and_the_metric() -> None:
    """By hand: G in units of the voxel vectors, the Gram matrix over its trace, and 1."""
    patterns = crystals()
    voxel, G = patterns.voxel[1].numpy(), patterns.G[1, 2].numpy()
    along = np.linalg.solve(voxel.T, G)
    gram = voxel @ voxel.T / np.trace(voxel @ voxel.T)
    expected = [*along / np.linalg.norm(along), gram[0, 0], gram[0, 1], gram[0, 2], gram[1, 1], gram[1, 2], gram[2, 2]]
    assert geometry(patterns).shape == (2, 3, GEOMETRY_FEATURES)
    np.testing.assert_allclose(geometry(patterns)[1, 2].numpy(), [*expected, 1], atol=1e-6)


def test_an_unknown_geometry_is_all_zeros() -> None:
    """Of one crystal of a batch; the other's stays."""
    patterns = crystals()
    hidden = torch.tensor([0.0, 1.0], dtype=torch.float64)
    some = replace(patterns, G=patterns.G * hidden[:, None, None], voxel=patterns.voxel * hidden[:, None, None])
    assert some.known.tolist() == [False, True]
    assert not geometry(some)[0].any()
    torch.testing.assert_close(geometry(some)[1], geometry(patterns)[1])


def test_reflections_are_chosen_in_the_order_asked_for() -> None:
    """Everything that belongs to a reflection goes with it; the crystal's voxels stay."""
    patterns = crystals()
    chosen = patterns.reflections(torch.tensor([2, 0]))
    for field in fields(PatternSet):
        whole, part = getattr(patterns, field.name), getattr(chosen, field.name)
        assert torch.equal(part, whole if field.name == "voxel" else whole[:, [2, 0]])
    assert torch.equal(chosen.to("cpu").counts, chosen.counts)
