"""Displacement and lattice sites of a prediction: its phases, told against the lattice as it lies. Free of torch.

A pattern whose centre voxel lies at Q has an object with the phase G·u + (Q − G)·r. With G of the perfect lattice, u
holds the mean strain too; where the lattice is unknown, G is Q itself and u is told against the mean lattice.
Everything is known up to what intensity hides: a translation of the whole crystal, and the twin r → −r, u → −u.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cdi.atoms import Atoms
from cdi.lattices.lattice import Lattice
from cdi.pattern import Exposure
from models.known_crystal import KnownCrystal
from models.lattice_sites import displacement, lattice_sites, reflections_fix_sites
from models.prediction import Prediction

Array = NDArray[np.float64]

INSIDE = 0.5
"""Support from which a voxel has a displacement."""


def reflection_vectors(exposures: Sequence[Exposure], known: KnownCrystal | None) -> Array | None:
    """G ``(R, 3)`` in Å⁻¹, laboratory frame: of the lattice as it lies, else of the grids; None without either."""
    centres = [exposure.grid.centre for exposure in exposures if exposure.grid is not None]
    if len(centres) < len(exposures):
        return None
    measured = np.array(centres)
    orientation = None if known is None else known.oriented(measured)
    if known is None or orientation is None:
        return measured
    return np.array([orientation @ known.lattice.reflection_vector(hkl) for hkl in known.reflections])


def predicted_displacement(
    prediction: Prediction, exposures: Sequence[Exposure], known: KnownCrystal | None = None
) -> Array | None:
    """u ``(3, x, y, z)`` in Å, zero outside; None where fewer than three reflections, not coplanar, tell it.

    ``exposures`` are those that the prediction was made of, as the network saw them (``models.preprocess.fit_set``).
    """
    G = reflection_vectors(exposures, known)
    inside = prediction.support >= INSIDE
    if G is None or np.linalg.matrix_rank(G, tol=1e-3) < 3 or not inside.any():
        return None
    measured = np.array([exposure.grid.centre for exposure in exposures if exposure.grid is not None])
    middle = np.asarray(inside.shape) // 2
    places = (np.moveaxis(np.indices(inside.shape), 0, -1) - middle) @ prediction.voxel
    ramp = np.einsum("xyzj,rj->rxyz", places, measured - G)
    return displacement(np.exp(1j * (prediction.phase - ramp)), G, inside)


def predicted_sites(prediction: Prediction, exposures: Sequence[Exposure], known: KnownCrystal | None) -> Atoms:
    """Lattice sites of the crystal in Å, laboratory frame, with their elements.

    Raises
    ------
    ValueError
        If the lattice is unknown, fewer than three reflections that are not coplanar were measured, they leave sites
        open, or the predicted crystal is empty.
    """
    if known is None:
        raise ValueError("sites must be those of a known lattice, got none; give --element and --reflections")
    u = predicted_displacement(prediction, exposures, known)
    orientation = None if u is None else known.oriented(_centres(exposures))
    if u is None or orientation is None:
        raise ValueError(
            f"sites must come from at least three reflections that are not coplanar and a crystal that the network "
            f"sees, got {known.reflections} and {int((prediction.support >= INSIDE).sum())} voxels"
        )
    if not reflections_fix_sites(known.lattice, known.reflections):
        raise ValueError(
            f"sites must come from reflections that generate the reciprocal lattice of {known.lattice.formula}, "
            f"got {known.reflections}: they leave several lattices open"
        )
    support = (prediction.support >= INSIDE).astype(np.float64)
    elements = tuple(dict.fromkeys(known.lattice.elements))
    found = [
        lattice_sites(u, support, prediction.voxel, _sublattice(known.lattice, element), orientation)
        for element in elements
    ]
    species = np.repeat(np.arange(len(elements)), [len(sites) for sites in found])
    return Atoms(np.concatenate(found), species, elements)


def _sublattice(lattice: Lattice, element: str) -> Lattice:
    own = np.asarray(lattice.elements) == element
    return replace(lattice, sites=lattice.sites[own], elements=(element,) * int(own.sum()))


def _centres(exposures: Sequence[Exposure]) -> Array:
    return np.array([exposure.grid.centre for exposure in exposures if exposure.grid is not None])
