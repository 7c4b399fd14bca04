"""The outline of a crystal as flat faces: how far each lies from the middle, fitted through the forward model.

|ρ|(x) ∝ Π_f σ((d_f − n_f·x)/w): half spaces with one soft edge, and a density that is the same everywhere. The phase is
that of the crystal's fit. What is fitted: the distances d and the softness w. Where the faces look is read from the
fitted modulus beforehand: the slope of a flat face points one way over its whole area.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter
from torch import Tensor

from cdi.refinement.fit import Fitted, expected, fit
from cdi.refinement.hypotheses import Difference
from cdi.refinement.likelihood import Likelihood
from cdi.refinement.object_model import Box
from cdi.refinement.uncertainty import DARK

Array = NDArray[np.float64]

SMOOTHING = 0.8
"""Voxels over which the modulus is blurred before its slopes are read."""
CONE_DEG = 15.0
"""Slopes within it of a face's mean one belong to the face."""
LEAST_SHARE = 0.12
"""Of the largest face's slopes that a face must have."""
MOST_FACES = 32
STEP = 1e-3
"""In voxels, or of a logarithm, for the derivatives."""
MOST_ERROR = 0.5
"""Voxels by which a face may be uncertain: one that has moved out of the crystal bounds nothing."""


@dataclass(frozen=True, eq=False)
class FacetedOutline:
    """The outline, where the patterns have it.

    Parameters
    ----------
    normals : (faces, 3)
        Outward unit vectors in the frame of the voxel vectors.
    distances : (faces,)
        From the origin of the object, voxel ``N // 2``, in the unit of the voxel vectors. What that origin is no
        pattern tells: the sum of the distances of opposite faces is a thickness.
    errors : (faces,)
        Standard errors of the distances by the likelihood's curvature, the phase being given.
    softness : width w of the edge, in the same unit.
    difference : free deviance above that of the crystal with a modulus free on every voxel.
    fitted : Fitted
    """

    normals: Array
    distances: Array
    errors: Array
    softness: float
    difference: Difference
    fitted: Fitted


class _Outline:
    """The model that ``fit`` fits; lengths in mean voxels."""

    def __init__(self, box: Box, normals: Tensor, distances: Tensor, phase: Tensor, points: Tensor) -> None:
        self.box, self.normals, self.phase, self.points = box, normals, phase, points
        self.distances = distances.clone()
        self.softness = torch.log(torch.full((1,), 0.35, dtype=torch.float64))
        for number in self.parameters():
            number.requires_grad_()

    def parameters(self) -> list[Tensor]:
        return [self.distances, self.softness]

    def density(self) -> Tensor:
        inward = (self.distances[:, None] - self.normals @ self.points.T) / self.softness.exp()
        modulus = torch.nn.functional.logsigmoid(inward).sum(0).exp()
        return self.box.spread(torch.polar(modulus.expand_as(self.phase), self.phase))


def faceted_outline(
    fitted: Fitted, support: Tensor, likelihood: Likelihood, iterations: int, voxel: ArrayLike | None = None
) -> FacetedOutline:
    """Faces for the crystal of ``fitted``, whose modulus is free within ``support`` (x, y, z) bool.

    ``voxel`` (3, 3) in Å, row i along axis i; None: lengths in voxels.

    Raises
    ------
    ValueError
        If fewer than four faces show, which close no volume.
    """
    rows = np.eye(3) if voxel is None else np.asarray(voxel, np.float64)
    size = float(abs(np.linalg.det(rows)) ** (1 / 3))
    metric = rows / size
    modulus = fitted.density.abs().mean(0)
    normals = face_normals(modulus.numpy(), support.numpy(), metric)
    if len(normals) < 4:
        raise ValueError(f"an outline must have at least 4 faces, {len(normals)} show")
    box = _wider_box(support, likelihood.observed.shape)
    points = box.points()[box.inside] @ torch.as_tensor(metric)
    plateau = modulus[support].median()
    solid = box.cut(modulus)[box.inside] > plateau / 2
    directions = torch.as_tensor(normals)
    start = torch.stack([torch.quantile(points[solid] @ n, 0.99) for n in directions]) + 0.3
    phase = box.cut(_continued(fitted.density, support))[:, box.inside].angle()
    model = _Outline(box, directions, start, phase, points)
    found = fit(model, likelihood, iterations, fitted.widths)
    errors = _errors(model, likelihood, found).numpy()
    told = errors < MOST_ERROR
    return FacetedOutline(
        normals[told],
        model.distances.detach().numpy()[told] * size,
        errors[told] * size,
        float(model.softness.detach().exp()) * size,
        Difference.between(found.free, fitted.free),
        found,
    )


def face_normals(modulus: Array, support: NDArray[np.bool_], metric: Array) -> Array:
    """Outward unit normals ``(faces, 3)`` of the flat faces of ``modulus`` (x, y, z), the largest first.

    ``metric`` (3, 3) are the voxel vectors, row i along axis i.
    """
    smooth = gaussian_filter(np.where(support, modulus, 0.0), SMOOTHING)
    slopes = np.stack(np.gradient(smooth), -1)[binary_dilation(support)]
    outward = -slopes @ np.linalg.inv(metric).T
    weight = np.linalg.norm(outward, axis=1)
    chosen = weight > 0.2 * weight.max()
    directions, weight = outward[chosen] / weight[chosen, None], weight[chosen]
    near = np.cos(np.deg2rad(CONE_DEG))
    found: list[Array] = []
    first = 0.0
    while len(directions) and len(found) < MOST_FACES:
        within = directions @ directions.T > near
        shares = within @ weight
        place = int(shares.argmax())
        first = max(first, float(shares[place]))
        if shares[place] < LEAST_SHARE * first:
            break
        mean = weight[within[place]] @ directions[within[place]]
        mean /= np.linalg.norm(mean)
        found.append(mean)
        left = directions @ mean < near
        directions, weight = directions[left], weight[left]
    return np.array(found).reshape(-1, 3)


def _wider_box(support: Tensor, shape: tuple[int, int, int]) -> Box:
    """A voxel more than ``support`` on every side, for faces to move out to, where half of the array allows that."""
    try:
        return Box.around(torch.as_tensor(binary_dilation(support.numpy())), shape)
    except ValueError:
        return Box.around(support, shape)


def _continued(density: Tensor, support: Tensor) -> Tensor:
    """``density`` (reflections, x, y, z), outside of ``support`` that of its nearest voxel."""
    i, j, k = distance_transform_edt(~support.numpy(), return_distances=False, return_indices=True)
    return density[:, i, j, k]


@torch.no_grad()
def _errors(model: _Outline, likelihood: Likelihood, found: Fitted) -> Tensor:
    """Standard errors of the distances: Gauss–Newton with all free numbers, times the deviance per voxel.

    Scale and background follow every change, as in the fit.
    """
    counts = expected(model, likelihood, found.widths)
    bright = likelihood.observed.fitted & (counts > DARK)
    weight = counts[bright].rsqrt()
    rows = []
    for number in model.parameters():
        flat = number.view(-1)
        for place in range(len(flat)):
            kept = float(flat[place])
            flat[place] = kept + STEP
            rows.append((expected(model, likelihood, found.widths) - counts)[bright] / STEP * weight)
            flat[place] = kept
    derivatives = torch.stack(rows)
    information = derivatives @ derivatives.T / max(1.0, found.deviance)
    # A face that lies outside the others bounds nothing: no count depends on its distance.
    felt = information.diagonal() > 0
    errors = torch.full_like(information.diagonal(), torch.inf)
    inverse, singular = torch.linalg.inv_ex(information[felt][:, felt])
    if not singular:
        errors[felt] = inverse.diagonal().clamp_min(0).sqrt()
    return errors[: len(model.distances)]
