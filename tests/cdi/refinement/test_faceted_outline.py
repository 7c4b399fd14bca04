"""The faces of made polyhedra are found where they are, and refused where there are none."""

import numpy as np
import pytest
import torch
from torch import Tensor

from cdi.fourier import amplitude_from_object
from cdi.pattern import Exposure
from cdi.refinement.crystal_model import CrystalModel, Modes
from cdi.refinement.faceted_outline import FacetedOutline, face_normals, faceted_outline
from cdi.refinement.fit import Fitted, fit
from cdi.refinement.likelihood import Likelihood, Observed
from cdi.refinement.object_model import Box

torch.set_num_threads(1)

SHAPE = (28, 26, 32)
TURN = np.linalg.qr(np.array([[1.0, 0.3, -0.2], [0.1, 1.0, 0.5], [0.4, -0.3, 1.0]]))[0]
AXES = np.concatenate([np.eye(3), -np.eye(3)]) @ TURN.T
CORNER = np.array([[1, 1, 1], [-1, -1, 1]]) @ TURN.T / 3**0.5
NORMALS = np.concatenate([AXES, CORNER])
DISTANCES = np.array([4.3, 3.8, 4.9, 4.0, 4.4, 4.6, 5.2, 5.4])
FINE = 5


def polyhedron(hole: float = 0.0) -> Tensor:
    """Share of each voxel ``SHAPE`` that lies within the faces, and beyond ``hole`` voxels of an inner point."""
    offsets = (np.arange(FINE) + 0.5) / FINE - 0.5
    axes = [(np.arange(n)[:, None] - n // 2 + offsets).ravel() for n in SHAPE]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    inside = (places @ NORMALS.T <= DISTANCES).all(-1)
    inside &= np.linalg.norm(places - [1.0, 0.5, -0.5], axis=-1) >= hole
    x, y, z = SHAPE
    return torch.as_tensor(inside.reshape(x, FINE, y, FINE, z, FINE).mean((1, 3, 5)))


def refined(modulus: Tensor, voxel: np.ndarray | None = None) -> tuple[FacetedOutline, Fitted]:
    """The outline of a strained crystal of ``modulus`` from its counts, after the fit with a free modulus."""
    x = (torch.arange(SHAPE[0], dtype=torch.float64) - SHAPE[0] // 2)[:, None, None]
    density = torch.polar(modulus, (0.5 * torch.cos(0.3 * x)).expand(SHAPE))
    intensity = amplitude_from_object(density).abs().square().numpy()
    counts = np.random.default_rng(2).poisson(3e5 * intensity / intensity.max())
    likelihood = Likelihood(Observed.of([Exposure(counts.astype(np.float32))], 0.1, torch.Generator().manual_seed(0)))
    support = modulus > 0.05
    box = Box.around(support, SHAPE)
    model = CrystalModel(box, Modes.on(box, 3.0), (), box.cut(density[None]))
    fitted = fit(model, likelihood, 40)
    return faceted_outline(fitted, support, likelihood, 60, voxel), fitted


def matched(outline: FacetedOutline) -> list[tuple[int, int]]:
    """True face and found one, within 12°."""
    cosines = NORMALS @ outline.normals.T
    return [(n, int(row.argmax())) for n, row in enumerate(cosines) if row.max() > np.cos(np.deg2rad(12))]


@pytest.fixture(scope="module")
def solid() -> tuple[FacetedOutline, Fitted]:
    return refined(polyhedron())


def test_every_large_face_is_found_where_it_is(solid: tuple[FacetedOutline, Fitted]) -> None:
    """To a fraction of a voxel: the normals, read from the slopes, are what is left."""
    outline, _ = solid
    pairs = matched(outline)
    assert {n for n, _ in pairs} >= set(range(6))
    away = np.array([outline.distances[f] - DISTANCES[n] for n, f in pairs if n < 6])
    print(away.round(3), outline.errors.round(4), outline.softness)
    assert np.abs(away).max() < 0.35
    assert np.sqrt((away**2).mean()) < 0.2


def test_errors_are_positive_and_small_and_lengths_follow_the_voxels(solid: tuple[FacetedOutline, Fitted]) -> None:
    outline, _ = solid
    assert (outline.errors > 0).all()
    assert (outline.errors[[f for n, f in matched(outline) if n < 6]] < 0.01).all()
    assert (outline.errors < 0.5).all()  # a face that is farther out than the crystal bounds nothing and is not told
    larger, _ = refined(polyhedron(), 7.0 * np.eye(3))
    np.testing.assert_allclose(larger.normals, outline.normals, atol=1e-9)
    np.testing.assert_allclose(larger.distances, 7 * outline.distances, rtol=1e-6)
    np.testing.assert_allclose(larger.errors, 7 * outline.errors, rtol=1e-4)
    assert larger.softness == pytest.approx(7 * outline.softness)


def test_a_crystal_with_a_hole_is_no_polyhedron_of_one_density(solid: tuple[FacetedOutline, Fitted]) -> None:
    """By far more than what the outline of a solid one misses."""
    outline, _ = solid
    hollow, _ = refined(polyhedron(hole=2.2))
    assert hollow.difference.rejects
    assert hollow.difference.value > 5 * max(outline.difference.value, 1.0)


def test_normals_follow_skewed_voxels() -> None:
    """The same polyhedron in space, on voxel vectors that are neither orthogonal nor alike."""
    metric = np.array([[1.1, 0, 0], [0.2, 0.9, 0], [-0.1, 0.15, 1.0]])
    axes = [np.arange(n) - n // 2 for n in SHAPE]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), -1) @ metric
    modulus = (places @ NORMALS.T <= DISTANCES).all(-1).astype(float)
    found = face_normals(modulus, modulus > 0, metric)
    cosines = (AXES @ found.T).max(1)
    assert (cosines > np.cos(np.deg2rad(10))).all()


def test_a_slab_that_closes_no_volume_is_refused() -> None:
    modulus = torch.zeros(SHAPE, dtype=torch.float64)
    modulus[11:15] = 1.0
    fitted = Fitted(modulus[None] + 0j, torch.zeros(1, 3), 1.0, torch.zeros(4))
    likelihood = Likelihood(Observed.of([Exposure(np.ones(SHAPE, np.float32))], 0.1, torch.Generator().manual_seed(0)))
    with pytest.raises(ValueError, match="an outline must have at least 4 faces, 2 show"):
        faceted_outline(fitted, modulus > 0, likelihood, 5)
