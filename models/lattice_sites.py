"""Displacement and lattice sites from the phases of three reflections or more. Free of torch.

Each phase is G·u modulo 2π, up to a constant. Three reflections that are not coplanar fix u up to a translation and
modulo the vectors d with G·d/2π whole for every reflection. These are lattice vectors where the reflections generate
the reciprocal lattice (``reflections_fix_sites``): then the set of sites R + u(R) has nothing left to unwrap.
"""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.lattices.lattice import Lattice
from cdi.pattern import Reflection

Array = NDArray[np.float64]

BRANCHES = np.array(list(product((-1.0, 0.0, 1.0), repeat=3)))
CONSISTENT = 0.5
"""Radians rms by which a branch may fit the phases worse than the best one and still be taken for being shorter."""
OUTLYING = 1.0
"""Radians from the mean beyond which a voxel has no say in a phase constant."""
ROUNDS = 5
"""Of branches and phase constants in turn."""
COPLANAR = 1e-6
"""Volume of three reflections, over the cube of the longest, up to which they lie in a plane."""
CHUNK = 20_000
"""Sites interpolated at once."""
_STENCIL = np.array(list(product((-1, 0, 1, 2), repeat=3)))
_INNER = ((_STENCIL == 0) | (_STENCIL == 1)).all(1)


def displacement(phasors: NDArray[np.complexfloating], G: ArrayLike, support: ArrayLike) -> Array:
    """u ``(3, x, y, z)`` in Å, zero outside of the support, that gives ``phasors`` their phases.

    Everywhere that branch which is nearest to one rigid shift of the whole crystal: the shift that gives each of
    three reflections its circular mean phase over the support. Across the cut of a dislocation u jumps by a vector
    that no phase sees, wherever the branch happens to change. With more than three reflections the others' phase
    constants are fitted, branches are those on which all reflections agree, and u is the least-squares solution.

    Parameters
    ----------
    phasors : (R, x, y, z) complex
        exp(iG·u) of each reflection, times anything positive.
    G : (R, 3)
        Å⁻¹, laboratory frame.
    support : (x, y, z)
        Fraction of each voxel within the crystal.

    Raises
    ------
    ValueError
        If shapes disagree, the reflections are coplanar, or the support is empty.
    """
    vectors, weight = np.asarray(G, np.float64), np.asarray(support, np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != 3 or phasors.shape != (len(vectors), *weight.shape) or weight.ndim != 3:
        raise ValueError(
            f"phasors must be (R, x, y, z) for G (R, 3) and support (x, y, z), got {phasors.shape}, "
            f"{vectors.shape}, {weight.shape}"
        )
    inside = weight > 0
    if not inside.any():
        raise ValueError("support must hold at least one voxel, got none")
    three = _basis(vectors)
    phase, share = np.asarray(np.angle(phasors[:, inside]), np.float64), weight[inside]
    constant = _circular_mean(phase, share)
    relative = _wrapped(phase - constant[:, None])
    inverse = np.asarray(np.linalg.inv(vectors[three]), np.float64)
    moved = _nearest_branches(inverse, vectors, relative, three, share)
    u = np.zeros((3, *weight.shape))
    u[:, inside] = moved + (inverse @ constant[three])[:, None]
    return u


def reflections_fix_sites(lattice: Lattice, reflections: Sequence[Reflection]) -> bool:
    """Whether phases of ``reflections`` fix every site: whether they generate the reciprocal lattice.

    The index of what they generate within all Miller indices is the greatest common divisor of their 3 × 3 minors,
    that of the reciprocal lattice is the number of centrings of the cell.
    """
    minors = [round(abs(np.linalg.det(np.asarray(three, np.float64)))) for three in combinations(reflections, 3)]
    return int(np.gcd.reduce(np.asarray([0, *minors]))) == len(lattice.translations)


def lattice_sites(
    u: Array,
    support: ArrayLike,
    voxel: ArrayLike,
    lattice: Lattice,
    orientation: ArrayLike,
    *,
    most: int = 200_000,
    region: tuple[ArrayLike, float] | None = None,
) -> Array:
    """Positions ``(n, 3)`` in Å, R + u(R), of the lattice's sites R within the crystal.

    Between voxels u is interpolated from its differences to the nearest voxel, each taken modulo lattice
    vectors: a jump by one, as ``displacement`` makes, changes no site. The perfect lattice has a site of its cell at
    the origin; where the reflections are short of three, there is no u to ask with.

    Parameters
    ----------
    u : (3, x, y, z)
        Å, laboratory frame.
    support : (x, y, z)
        Fraction of each voxel within the crystal; sites lie where it is at least one half.
    voxel : (3, 3)
        Row i is the vector of a voxel along axis i in Å, origin at ``N // 2``.
    lattice : Lattice
    orientation : (3, 3)
        Rotation from crystal axes to the laboratory.
    most : int
        Of a larger crystal the sites nearest to the region's point, or to the crystal's centroid.
    region : (point (3,), radius) in Å or None
        The ball that is asked for.

    Raises
    ------
    ValueError
        If shapes disagree, ``most`` or the radius is not positive, or the support holds no site.
    """
    inside, rotation = np.asarray(support, np.float64), np.asarray(orientation, np.float64)
    rows = np.asarray(voxel, np.float64)
    if inside.ndim != 3 or u.shape != (3, *inside.shape):
        raise ValueError(f"u must have shape (3, x, y, z) for a support (x, y, z), got {u.shape}, {inside.shape}")
    if most < 1 or (region is not None and not region[1] > 0):
        raise ValueError(f"most and the region's radius must be positive, got {most}, {region}")
    if not (inside >= 0.5).any():
        raise ValueError("support must hold at least one voxel, got none")
    centre = np.asarray(inside.shape) // 2
    places = (np.argwhere(inside >= 0.5) - centre) @ rows
    point = places.mean(0) if region is None else np.asarray(region[0], np.float64)
    reach = float(np.linalg.norm(places - point, axis=1).max() + np.linalg.norm(rows, axis=1).sum())
    # A ball that holds as many sites as wanted, and some for its boundary; the crystal fills it or not.
    full = (1.1 * (most + 100) * lattice.cell_volume / len(lattice.sites) * 3 / (4 * np.pi)) ** (1 / 3)
    radius = min(reach, np.inf if region is None else region[1])
    whole = min(radius, full)
    return _sites_in_ball(u, inside, rows, lattice, rotation, point, whole, most)


def _sites_in_ball(
    u: Array, support: Array, voxel: Array, lattice: Lattice, rotation: Array, point: Array, radius: float, most: int
) -> Array:
    own = rotation.T @ point
    crystal_axes, _ = lattice.sites_in_box(own - radius, own + radius)
    away = np.linalg.norm(crystal_axes - own, axis=1)
    near = np.argsort(away, kind="stable")[: int((away <= radius).sum())]
    sites = crystal_axes[near] @ rotation.T
    sites = sites[_touching(sites @ np.linalg.inv(voxel) + np.asarray(support.shape) // 2, support)]
    moved = [_moved(u, support, voxel, lattice, rotation, sites[i : i + CHUNK]) for i in range(0, len(sites), CHUNK)]
    found = np.concatenate([np.empty((0, 3)), *moved])
    return found[:most]


def _touching(index: Array, support: Array) -> NDArray[np.bool_]:
    """Which of the places ``index`` (n, 3) have a voxel of the support among the eight around them."""
    touched = np.pad(support > 0, 1)
    for axis in range(3):
        both = np.moveaxis(touched, axis, 0)
        touched = np.moveaxis(both[1:] | both[:-1], 0, axis)
    cell = np.floor(index).astype(np.int64) + 1
    known = np.asarray(((cell >= 0) & (cell < touched.shape)).all(1))
    return np.asarray(known & touched[tuple(np.where(known[:, None], cell, 0).T)])


def _moved(u: Array, support: Array, voxel: Array, lattice: Lattice, rotation: Array, sites: Array) -> Array:
    """Those of ``sites`` (n, 3) that lie within the support, displaced."""
    index = sites @ np.linalg.inv(voxel) + np.asarray(support.shape) // 2
    base = np.floor(index).astype(np.int64)
    share = index - base
    corners = base[:, None] + _STENCIL
    reached = ((corners >= 0) & (corners < support.shape)).all(-1)
    at = tuple(np.moveaxis(np.where(reached[..., None], corners, 0), -1, 0))
    filled = np.where(reached, support[at], 0.0)
    linear = np.where(_INNER, np.prod(np.where(_STENCIL == 1, share[:, None], 1 - share[:, None]), -1), 0.0)
    within = (linear * filled).sum(1) >= 0.5
    sites, share, filled, linear = sites[within], share[within], filled[within], linear[within]
    # Near the surface only the voxels within are asked; elsewhere a cubic passes through all of 4 × 4 × 4.
    cubic = np.prod(_cubic(share)[:, _STENCIL + 1, np.arange(3)], -1)
    deep = (filled > 0).all(1)
    weights = np.where(deep[:, None], cubic, linear * (filled > 0))
    values = np.moveaxis(u[:, at[0][within], at[1][within], at[2][within]], 0, -1)
    reference = np.take_along_axis(values, (linear * (filled > 0)).argmax(1)[:, None, None], 1)
    differences = _least(values - reference, lattice, rotation)
    mean = (weights[..., None] * differences).sum(1) / weights.sum(1)[:, None]
    return np.asarray(sites + reference[:, 0] + mean)


def _cubic(share: Array) -> Array:
    """Lagrange's weights ``(n, 4, 3)`` of points −1, 0, 1, 2 at ``share`` (n, 3) in [0, 1)."""
    t = share
    return np.stack(
        [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ],
        1,
    )


def _least(vectors: Array, lattice: Lattice, rotation: Array) -> Array:
    """``vectors`` (..., 3) in Å, laboratory frame, less the lattice vector that leaves the least."""
    every = lattice.direction((lattice.translations + BRANCHES[:, None]).reshape(-1, 3))
    lengths = np.linalg.norm(every, axis=1)
    # What is shorter than half of the shortest lattice vector is the least already: nearly everything.
    long = (vectors**2).sum(-1) > (lengths[lengths > 1e-6].min() / 2) ** 2
    fractions = lattice.fractions(vectors[long] @ rotation)
    rest = fractions - lattice.translations[:, None]
    choices = lattice.direction(rest - np.round(rest)) @ rotation.T
    least = (choices**2).sum(-1).argmin(0)
    shortest = np.array(vectors)
    shortest[long] = choices[least, np.arange(len(least))]
    return shortest


def _basis(G: Array) -> list[int]:
    """The three that span the least volume, which leaves u the fewest branches; the shortest of these, the roundest."""
    triples = [list(three) for three in combinations(range(len(G)), 3)]
    size = np.linalg.norm(G, axis=1)
    volumes = {tuple(three): abs(np.linalg.det(G[three])) / max(size[three].max() ** 3, 1e-12) for three in triples}
    spanning = [three for three in triples if volumes[tuple(three)] > COPLANAR]
    if not spanning:
        raise ValueError(f"G must hold three reflections that are not coplanar, got {G.tolist()}")
    return min(spanning, key=lambda three: (round(abs(np.linalg.det(G[three])), 6), (size[three] ** 2).sum()))


def _nearest_branches(inverse: Array, G: Array, phase: Array, three: list[int], weight: Array) -> Array:
    """u ``(3, n)`` of least length among the branches that all phases ``(R, n)`` agree on."""
    others = [r for r in range(len(G)) if r not in three]
    choices = inverse @ (phase[three] + 2 * np.pi * BRANCHES[:, :, None])
    lengths = (choices**2).sum(1)
    chosen = lengths.argmin(0)
    everywhere = np.arange(phase.shape[1])
    u = choices[chosen, :, everywhere].T
    for _ in range(ROUNDS if others else 0):
        left = phase[others] - G[others] @ u
        constant = _circular_mean(left, weight)
        # Where the branch is wrong still, the phases left over cluster elsewhere.
        constant = _circular_mean(left, weight * (np.abs(_wrapped(left - constant[:, None])) < OUTLYING))
        told = phase[others] - constant[:, None]
        misfit = np.sqrt((_wrapped(told - G[others] @ choices) ** 2).mean(1))
        agreed = misfit <= misfit.min(0) + CONSISTENT
        chosen = np.where(agreed, lengths, np.inf).argmin(0)
        u = choices[chosen, :, everywhere].T
        both = np.concatenate([phase[three], told])
        ordered = G[[*three, *others]]
        u = u + np.linalg.pinv(ordered) @ _wrapped(both - ordered @ u)
    return u


def _circular_mean(phase: Array, weight: Array) -> Array:
    return np.asarray(np.angle((weight * np.exp(1j * phase)).sum(-1)))


def _wrapped(phase: Array) -> Array:
    return np.asarray(phase - 2 * np.pi * np.round(phase / (2 * np.pi)))
