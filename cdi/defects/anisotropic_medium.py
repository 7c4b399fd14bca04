"""Anisotropic elasticity: the field of a straight line from the six roots of Stroh's sextic.

Ting, Anisotropic Elasticity (1996), ch. 5 and 8, after Stroh, Phil. Mag. 3, 625 (1958); the same
theory is in Hirth & Lothe, Theory of Dislocations, 2nd ed. (1982), ch. 13, and in Bacon, Barnett
& Scattergood, Prog. Mater. Sci. 23, 51 (1980). With Q_ik = C_ijkl m_j m_l, R_ik = C_ijkl m_j n_l,
T_ik = C_ijkl n_j n_l for the axes m, n = x, y of the line's frame,

    N = [[−T⁻¹Rᵀ, T⁻¹], [RT⁻¹Rᵀ − Q, −RT⁻¹]],   N (a, l) = p (a, l),
    u = (1/π) Im Σ_α a_α (l_α·b) ln(x + p_α y)   over the three roots with Im p > 0, 2 a·l = 1.

Im p > 0 keeps every argument x + p y in the half-plane of y: the principal logarithm of each has
its cut exactly on the half-plane x < 0 of the slip plane.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cdi.defects.medium import Medium, PolarTerms, core_radius, superposed
from cdi.lattices.elasticity import VOIGT, check_stiffness
from cdi.shapes.shape import as_array, as_parameter

ILL_CONDITIONED = 1e5
"""Norm of the inverse of the six unit eigenvectors above which roots coincide, as in an isotropic medium."""
PERTURBATION = 1e-10
"""Relative change of the stiffness that parts coinciding roots."""

# One strain in all six components, of no symmetry: what resists it alone parts the roots of any line.
_STRAIN = np.array([0.62, -0.35, 0.17, 0.28, -0.51, 0.39])


@dataclass(frozen=True, eq=False)
class AnisotropicMedium(Medium):
    """A medium of any elastic symmetry.

    Fields are differentiable in the point, the Burgers vector and, unless roots coincide, in the
    line's frame, the stiffness and the orientation. Where roots coincide (an isotropic stiffness,
    lines along some axes of high symmetry) the stiffness is changed by 10⁻¹⁰ of its size, which
    changes displacements by less than 10⁻⁹ |b|; derivatives by frame, stiffness and orientation
    are then not to be trusted.

    Parameters
    ----------
    stiffness : (6, 6)
        Elastic constants in GPa (Voigt), crystal axes. Only their ratios enter displacements.
    orientation : (3, 3)
        Rotation from crystal axes to the laboratory: ``r_lab = orientation @ r_crystal``.

    Raises
    ------
    ValueError
        If the stiffness is not symmetric and positive definite, or ``orientation`` not a rotation.
    """

    stiffness: Tensor
    orientation: Tensor

    def __post_init__(self) -> None:
        check_stiffness(as_array(self.stiffness))
        turn = as_array(self.orientation)
        is_rotation = turn.shape == (3, 3) and np.allclose(turn @ turn.T, np.eye(3), atol=1e-8)
        if not is_rotation or np.linalg.det(turn) < 0:
            raise ValueError(f"orientation must be a (3, 3) rotation matrix, got {turn.tolist()}")
        object.__setattr__(self, "stiffness", as_parameter(self.stiffness))
        object.__setattr__(self, "orientation", as_parameter(self.orientation))

    def straight_line_field(self, x: Tensor, y: Tensor, burgers: Tensor, frame: Tensor) -> Tensor:
        """See ``Medium``.

        With ζ = (x − iy)²/r² and w = (1 + ip)/(1 − ip), |w| < 1,

            ln(x + py) = ln((1 − ip)/2) + ½ ln r² + iθ + ln(1 + wζ),

        of which the constant moves the crystal as a whole and is left out. Softened as the isotropic
        field is, r² → r² + core² in the logarithm and in ζ, the two agree inside the core too.
        """
        axes = frame @ self.orientation
        roots, vectors, duals = self._sextic(axes)
        # Rows (3 roots, 3 components): a (l·b)/π along the crystal's axes, then in the laboratory.
        amplitudes = vectors[:3] * (duals[:, :3] @ (burgers @ axes).to(duals))
        amplitudes = amplitudes.T @ self.orientation.T.to(amplitudes) / torch.pi
        polar = PolarTerms.at(x, y, core_radius(burgers))
        terms, coefficients = [polar.angle, polar.log_r2], [amplitudes.real.sum(0), amplitudes.imag.sum(0) / 2]
        modulus2 = polar.cos_2 * polar.cos_2 + polar.sin_2 * polar.sin_2
        for w, amplitude in zip((1 + 1j * roots) / (1 - 1j * roots), amplitudes, strict=True):
            # ζ = cos_2 − i sin_2, and 1 + wζ lies in the right half-plane.
            real = w.real * polar.cos_2 + w.imag * polar.sin_2
            imaginary = w.imag * polar.cos_2 - w.real * polar.sin_2
            terms += [torch.atan2(imaginary, 1 + real), torch.log1p(torch.add(w.abs() ** 2 * modulus2, real, alpha=2))]
            coefficients += [amplitude.real, amplitude.imag / 2]
        return superposed(terms, torch.stack(coefficients))

    def energy_factor(self, frame: Tensor) -> Tensor:
        """Tensor K ``(3, 3)`` in GPa along ``frame`` (rows x, y, ξ): E/L = b·K·b/(4π) · ln(R/r₀).

        K = −2i Σ l lᵀ, the Barnett–Lothe tensor L of Ting (1996), ch. 5 to 8; in an isotropic medium
        diag(μ/(1 − ν), μ/(1 − ν), μ). The traction of b on the slip plane is K b/(2πx).
        """
        axes = frame @ self.orientation
        _, vectors, duals = self._sextic(axes)
        tensor = 2 * (vectors[3:] @ duals[:, :3]).imag * self._scale
        return axes @ tensor @ axes.T

    @property
    def _scale(self) -> Tensor:
        """Size of the stiffness in GPa: both halves of an eigenvector are of order 1 beside it."""
        return self.stiffness.diagonal().mean()

    def _sextic(self, axes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The roots ``(3,)`` with Im p > 0, their eigenvectors ``(6, 3)`` and the duals ``(3, 6)`` of these.

        The dual of (a, l) is (l, a)/(2 a·l), but as a row of the inverse it also holds where roots
        coincide and the six eigenvectors stay independent.
        """
        stiffness = self.stiffness / self._scale
        roots, vectors, duals = _eigensystem(stiffness, axes)
        # The eigenvectors have unit length, so that their inverse alone is their condition number.
        if not float(torch.linalg.matrix_norm(duals.detach())) < ILL_CONDITIONED:
            strain = torch.as_tensor(_STRAIN).to(stiffness)
            roots, vectors, duals = _eigensystem(stiffness + PERTURBATION * torch.outer(strain, strain), axes)
        upper = roots.imag.argsort(descending=True)[:3]
        return roots[upper], vectors[:, upper], duals[upper]


def _eigensystem(stiffness: Tensor, axes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Roots ``(6,)``, eigenvectors ``(6, 6)`` in columns, and the inverse of these, not finite if they depend."""
    roots, vectors = torch.linalg.eig(_fundamental_matrix(stiffness, axes))
    duals, _ = torch.linalg.inv_ex(vectors)
    return roots, vectors, duals


def _fundamental_matrix(stiffness: Tensor, axes: Tensor) -> Tensor:
    """N ``(6, 6)`` of a line whose x and y are the first two rows of ``axes``, crystal axes (Ting 1996, sec. 5.5)."""
    tensor = stiffness[VOIGT[:, :, None, None], VOIGT[None, None]]
    contracted = torch.einsum("ijkl,mj,nl->mnik", tensor, axes[:2], axes[:2])
    Q, R, T = contracted[0, 0], contracted[0, 1], contracted[1, 1]
    inverse = torch.linalg.inv(T)
    upper = torch.cat([-inverse @ R.T, inverse], 1)
    return torch.cat([upper, torch.cat([R @ inverse @ R.T - Q, -R @ inverse], 1)])
