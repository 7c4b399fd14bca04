"""Windings of a phase as a field, and what the dislocation density tensor makes of them."""

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from objects_by_hand import TURN, VOXEL, Array, crystal_object, indices, tube, vortex
from torch import Tensor

from cdi.ambiguity import inverted, twin
from cdi.lattices.lattice import Lattice
from models.windings import NYE_FEATURES, WindingHead, nye_features, nye_map, residue_field

SHAPE = (12, 13, 14)
GOLD = Lattice.of_material("Au")
THREE = ((1, 1, 1), (1, -1, 1), (2, 0, 0))


def field(phase: Array) -> Array:
    return residue_field(torch.as_tensor(np.exp(1j * phase))[None])[0].numpy()


@pytest.mark.parametrize("winding", [1, -1, 2])
@pytest.mark.parametrize("direction", [(0, 0, 1), (0.1, -0.2, 1), (1, 0.3, -0.4), (-0.2, -1, 0.1)])
def test_every_slab_is_pierced_by_the_winding(winding: int, direction: tuple[float, float, float]) -> None:
    """The flux through each plane across the line is its winding, in the sense of its direction (Stokes)."""
    axis = int(np.abs(direction).argmax())
    found = field(vortex(SHAPE, (0.3, -0.4, 0.2), direction, winding))[axis]
    flux = found.sum(tuple(a for a in range(3) if a != axis))
    # The line stays clear of the side walls in the inner slabs.
    np.testing.assert_allclose(flux[3:-3], winding * np.sign(direction[axis]), atol=1e-6)


def test_the_field_lies_on_the_line() -> None:
    """The mean place of the flux in every slab is where the line pierces it, within half a voxel."""
    point, direction = np.array([1.3, -0.6, 0]), np.array([0.1, -0.2, 1])
    found = field(vortex(SHAPE, point, direction))[2]
    places = indices(SHAPE)
    for k in range(2, SHAPE[2] - 2):
        mean = (found[:, :, k, None] * places[:, :, k, :2]).sum((0, 1))
        np.testing.assert_allclose(mean, (point + places[0, 0, k, 2] * direction)[:2], atol=0.5)


def test_the_field_is_the_lines_tangent_as_a_whole() -> None:
    """Σ J over the volume is winding · (end − start), in voxels."""
    direction = np.array([0.25, -0.15, 1])
    total = field(vortex(SHAPE, (0, 0, 0), direction)).sum((1, 2, 3))
    np.testing.assert_allclose(total, direction * SHAPE[2], atol=1.0)


def test_a_phase_that_winds_nowhere_has_no_field() -> None:
    """Though it runs through many turns."""
    assert not field(indices(SHAPE) @ np.array([1.1, -0.7, 0.4])).any()


def test_the_twin_winds_against_it() -> None:
    """J(r) → −J(−r): the line goes to −r₀, keeps its direction and turns its winding around."""
    density = crystal_object(shape=(9, 11, 7))[None]
    straight, other = residue_field(density), residue_field(twin(density))
    assert straight.any()
    torch.testing.assert_close(other, -inverted(straight))


def test_the_windings_head_turns_its_sign_with_the_phase() -> None:
    """The conjugate winds the other way, in the head's answer too, whatever it has learned; at first it is silent."""
    head = WindingHead(1)
    density = crystal_object()[None]
    line = torch.as_tensor(tube((8, 12, 8), (0, 0, 0), (0, 0, 1)))[None].float()
    assert not head(residue_field(density), line).any()
    torch.nn.init.normal_(head.around.weight)
    found = head(residue_field(density), line)
    assert found.abs().amax() > 0.1
    torch.testing.assert_close(head(residue_field(density.conj().resolve_conj()), line), -found)
    assert not head(residue_field(density), 0 * line).any()


def test_the_windings_head_can_say_the_winding_of_a_line() -> None:
    """Residues summed over a 5³ neighbourhood, over its length and times the tube: J = w ξ ρ on the line's axis."""
    head = WindingHead(1)
    with torch.no_grad():
        for axis in range(3):
            head.around.weight[axis, axis] = 1 / 5
    for winding in (1, -1):
        density = torch.as_tensor(np.exp(1j * vortex(SHAPE, (0.3, -0.4, 0), (0, 0, 1), winding)))[None]
        line = torch.as_tensor(tube(SHAPE, (0.3, -0.4, 0), (0, 0, 1)))[None].float()
        found = head(residue_field(density.to(torch.complex64)), line)[0]
        inner = found[:, 3:-3, 3:-3, 3:-3]
        torch.testing.assert_close(inner[2], winding * line[0, 3:-3, 3:-3, 3:-3], atol=0.05, rtol=0)
        assert inner[:2].abs().amax() < 1e-6


def seen(burgers: ArrayLike, along: ArrayLike, reflections: tuple[tuple[int, int, int], ...] = THREE) -> list[Tensor]:
    """Winding field, G and voxels of a straight line in a turned gold crystal, ``along`` in the laboratory."""
    G = GOLD.plane_normal(reflections) @ TURN.T
    b = TURN @ GOLD.direction(burgers)
    tangent = np.asarray(along) @ np.linalg.inv(VOXEL)
    tangent /= np.linalg.norm(tangent)
    flux = (
        (G @ b / (2 * np.pi))[:, None, None, None, None]
        * tangent[:, None, None, None]
        * tube(SHAPE, (0, 1, 0), tangent)
    )
    return [torch.as_tensor(flux[None]), torch.as_tensor(G[None]), torch.as_tensor(VOXEL[None])]


KNOWN = torch.tensor([True])


def features_of(winding: torch.Tensor, G: torch.Tensor, voxel: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    return nye_features(winding, nye_map(G, voxel, known))


BURGERS = (0.5, -0.5, 0)


def test_a_screw_is_marked_by_the_trace() -> None:
    """b ∥ ξ: (tr α)²/|α|² = 1 and α is symmetric."""
    winding, G, voxel = seen(BURGERS, TURN @ GOLD.direction(BURGERS))
    found = features_of(winding, G, voxel, KNOWN)[0]
    assert found.shape == (NYE_FEATURES,)
    np.testing.assert_allclose(found[:2], [1, 0], atol=1e-5)


def test_an_edge_has_no_trace() -> None:
    """b ⟂ ξ: tr α = 0 and |α − αᵀ|² = 2|α|²."""
    found = features_of(*seen(BURGERS, TURN @ np.array([1.0, 1, -2])), KNOWN)[0]
    np.testing.assert_allclose(found[:2], [0, 2], atol=1e-5)


@pytest.mark.parametrize("degrees", [20, 45, 60])
def test_the_trace_is_the_cosine_of_the_character(degrees: float) -> None:
    """cos² of the angle between b and ξ, and 2 sin² of it for the skew part."""
    b, across = np.array([1, -1, 0]) / np.sqrt(2), np.array([1, 1, -2]) / np.sqrt(6)
    along = TURN @ (np.cos(np.radians(degrees)) * b + np.sin(np.radians(degrees)) * across)
    found = features_of(*seen(BURGERS, along), KNOWN)[0]
    cosine = np.cos(np.radians(degrees)) ** 2
    np.testing.assert_allclose(found[:2], [cosine, 2 * (1 - cosine)], atol=1e-5)


def test_no_rotation_of_the_laboratory_changes_them() -> None:
    """G and voxels turned together; turned alone, they tell of another crystal."""
    winding, G, voxel = seen(BURGERS, [0.3, -1, 2])
    rotation = torch.as_tensor(TURN)
    plain = features_of(winding, G, voxel, KNOWN)
    torch.testing.assert_close(features_of(winding, G @ rotation.T, voxel @ rotation.T, KNOWN), plain)
    assert (features_of(winding, G @ rotation.T, voxel, KNOWN) - plain).abs().amax() > 0.05


def test_neither_the_sense_of_the_lines_nor_the_twin_changes_them() -> None:
    winding, G, voxel = seen(BURGERS, [0.3, -1, 2])
    plain = features_of(winding, G, voxel, KNOWN)
    torch.testing.assert_close(features_of(-winding, G, voxel, KNOWN), plain)
    odd = winding[..., 1:, :]  # no voxel is left without its image
    torch.testing.assert_close(
        features_of(-inverted(odd[..., :-1, 1:, 1:]), G, voxel, KNOWN),
        features_of(odd[..., :-1, 1:, 1:], G, voxel, KNOWN),
    )


def test_an_absent_reflection_does_not_count() -> None:
    """Whatever its winding, with G = 0."""
    winding, G, voxel = seen(BURGERS, [0.3, -1, 2])
    more = torch.cat([winding, 3 + winding[:, :1]], 1), torch.cat([G, 0 * G[:, :1]], 1)
    torch.testing.assert_close(features_of(*more, voxel, KNOWN), features_of(winding, G, voxel, KNOWN))


@pytest.mark.parametrize(("number", "rank"), [(1, 1 / 3), (2, 2 / 3), (3, 1)])
def test_the_rank_says_how_much_is_determined(number: int, rank: float) -> None:
    found = features_of(*seen(BURGERS, [0.3, -1, 2], THREE[:number]), KNOWN)[0]
    assert found[4] == pytest.approx(rank)
    assert found[5] == 1


def test_an_unknown_geometry_is_all_zeros() -> None:
    winding, G, voxel = seen(BURGERS, [0.3, -1, 2])
    assert not features_of(winding, 0 * G, 0 * voxel, torch.tensor([False])).any()


def test_no_line_gives_finite_numbers() -> None:
    winding, G, voxel = seen(BURGERS, [0.3, -1, 2])
    assert features_of(0 * winding, G, voxel, KNOWN).isfinite().all()
