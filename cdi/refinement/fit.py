"""A fit of a model's free numbers to patterns, stopped by the voxels that it does not see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize
from torch import Tensor

from cdi.refinement.likelihood import Likelihood
from cdi.refinement.object_model import Box

ROUND = 20
"""Iterations between two looks at the free likelihood."""
HISTORY = 20
"""Steps that L-BFGS remembers."""
EVALUATIONS = 2
"""An iteration, on average, at most."""
FIRST_WIDTH = 0.3
"""Blur in voxels of the pattern that a fit starts from."""
GAIN = 1e-3
"""Share of the free deviance that a round must win for another one to follow."""


class Model(Protocol):
    """What is fitted: an object on a box, with free numbers that require their derivative."""

    box: Box

    def parameters(self) -> list[Tensor]:
        """The free numbers."""

    def density(self) -> Tensor:
        """Complex ``(reflections, box)``."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """The best round of a fit.

    Parameters
    ----------
    density : (reflections, x, y, z) complex, on the patterns' array.
    widths : (reflections, 3) of the blur in voxels.
    deviance : per fitted voxel.
    free : (n,) deviance of every held-out voxel.
    """

    density: Tensor
    widths: Tensor
    deviance: float
    free: Tensor

    @property
    def free_deviance(self) -> float:
        """Per held-out voxel."""
        return float(self.free.mean())

    def cpu(self) -> "Fitted":
        """In the host's memory."""
        return Fitted(self.density.cpu(), self.widths.cpu(), self.deviance, self.free.cpu())


def fit(
    model: Model,
    likelihood: Likelihood,
    iterations: int,
    widths: Tensor | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Fitted:
    """``model`` fitted in place and left at the round of least free deviance; blur from ``widths`` on.

    At most ``iterations`` of L-BFGS-B without bounds (Zhu et al., ACM Trans. Math. Softw. 23, 550, 1997; scipy), on the
    deviance per voxel: its own products of vectors, some hundred an iteration, would each wait for a GPU and take a
    processor next to nothing. ``stop`` is asked before each round; once True, the fit ends as it is.
    """
    number = len(likelihood.observed.counts)
    start = torch.full((number, 3), FIRST_WIDTH, dtype=torch.float64) if widths is None else widths
    logs = start.to(likelihood.observed.counts.device).clamp_min(1e-3).log().requires_grad_()
    free_numbers = [*model.parameters(), logs]
    voxels = likelihood.observed.fitted.sum()

    def loss(numbers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        _put(numbers, free_numbers)
        value = likelihood.deviance(expected(model, likelihood, logs.exp())) / voxels
        slopes = torch.autograd.grad(value, free_numbers, allow_unused=True, materialize_grads=True)
        told = _together([value.detach(), *slopes])
        if not np.isfinite(told).all():  # far beyond any pattern: the search is to come back, not to end
            return steep, np.zeros(len(told) - 1)
        return float(told[0]), told[1:]

    best, kept = _state(model, likelihood, logs), _together(free_numbers)
    steep = 10 * abs(best.deviance) + 1
    done = 0

    def look(numbers: NDArray[np.float64]) -> bool:
        """Whether another round may win something; the best is kept."""
        nonlocal best, kept
        _put(numbers, free_numbers)
        now, before = _state(model, likelihood, logs), best.free_deviance
        if now.free_deviance < before:
            best, kept = now, numbers.copy()
        return now.free_deviance <= (1 - GAIN) * before

    def after_each(intermediate_result: OptimizeResult) -> None:  # scipy goes by the argument's name
        nonlocal done
        done += 1
        if done % ROUND == 0 and (not look(intermediate_result.x) or stop()):
            raise StopIteration

    if not stop():
        options = {
            "maxiter": iterations,
            "maxfun": EVALUATIONS * iterations,
            "maxcor": HISTORY,
            "ftol": 0.0,
            "gtol": 0.0,
        }
        found = minimize(loss, kept, jac=True, method="L-BFGS-B", callback=after_each, options=options)
        if done % ROUND:  # it came to its end between two looks
            look(found.x)
    _put(kept, free_numbers)
    return best


def expected(model: Model, likelihood: Likelihood, widths: Tensor) -> Tensor:
    """Counts ``(reflections, x, y, z)`` that ``model`` expects under a blur of ``widths``."""
    return likelihood.model(model.box.intensity(model.density()), widths)


def _together(values: Sequence[Tensor]) -> NDArray[np.float64]:
    """All numbers in one row on the host: one transfer, whatever their number."""
    return np.asarray(torch.cat([value.detach().flatten() for value in values]).cpu().numpy(), np.float64)


@torch.no_grad()
def _put(numbers: NDArray[np.float64], values: Sequence[Tensor]) -> None:
    """The inverse of ``_together``, in place."""
    parts = torch.split(torch.from_numpy(numbers).to(values[0].device), [value.numel() for value in values])
    for value, part in zip(values, parts, strict=True):
        value.copy_(part.view_as(value))


@torch.no_grad()
def _state(model: Model, likelihood: Likelihood, logs: Tensor) -> Fitted:
    counts = expected(model, likelihood, logs.exp())
    return Fitted(
        model.box.embedded(model.density()), logs.exp().detach().clone(),
        float(likelihood.deviance(counts) / likelihood.observed.fitted.sum()), likelihood.free_terms(counts),
    )  # fmt: skip
