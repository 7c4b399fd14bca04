"""Crystals whose densities are known, and how near a retrieval comes to them."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from cdi.crystal import Crystal
from cdi.defects.straight_dislocation import dislocation_on
from cdi.fourier import object_from_amplitude
from cdi.grid import QGrid
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure, Reflection
from cdi.retrieval.alignment import align
from cdi.scattering.object_amplitude import object_amplitudes
from cdi.shapes.polyhedron import Polyhedron, truncated_octahedron

GOLD = Lattice.of_material("Au")
ROTATION = np.asarray(Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix())
SHAPE = (27, 32, 30)
PEAK_COUNTS = 1e5


@lru_cache
def crystal(*, dislocated: bool = False, lopsided: bool = False) -> Crystal:
    """A truncated octahedron; lopsided, it has no inversion centre, so that its twin is another object."""
    shape = truncated_octahedron(300.0, ROTATION, 1.2)
    if lopsided:
        distances = torch.as_tensor(shape.distances).clone()
        distances[0] *= 0.5
        distances[3] *= 0.7
        shape = Polyhedron.centred(np.asarray(shape.normals), distances.numpy())
    system = next(s for s in GOLD.slip_systems() if abs(np.dot(s.burgers, (1, 1, 1))) > 0.5)
    line = dislocation_on(GOLD, system, character_deg=90, point=np.array([8.0, -5.0, 11.0]), orientation=ROTATION)
    return Crystal(GOLD, shape, ROTATION, (line,) if dislocated else ())


@lru_cache
def amplitude(
    *, dislocated: bool = False, lopsided: bool = False, reflection: Reflection = (1, 1, 1), ratio: float = 2.8
) -> Tensor:
    """Complex amplitude of ``SHAPE``, brightest voxel ``PEAK_COUNTS`` photons."""
    specimen = crystal(dislocated=dislocated, lopsided=lopsided)
    grid = grid_of(specimen, reflection, ratio)
    (found,) = object_amplitudes(specimen, [(reflection, grid)])
    return found * (PEAK_COUNTS**0.5 / found.abs().max())


def grid_of(specimen: Crystal, reflection: Reflection, ratio: float = 2.8) -> QGrid:
    return QGrid.orthogonal(specimen.reflection_vector(reflection), specimen.shape.extent(np.eye(3)), ratio, SHAPE)


def exposure(field: Tensor, seed: int | None = None, mask: NDArray[np.bool_] | None = None) -> Exposure:
    """Its photons: expected ones, or counted with ``seed``."""
    intensity = field.abs().square().numpy()
    counts = intensity if seed is None else np.random.default_rng(seed).poisson(intensity)
    return Exposure(counts.astype(np.float32), mask=mask)


def overlap(density: NDArray[np.complex128], field: Tensor) -> float:
    """|⟨a, b⟩| / ‖a‖‖b‖ with the true density of one reflection, within what intensity hides."""
    return align(torch.as_tensor(density)[None], object_from_amplitude(field)[None])[1].overlap
