"""How far a line may be moved before the patterns object: the curvature of the likelihood at its maximum.

Fisher's information of Poisson counts is J = Σ (∂m/∂θ)(∂m/∂θ)ᵀ/m over the fitted voxels, all free numbers in it but
the blur, so that what modulus and smooth strain may make good counts as uncertainty (Laplace's approximation).
Reflections share nothing but the lines' places: each adds its own Schur complement, and one at a time is held in
memory. Where the model misses more than photon noise the inverse is multiplied by the deviance per voxel (Wedderburn,
Biometrika 61, 439, 1974). What a wrong outline or a missed line moves it by is not in there, nor in
``cdi.refinement.ensemble``.
"""

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

from cdi.refinement.crystal_model import CrystalModel
from cdi.refinement.likelihood import Likelihood, blurred, convolved, scale_and_background
from cdi.refinement.object_model import Box

STEP = 1e-3
"""Of the free numbers that move lines, in their own units, for the differences."""
DARK = 0.05
"""Photons below which a voxel tells nothing of a line or a face."""
AT_ONCE = {"cpu": 2**20, "cuda": 2**24}
"""Voxels of patterns that are made together: what a cache, or a share of a GPU's memory (100 bytes each), holds."""
PRIOR = 1.0
"""Standard deviation of a free number in its own units before any pattern: what no photon tells stays finite."""
MOST_DERIVATIVES = 2**27
"""Derivatives of one reflection that are held at once, 512 MiB: beyond it the darkest voxels are left out, and errors
come out larger."""


@torch.no_grad()
def line_errors(
    model: CrystalModel, likelihood: Likelihood, widths: Tensor, deviance: float, most: int = MOST_DERIVATIVES
) -> list[float]:
    """Root-mean-square standard error in voxels of the corners of every line, across the line."""
    if not model.lines:
        return []
    sizes = [step.numel() for step in model.steps]
    information = torch.eye(sum(sizes), dtype=torch.float64, device=widths.device) / PRIOR**2
    for reflection in range(len(likelihood.observed.counts)):
        one = slice(reflection, reflection + 1)
        derivatives = _derivatives(
            model.of_reflection(reflection), likelihood.of_reflection(reflection), widths[one], most
        )
        whole = (derivatives @ derivatives.T).double() / max(1.0, deviance)
        information += _of_places(whole, sum(sizes))
    variance = torch.linalg.inv(information).diagonal().clamp_min(0)
    return [float(part.mean().sqrt()) * model.track_scale() for part in variance.split(sizes)]


def _of_places(whole: Tensor, places: int) -> Tensor:
    """Information ``(places, places)`` about the first free numbers where the others are found too."""
    shared, between, own = whole[:places, :places], whole[places:, :places], whole[places:, places:]
    own = own + torch.eye(len(own), dtype=own.dtype, device=own.device) / PRIOR**2
    left: Tensor = shared - between.T @ torch.linalg.solve(own, between)
    return left


def _derivatives(model: CrystalModel, likelihood: Likelihood, widths: Tensor, most: int) -> Tensor:
    """∂m/∂θ/√m ``(free numbers, voxels)`` of one reflection, the lines' places first, scale and background last."""
    told = likelihood.observed
    amplitude = model.box.amplitude(model.density())
    light = blurred(amplitude.real.square() + amplitude.imag.square(), widths)
    scale, background = scale_and_background(told.counts, light, told.fitted.to(light.dtype))
    expected = scale * light + background
    of_phases, of_moduli = _density_slopes(model)
    numbers = len(of_phases) + len(of_moduli) + 2
    bright = torch.where(told.fitted & (expected > DARK), expected, 0.0).flatten()
    chosen = bright.topk(min(most // numbers, int((bright > 0).sum()))).indices
    weight = expected.flatten()[chosen].rsqrt()
    scaled = scale.flatten() * weight
    rows = torch.empty(numbers, len(chosen), device=amplitude.device)
    row = 0
    for changes in (_amplitudes(of_phases, model.box), _single_amplitudes(of_moduli, model.box)):
        for change in changes:
            slopes = convolved(2 * (amplitude.conj() * change).real, widths).flatten(1)[:, chosen]
            rows[row : row + len(slopes)] = slopes * scaled
            row += len(slopes)
    rows[-2] = light.flatten()[chosen] * scaled
    rows[-1] = background.flatten() * weight
    return rows


def _density_slopes(model: CrystalModel) -> tuple[Tensor, Tensor]:
    """∂ρ/∂θ of what moves phases ``(numbers, voxels inside)``, and of each voxel's modulus ``(voxels inside,)``."""
    density = model.density()[0, model.box.inside]
    rows = []
    for number in model.steps:
        flat = number.view(-1)
        for place in range(len(flat)):
            kept = float(flat[place])
            flat[place] = kept + STEP
            ahead = _turned(density, model)
            flat[place] = kept - STEP
            rows.append((ahead - _turned(density, model)) / (2 * STEP))
            flat[place] = kept
    weight = density.abs().square()
    slopes = model.phase_slopes()
    slopes = slopes - (slopes @ weight / weight.sum())[:, None]
    of_phases = torch.cat([torch.stack(rows), 1j * slopes * density])
    return of_phases, model.scale[0] * model.modulus[0].sigmoid() * density.sgn()


def _turned(density: Tensor, model: CrystalModel) -> Tensor:
    """``density`` with the phase that ``model`` has now, but for what no pattern sees.

    A voxel that a line's cut moves across turns by a whole 2π, and where the cut itself turns, all turn by the same.
    """
    moved = torch.polar(density.abs(), model.phase()[0])
    return moved * (moved.conj() * density).sum().sgn()


def _amplitudes(densities: Tensor, box: Box) -> Iterator[Tensor]:
    """Amplitudes of ``densities`` (n, voxels inside), some at a time."""
    for some in _parts(len(densities), box):
        yield box.amplitude(box.spread(densities[some]))


def _single_amplitudes(density: Tensor, box: Box) -> Iterator[Tensor]:
    """Amplitudes of every voxel inside by itself, some at a time: products of three plane waves."""
    x, y, z = box.axes
    places = box.inside.nonzero()
    for some in _parts(len(density), box):
        i, j, k = places[some].T
        yield torch.einsum("n,xn,yn,zn->nxyz", density[some], x[:, i], y[:, j], z[:, k])


def _parts(count: int, box: Box) -> Iterator[slice]:
    step = max(1, AT_ONCE.get(box.inside.device.type, AT_ONCE["cpu"]) // prod(box.shape))
    return (slice(begin, begin + step) for begin in range(0, count, step))
