"""Missing atoms: a cloud of vacancies with the strain that it carries, and a void. No dislocations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cdi.defects.defect import Defect, share_beyond
from cdi.shapes.shape import as_parameter


@dataclass(frozen=True, eq=False)
class VacancyCloud(Defect):
    """Vacancies with a Gaussian concentration c(r) = ``fraction`` · exp(−|r − centre|²/2 width²).

    Each vacancy is a centre of dilatation. In an infinite isotropic medium their distribution gives
    ∇·u = v c (1 + ν)/(3(1 − ν)), v the relaxation volume of a stress-free crystal (Eshelby, Solid State
    Physics 3, 79, 1956; Teodosiu, Elastic Models of Crystal Defects, 1982), and by symmetry
    u = r̂/r² ∫₀ʳ ∇·u r′² dr′. Surfaces do not relax it further.

    Parameters
    ----------
    centre : (3,)
        In Å, laboratory frame.
    width : float
        Standard deviation in Å.
    fraction : float
        Of sites empty at the centre.
    relaxation_volume : float
        v of one vacancy in atomic volumes; negative where neighbours relax inwards, as in most metals.
    poisson_ratio : float

    Raises
    ------
    ValueError
        If a number is not finite, ``width`` is not positive, ``fraction`` leaves [0, 1] or the
        Poisson ratio (-1, 0.5).
    """

    centre: Tensor
    width: Tensor
    fraction: Tensor
    relaxation_volume: Tensor
    poisson_ratio: float

    kind = "vacancy cloud"

    def __post_init__(self) -> None:
        _set_finite(self, centre=(3,), width=(), fraction=(), relaxation_volume=())
        if not float(self.width.detach()) > 0:
            raise ValueError(f"width must be positive in Å, got {float(self.width.detach())}")
        if not 0 <= float(self.fraction.detach()) <= 1:
            raise ValueError(f"fraction must lie in [0, 1], got {float(self.fraction.detach())}")
        if not -1 < self.poisson_ratio < 0.5:
            raise ValueError(f"poisson_ratio must lie in (-1, 0.5), got {self.poisson_ratio}")

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        offset = points - self.centre.to(points)
        x2 = offset.square().sum(-1, keepdim=True) / self.width.to(points) ** 2
        confined = (1 + self.poisson_ratio) / (3 * (1 - self.poisson_ratio))
        strength = confined * self.relaxation_volume.to(points) * self.fraction.to(points)
        return strength * _gaussian_within(x2) * offset

    def occupancy(self, points: Tensor, width: float = 0.0) -> Tensor:
        """See ``Defect``; the cloud is smooth, so a voxel's ``width`` changes nothing."""
        x2 = (points - self.centre.to(points)).square().sum(-1) / self.width.to(points) ** 2
        return 1 - self.fraction.to(points) * torch.exp(-x2 / 2)


@dataclass(frozen=True, eq=False)
class Void(Defect):
    """A ball without atoms of ``radius`` Å around ``centre`` (3,) Å, laboratory frame; unstrained around.

    Raises
    ------
    ValueError
        If a number is not finite or the radius is not positive.
    """

    centre: Tensor
    radius: Tensor

    kind = "void"

    def __post_init__(self) -> None:
        _set_finite(self, centre=(3,), radius=())
        if not float(self.radius.detach()) > 0:
            raise ValueError(f"radius must be positive in Å, got {float(self.radius.detach())}")

    def displacement(self, points: Tensor) -> Tensor:
        """See ``Defect``."""
        return torch.zeros_like(points)

    def occupancy(self, points: Tensor, width: float = 0.0) -> Tensor:
        """See ``Defect``."""
        away: Tensor = torch.linalg.vector_norm(points - self.centre.to(points), dim=-1)
        return share_beyond(away - self.radius.to(points), width)


def _gaussian_within(x2: Tensor) -> Tensor:
    """x⁻³ ∫₀ˣ exp(−t²/2) t² dt of x², without its cancellation at small x."""
    small = x2 < 0.01
    x = torch.where(small, 1.0, x2).sqrt()
    closed = (torch.pi / 2) ** 0.5 * torch.erf(x / 2**0.5) - x * torch.exp(-x * x / 2)
    series = 1 / 3 - x2 / 10 + x2**2 / 56 - x2**3 / 432
    return torch.where(small, series, closed / x**3)


def _set_finite(defect: Defect, **shapes: tuple[int, ...]) -> None:
    """Make each named field a finite tensor of the given shape."""
    for name, shape in shapes.items():
        value = as_parameter(getattr(defect, name))
        if value.shape != shape or not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} must be finite with shape {shape}, got {value.tolist()}")
        object.__setattr__(defect, name, value)
