"""Burgers vectors of a traced line from what each reflection winds about it. Free of torch.

Reflection hkl winds by g·b = hkl · b, b in fractions of the cell. Measured windings carry an error; a lattice has few
Burgers vectors. Those that wind alike in every reflection stay undetermined, whatever the error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.defects.classes import character
from cdi.defects.line import DislocationLine
from cdi.identifiability import PARTIALS, SEEN
from cdi.lattices.lattice import Lattice
from cdi.lattices.slip import SLIP_FAMILIES, equivalents
from cdi.pattern import Reflection

Array = NDArray[np.float64]

PRIOR = {"perfect": 0.7, "partial": 0.3}
"""Odds of each kind, shared evenly by its vectors: a perfect line is commoner than a lone partial."""


@dataclass(frozen=True, eq=False)
class BurgersPosterior:
    """Burgers vectors that a line may have, the most probable first.

    Parameters
    ----------
    candidates : (m, 3)
        In fractions of the cell's edges, for the sense of the line that the windings are for.
    probabilities : (m,)
        They sum to 1.
    determined : bool
        Whether some reflection sees the most probable vector and no other candidate winds alike in all of them.
    """

    candidates: Array
    probabilities: Array
    determined: bool


def burgers_posterior(
    windings: ArrayLike,
    sigma: ArrayLike,
    lattice: Lattice,
    reflections: Sequence[Reflection],
    *,
    kinds: Sequence[str] = ("perfect", "partial"),
) -> BurgersPosterior:
    """What measured ``windings`` (R,) tell of a line's Burgers vector.

    P(b) ∝ prior(b) Π_r exp(−(w_r − hkl_r·b)²/2σ_r²), shared evenly by the candidates that wind alike in every
    reflection: nothing measured tells them apart.

    Parameters
    ----------
    windings : (R,)
        Measured g·b, one a reflection, for one sense of the line.
    sigma : float or (R,)
        Standard error of the windings.
    lattice : Lattice
    reflections : R Miller indices
    kinds : names of ``PRIOR``
        ``perfect``: the vectors of the structure's slip families; ``partial``: its Shockley partials, where it has any.

    Raises
    ------
    ValueError
        If the windings are not one finite number a reflection, an error is not positive, a kind is unknown, or
        the structure has no Burgers vector of these kinds.
    """
    miller = np.asarray(reflections, np.float64).reshape(-1, 3)
    measured, error = np.asarray(windings, np.float64), np.asarray(sigma, np.float64)
    if measured.shape != (len(miller),) or not len(miller) or not np.isfinite(measured).all():
        raise ValueError(f"windings must be one finite number for each of {len(miller)} reflections, got {measured}")
    if error.shape not in ((), measured.shape) or not (error > 0).all() or not np.isfinite(error).all():
        raise ValueError(f"sigma must be positive, one number or one a reflection, got {error}")
    vectors, prior = burgers_candidates(lattice, kinds)
    expected = vectors @ miller.T
    logs = np.log(prior) - (((measured - expected) / error) ** 2).sum(1) / 2
    weights = np.exp(logs - logs.max())
    alike = np.all(np.abs(expected[:, None] - expected) < SEEN, axis=-1)
    probabilities = alike @ weights / alike.sum(1)
    order = np.argsort(-probabilities, kind="stable")
    best = order[0]
    determined = bool(alike[best].sum() == 1 and (np.abs(expected[best]) > SEEN).any())
    return BurgersPosterior(vectors[order], probabilities[order] / probabilities.sum(), determined)


def burgers_candidates(lattice: Lattice, kinds: Sequence[str] = ("perfect", "partial")) -> tuple[Array, Array]:
    """Burgers vectors ``(m, 3)`` of the lattice in fractions of the cell, both senses, and their priors ``(m,)``.

    Raises
    ------
    ValueError
        If a kind is unknown, or the structure has no Burgers vector of these kinds.
    """
    for kind in kinds:
        if kind not in PRIOR:
            raise ValueError(f"kinds must be among {', '.join(PRIOR)}, got {kind!r}")
    vectors = {kind: _vectors(kind, lattice.structure, tuple(lattice.cell.ravel())) for kind in kinds}
    known = {kind: found for kind, found in vectors.items() if len(found)}
    if not known:
        raise ValueError(
            f"structure must be one of {', '.join(SLIP_FAMILIES)} to have {' or '.join(kinds)} Burgers vectors, "
            f"got {lattice.structure!r}"
        )
    prior = np.concatenate([np.full(len(found), PRIOR[kind] / len(found)) for kind, found in known.items()])
    return np.concatenate(list(known.values())), prior / prior.sum()


def line_character(burgers_lab: ArrayLike, points_A: ArrayLike) -> str:
    """``screw``, ``edge`` or ``mixed``: the angle between b (3,) and the line ``(n, 3)``, averaged over its length.

    Both in Å in one frame. Neither sense of the line nor sign of b matters.
    """
    return character(DislocationLine(np.asarray(points_A, np.float64), np.asarray(burgers_lab)).character_deg)


@lru_cache(maxsize=256)
def _vectors(kind: str, structure: str, flat: tuple[float, ...]) -> Array:
    # The first of a structure's partials is the Shockley one; Frank's and stair-rods need more than glide.
    shockley = PARTIALS.get(structure, ())[:1]
    perfect = tuple(family.burgers for family in SLIP_FAMILIES.get(structure, ()))
    images = [v for b in (perfect if kind == "perfect" else shockley) for v in equivalents(b, np.reshape(flat, (3, 3)))]
    return np.unique(np.round(np.reshape(images, (-1, 3)), 9) + 0.0, axis=0)
