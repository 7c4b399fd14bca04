"""Lattice sites that a prediction puts right, from the phases of reflections that span space. Free of torch.

The sites of a crystal are the points x with x − u(x) in the lattice, for every reflection G·x − φ_G(x) in 2πℤ. Phases
that differ by Δφ_G = G·δu move the site at x by δu to first order in the strain, and not at all where δu is a vector of
the lattice: the distance from a predicted site to the nearest true one is that of δu from the nearest lattice vector
(docs/benchmark.md). A voxel holds many sites with one δu, so that shares of voxels are shares of sites.

The lattice is the one that the reflections see, {t : G·t ∈ 2πℤ}. It is the crystal's own where they generate its
reciprocal lattice, and finer by the factor ``alternatives`` otherwise: what lies between is hidden.
"""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from ase.geometry import find_mic
from numpy.typing import ArrayLike, NDArray

from training.metrics.volumes import CrystalObject, wrapped

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

SITE_TOLERANCE_A = 0.5
"""Å within which a predicted site is a true one."""
PM_PER_A = 100.0


@dataclass(frozen=True)
class SiteCounts:
    """Sites of one region, in voxels of them.

    Parameters
    ----------
    squares : float
        Σ δ² in pm² over voxels that truth and prediction both have.
    common, predicted, true, right : int
        Voxels that both have, that each has, and those within 0.5 Å.
    """

    squares: float
    common: int
    predicted: int
    true: int
    right: int


@dataclass(frozen=True)
class SiteScore:
    """Sites outside and inside the cores of the true lines, and how many lattices the reflections leave open."""

    outside: SiteCounts
    inside: SiteCounts
    alternatives: int


def site_score(
    aligned: CrystalObject, true: CrystalObject, G: Array, reflections: Integers, core: Mask, primitive_volume_A3: float
) -> SiteScore | None:
    """Sites of a prediction in the truth's frame against the true ones; None where the reflections span no space.

    ``G`` (reflections, 3) in Å⁻¹ and their Miller indices ``reflections`` (reflections, 3); ``core`` (x, y, z);
    ``primitive_volume_A3`` that of the crystal's primitive cell.
    """
    basis = integer_basis(reflections)
    if len(basis) < 3:
        return None
    seen = seen_lattice(G, reflections)
    common = aligned.inside & true.inside
    distance = np.full(common.shape, np.inf)
    distance[common] = np.linalg.norm(site_shifts((aligned.phase - true.phase)[:, common], G, reflections), axis=-1)
    alternatives = round(primitive_volume_A3 / abs(float(np.linalg.det(seen))))
    outside, inside = (_counts(distance, aligned.inside & part, true.inside & part) for part in (~core, core))
    return SiteScore(outside, inside, alternatives)


def site_shifts(difference: Array, G: Array, reflections: Integers) -> Array:
    """Shift δu ``(n, 3)`` in Å of the sites of n voxels, from the ``difference`` (reflections, n) of their phases.

    Each reflection's free phase is taken out first, the circular median over the voxels: for three reflections that is
    the rigid shift of the crystal modulo its lattice. δu then has the least squares of phase over all reflections; for
    more than three what it leaves unexplained makes it worse. It is given as its shortest equal modulo the lattice.
    """
    if not difference.size:
        return np.empty((0, 3))
    phases = wrapped(difference - np.array([circular_median(each) for each in difference])[:, None])
    shifts = np.stack([_least_squares(start, phases, G) for start in _starts(phases, G, reflections)])
    misfits = (wrapped(phases - np.einsum("rj,snj->srn", G, shifts)) ** 2).sum(1)
    best = shifts[misfits.argmin(0), np.arange(phases.shape[1])]
    return np.asarray(find_mic(best, seen_lattice(G, reflections))[0])


def circular_median(phases: Array) -> float:
    """The one of ``phases`` (n,) with the least mean distance on the circle to all of them.

    That distance is linear between phases and their opposites, at which it has maxima: one of the phases has the least.
    """
    sorted_phases = np.sort(wrapped(phases))
    number, place = len(sorted_phases), np.arange(len(sorted_phases))
    twice = np.concatenate([sorted_phases, sorted_phases + 2 * np.pi])
    sums = np.concatenate([[0.0], np.cumsum(twice)])
    # From each phase on: those up to half a turn ahead, and the others, which are nearer behind.
    half = np.searchsorted(twice, sorted_phases + np.pi, side="right")
    ahead = sums[half] - sums[place] - (half - place) * sorted_phases
    behind = (place + number - half) * (sorted_phases + 2 * np.pi) - (sums[place + number] - sums[half])
    return float(sorted_phases[np.argmin(ahead + behind)])


def seen_lattice(G: Array, reflections: Integers) -> Array:
    """Basis ``(3, 3)`` in Å, rows, of {t : G·t ∈ 2πℤ for every reflection}, laboratory frame."""
    reciprocal = np.linalg.lstsq(np.asarray(reflections, np.float64), G, rcond=None)[0]
    return np.asarray(2 * np.pi * np.linalg.inv(integer_basis(reflections) @ reciprocal).T)


def integer_basis(vectors: ArrayLike) -> Integers:
    """Basis ``(rank, 3)`` of all integer combinations of ``vectors`` (n, 3), in Hermite's form (Cohen 1993, § 2.4)."""
    rows = [row for row in np.array(vectors, np.int64) if row.any()]
    basis: list[Integers] = []
    for column in range(3):
        while len(here := [row for row in rows if row[column]]) > 1:
            here.sort(key=lambda row: abs(row[column]))
            rows = [r if r is here[0] or not r[column] else r - r[column] // here[0][column] * here[0] for r in rows]
        basis += here
        rows = [row for row in rows if row.any() and not row[column]]
    return np.array(basis, np.int64).reshape(-1, 3)


def _starts(phases: Array, G: Array, reflections: Integers) -> list[Array]:
    """Shifts (n, 3) that agree with three reflections exactly, for every three of the least volume and every branch."""
    triples = [list(three) for three in combinations(range(len(G)), 3)]
    volumes = [abs(round(float(np.linalg.det(np.asarray(reflections)[three])))) for three in triples]
    least = min(volume for volume in volumes if volume)
    smallest = [three for three, volume in zip(triples, volumes, strict=True) if volume == least]
    cells = least // abs(round(float(np.linalg.det(integer_basis(reflections)))))
    turns = [2 * np.pi * np.array(branch)[:, None] for branch in product(range(cells), repeat=3)]
    exact = [np.linalg.solve(G[three], phases[three] + turn).T for three in smallest for turn in turns]
    return [np.asarray(start, np.float64) for start in exact]


def _least_squares(start: Array, phases: Array, G: Array) -> Array:
    """One step of Gauss and Newton from ``start`` (n, 3): linear once the branch of each phase is known."""
    return np.asarray(start + (np.linalg.pinv(G) @ wrapped(phases - G @ start.T)).T)


def _counts(distance: Array, predicted: Mask, true: Mask) -> SiteCounts:
    common = distance[predicted & true]
    return SiteCounts(
        squares=float((common**2).sum() * PM_PER_A**2),
        common=len(common),
        predicted=int(predicted.sum()),
        true=int(true.sum()),
        right=int((common <= SITE_TOLERANCE_A).sum()),
    )
