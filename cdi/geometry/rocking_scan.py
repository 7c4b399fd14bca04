"""From detector pixels and rocking angle to scattering vectors: the diffractometer of APS 34-ID-C.

Laboratory frame, right-handed: z along the beam, y up, x = y × z (outboard). A pixel of the
detector at ``delta = gamma = 0`` lies at ``p₀ = (column · pixel, −row · pixel, distance)``
counted from the pixel on the optical axis of the arm: columns run along +x, rows downward. The
arm turns it to ``p = R_y(δ) R_x(−γ) p₀``, so

    k_f = k p/|p|,   k_i = (0, 0, k),   k = 2π/λ,   cos 2θ = cos δ cos γ on the axis.

The sample turns about the vertical, ``r(θ) = R_y(θ − θ₀) r(θ₀)``, which leaves Q·r unchanged for

    q(θ, row, column) = R_y(θ₀ − θ) (k_f − k_i),

the scattering vector in the frame of the crystal as it stands in the laboratory at the middle
frame θ₀. Hence ``∂q/∂θ = −ŷ × Q``: perpendicular to Q's horizontal part but not to the
detector plane, and the grid is sheared.

Axes and senses of rotation (δ: y+, γ: x−, θ: y+; pixel directions x+, y−, of the transposed
frame) are those of the beamline's own software (cohere, AdvancedPhotonSource: aps_34idc,
``Diffractometer_34idc`` and ``Detector_34idcTIM2``; in the notation of xrayutilities, Kriegner,
Wintersberger & Stangl, J. Appl. Cryst. 46, 1162, 2013). Free of torch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.grid import QGrid

Array = NDArray[np.float64]

HC_KEV_ANGSTROM = 12.398419843320026
"""h·c in keV Å (exact in the SI of 2019)."""


def wavelength_from_energy(energy_keV: float) -> float:
    """Wavelength in Å."""
    return HC_KEV_ANGSTROM / energy_keV


@dataclass(frozen=True)
class RockingScan:
    """A rocking curve: equidistant theta, detector arm at rest.

    Parameters
    ----------
    energy_keV, distance_m, pixel_um : photon energy, sample to detector, edge of a square pixel.
    delta_deg, gamma_deg : the arm's angles, pointing at ``axis_pixel``.
    theta_step_deg : rotation about the vertical from frame to frame, signed.
    shape : (frames, rows, columns)
    axis_pixel : (row, column) on the arm's axis; None means the middle of the frame.

    Raises
    ------
    ValueError
        For a value that is not finite, not positive, or a step of zero.
    """

    energy_keV: float
    distance_m: float
    pixel_um: float
    delta_deg: float
    gamma_deg: float
    theta_step_deg: float
    shape: tuple[int, int, int]
    axis_pixel: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("energy_keV", "distance_m", "pixel_um"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("delta_deg", "gamma_deg", "theta_step_deg"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        if self.theta_step_deg == 0:
            raise ValueError("theta_step_deg must not be 0: one angle is no rocking curve")

    def q(self, frame: ArrayLike, row: ArrayLike, column: ArrayLike) -> Array:
        """Exact q ``(..., 3)`` in Å⁻¹ of (fractional) frame, row and column indices."""
        frames, rows, columns = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (frame, row, column)))
        axis_row, axis_column = self._axis
        pixel = self.pixel_um * 1e-6
        flat = np.stack(
            [(columns - axis_column) * pixel, (axis_row - rows) * pixel, np.full(rows.shape, self.distance_m)], -1
        )
        along = flat @ (_about_y(np.radians(self.delta_deg)) @ _about_x(-np.radians(self.gamma_deg))).T
        k = 2 * np.pi / wavelength_from_energy(self.energy_keV)
        transfer = k * (along / np.linalg.norm(along, axis=-1, keepdims=True) - np.array([0.0, 0.0, 1.0]))
        turned = np.radians(self.theta_step_deg) * (frames - self.shape[0] // 2)
        return np.asarray(np.einsum("...ij,...j->...i", _about_y(-turned), transfer))

    def grid(self) -> QGrid:
        """The tangent of the exact mapping at the voxel ``N // 2``: rows of ``step`` are its derivatives."""
        centre = np.array([n // 2 for n in self.shape], np.float64)
        half = 0.5 * np.eye(3)
        step = np.stack([self.q(*(centre + h)) - self.q(*(centre - h)) for h in half])
        return QGrid(self.q(*centre), step, self.shape)

    @property
    def _axis(self) -> tuple[float, float]:
        return self.axis_pixel if self.axis_pixel is not None else ((self.shape[1] - 1) / 2, (self.shape[2] - 1) / 2)


def _about_y(angle: ArrayLike) -> Array:
    """Right-handed rotation(s) ``(..., 3, 3)`` about y: z turns toward x."""
    c, s = np.cos(angle), np.sin(angle)
    zero, one = np.zeros_like(c), np.ones_like(c)
    return np.stack([np.stack([c, zero, s], -1), np.stack([zero, one, zero], -1), np.stack([-s, zero, c], -1)], -2)


def _about_x(angle: float) -> Array:
    """Right-handed rotation ``(3, 3)`` about x: y turns toward z."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
