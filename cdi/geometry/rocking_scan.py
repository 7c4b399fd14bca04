"""From detector pixels and rocking angle to scattering vectors, and back, on any diffractometer.

Laboratory frame, right-handed: z along the beam, y up, x = y × z. With the arm at zero a pixel lies
at ``p₀ = distance ẑ + (row − row₀) pixel r̂ + (column − column₀) pixel ĉ``, counted from the pixel on
the arm's axis, where the direct beam falls; the arm's circles turn it to p, and

    k_f = k p/|p|,   k_i = k ẑ,   k = 2π/λ.

Rocking one circle turns the sample about an axis â that the circles outside it carry. Q·r is
unchanged if q turns with the sample, so that in laboratory axes, with the crystal as it stands at
the middle frame, frame n (turned by t = (n − n₀) step) measures

    q(n, row, column) = R_â(−t) (k_f − k_i).

Hence ``∂q/∂t = −â × Q``: not perpendicular to the detector, and the grid is sheared. Circles inside
the rocking one do not enter. Backward, ``Q = R_â(t) q`` must lie on the Ewald sphere,
``2 k_i·Q + |q|² = 0``: one equation ``A cos t + B sin t = D`` with two solutions (the rotation
method: Milch & Minor, J. Appl. Cryst. 7, 502, 1974). Free of torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdi.geometry.diffractometer import DIRECTIONS, Diffractometer, turned
from cdi.grid import QGrid

Array = NDArray[np.float64]

HC_KEV_ANGSTROM = 12.398419843320026
"""h·c in keV Å (exact in the SI of 2019)."""


def wavelength_from_energy(energy_keV: float) -> float:
    """Wavelength in Å."""
    return HC_KEV_ANGSTROM / energy_keV


@dataclass(frozen=True)
class RockingScan:
    """A rocking curve: one sample circle in equal steps, everything else at rest.

    Parameters
    ----------
    diffractometer : its circles and the detector's orientation.
    rocking : name of the circle that turns.
    step_deg : its rotation from frame to frame, signed.
    angles_deg : readings of the circles at the middle frame ``N // 2``; one left out stands at its zero.
    energy_keV, distance_m : photon energy, sample to detector along the arm.
    pixel_um : edge of a square pixel, or the pitch (from row to row, from column to column).
    shape : (frames, rows, columns)
    axis_pixel : (row, column) on the arm's axis, fractional, may lie outside; None means the middle of the frame.

    Raises
    ------
    ValueError
        For a value that is not finite or not positive, a step of zero, an unknown circle (with the nearest
        name) or one that moves the arm as well.
    """

    diffractometer: Diffractometer
    rocking: str
    step_deg: float
    angles_deg: Mapping[str, float] = field(hash=False)
    energy_keV: float
    distance_m: float
    pixel_um: float | tuple[float, float]
    shape: tuple[int, int, int]
    axis_pixel: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("energy_keV", "distance_m", "pixel_um"):
            value = np.asarray(getattr(self, name), np.float64)
            if not (np.isfinite(value) & (value > 0)).all():
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if np.shape(self.pixel_um) not in ((), (2,)):
            raise ValueError(f"pixel_um must be one edge or (row, column) pitches, got {self.pixel_um}")
        if not np.isfinite(self.step_deg):
            raise ValueError(f"step_deg must be finite, got {self.step_deg}")
        if self.step_deg == 0:
            raise ValueError("step_deg must not be 0: one angle is no rocking curve")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape must be (frames, rows, columns), all positive, got {self.shape}")
        if np.shape(self.arm_pixel) != (2,) or not np.isfinite(self.arm_pixel).all():
            raise ValueError(f"axis_pixel must be two finite numbers (row, column), got {self.axis_pixel}")
        self.diffractometer.rocking_axis(self.rocking, self.angles_deg)
        object.__setattr__(self, "angles_deg", self.diffractometer.positions(self.angles_deg))

    @property
    def wavenumber(self) -> float:
        """k = 2π/λ in Å⁻¹."""
        return 2 * np.pi / wavelength_from_energy(self.energy_keV)

    @property
    def rocking_axis(self) -> Array:
        """Unit vector ``(3,)`` about which the sample turns, in the laboratory."""
        return self.diffractometer.rocking_axis(self.rocking, self.angles_deg)

    @property
    def arm_pixel(self) -> tuple[float, float]:
        """(row, column) on the arm's axis: ``axis_pixel`` or the middle of the frame."""
        return self.axis_pixel if self.axis_pixel is not None else ((self.shape[1] - 1) / 2, (self.shape[2] - 1) / 2)

    @property
    def sample_rotation(self) -> Array:
        """Rotation ``(3, 3)`` from the frame of the sample to the laboratory at the middle frame.

        A crystal whose orientation is U with all circles at zero stands at ``sample_rotation @ U``
        when the scan's q is measured.
        """
        return self.diffractometer.from_sample(np.eye(3), self.angles_deg).T

    def exit_direction(self, row: ArrayLike, column: ArrayLike) -> Array:
        """Unit vectors ``(..., 3)`` from the sample to (fractional) pixels."""
        ray = self._ray(row, column)
        return np.asarray(ray / np.linalg.norm(ray, axis=-1, keepdims=True))

    def q(self, frame: ArrayLike, row: ArrayLike, column: ArrayLike) -> Array:
        """Exact q ``(..., 3)`` in Å⁻¹ of (fractional) frame, row and column indices, broadcast together."""
        transfer = self.wavenumber * (self.exit_direction(row, column) - self._beam)
        turn = np.radians(self.step_deg) * (np.asarray(frame, np.float64) - self.shape[0] // 2)
        return turned(transfer, self.rocking_axis, -turn)

    def indices(self, q: ArrayLike) -> tuple[Array, Array, Array]:
        """Exact (fractional) frame, row and column ``(...)`` at which q ``(..., 3)`` in Å⁻¹ is measured.

        NaN where no one angle brings q to the Ewald sphere (|q| > 2k among them) or the ray leaves away
        from the detector's plane. Of the two angles that do, the one nearer to the middle frame. The
        result may lie outside the frames.

        Raises
        ------
        ValueError
            If q has another shape or is not finite.
        """
        turns = self.turns_onto_sphere(q)
        scattered = turned(q, self.rocking_axis, turns) / self.wavenumber + self._beam
        row, column = self._pixel_of(scattered)
        distance = np.where(np.isnan(row), np.inf, np.abs(turns))
        nearest = np.argmin(distance, axis=0)[None]
        turn, row, column = (np.take_along_axis(a, nearest, 0)[0] for a in (turns, row, column))
        turn = np.where(np.isnan(row), np.nan, turn)
        return turn / np.radians(self.step_deg) + self.shape[0] // 2, row, column

    def turns_onto_sphere(self, q: ArrayLike) -> Array:
        """Both rotations ``(2, ...)`` in radians, from the middle frame, that bring q ``(..., 3)`` to the Ewald sphere.

        ``A cos t + B sin t = −|q|²/2 − C`` with A = k_i·q − C, B = k_i·(â × q), C = (k_i·â)(â·q); NaN where
        there is none, or where every turn does (an axis along the beam or along q).

        Raises
        ------
        ValueError
            If q has another shape or is not finite.
        """
        q = np.asarray(q, np.float64)
        if q.shape[-1:] != (3,) or not np.isfinite(q).all():
            raise ValueError(f"q must be finite with shape (..., 3), got shape {q.shape}")
        axis, incident = self.rocking_axis, self.wavenumber * self._beam
        along = (incident @ axis) * (q @ axis)
        cosine, sine = q @ incident - along, np.cross(axis, q) @ incident
        with np.errstate(invalid="ignore", divide="ignore"):
            swing = np.hypot(cosine, sine)
            swing = np.where(swing > 1e-12 * self.wavenumber * np.linalg.norm(q, axis=-1), swing, np.nan)
            ratio = (-(q**2).sum(-1) / 2 - along) / swing
            # Where the rock touches the sphere rounding must not lose a q that was measured.
            half = np.where(np.abs(ratio) < 1 + 1e-12, np.arccos(np.clip(ratio, -1, 1)), np.nan)
        turns = np.arctan2(sine, cosine) + np.stack([half, -half])
        return np.asarray(np.remainder(turns + np.pi, 2 * np.pi) - np.pi)

    def grid(self) -> QGrid:
        """The tangent of the exact mapping at the voxel ``N // 2``: rows of ``step`` are its derivatives."""
        frame, row, column = (n // 2 for n in self.shape)
        centre, ray = self.q(frame, row, column), self._ray(row, column)
        away = ray / np.linalg.norm(ray)
        edges = self._in_laboratory(np.stack([self._row_edge, self._column_edge]))
        across = (edges - (edges @ away)[:, None] * away) * self.wavenumber / np.linalg.norm(ray)
        rock = -np.cross(self.rocking_axis, centre) * np.radians(self.step_deg)
        return QGrid(centre, np.stack([rock, *across]), self.shape)

    def binned(self, frames: int = 1, rows: int = 1, columns: int = 1) -> "RockingScan":
        """The scan after summing blocks of ``frames × rows × columns`` voxels, incomplete ones cut off.

        Its q refer to the crystal at its own middle frame, which lies between frames of this scan.

        Raises
        ------
        ValueError
            If a factor is not a positive integer or exceeds the shape.
        """
        factors = (frames, rows, columns)
        if any(int(f) != f or not 1 <= f <= n for f, n in zip(factors, self.shape, strict=True)):
            raise ValueError(f"binning must be integers from 1 to {self.shape}, got {factors}")
        shape = (self.shape[0] // frames, self.shape[1] // rows, self.shape[2] // columns)
        middle = frames * (shape[0] // 2) + (frames - 1) / 2
        turned_deg = self.step_deg * (middle - self.shape[0] // 2)
        row_edge, column_edge = np.broadcast_to(self.pixel_um, 2)
        return replace(
            self,
            step_deg=self.step_deg * frames,
            angles_deg={**self.angles_deg, self.rocking: self.angles_deg[self.rocking] + turned_deg},
            pixel_um=(float(row_edge * rows), float(column_edge * columns)),
            shape=shape,
            axis_pixel=((self.arm_pixel[0] - (rows - 1) / 2) / rows, (self.arm_pixel[1] - (columns - 1) / 2) / columns),
        )

    @property
    def _beam(self) -> Array:
        return DIRECTIONS[self.diffractometer.beam]

    @property
    def _row_edge(self) -> Array:
        """From one row to the next in metres, arm at zero."""
        return np.asarray(DIRECTIONS[self.diffractometer.rows] * np.broadcast_to(self.pixel_um, 2)[0] * 1e-6)

    @property
    def _column_edge(self) -> Array:
        return np.asarray(DIRECTIONS[self.diffractometer.columns] * np.broadcast_to(self.pixel_um, 2)[1] * 1e-6)

    def _in_laboratory(self, vectors: Array) -> Array:
        return self.diffractometer.from_arm(vectors, self.angles_deg)

    def _ray(self, row: ArrayLike, column: ArrayLike) -> Array:
        """From the sample to pixels, ``(..., 3)`` in metres."""
        down = (np.asarray(row, np.float64) - self.arm_pixel[0])[..., None] * self._row_edge
        across = (np.asarray(column, np.float64) - self.arm_pixel[1])[..., None] * self._column_edge
        return self._in_laboratory(self.distance_m * self._beam + down + across)

    def _pixel_of(self, direction: Array) -> tuple[Array, Array]:
        """Fractional row and column that rays along ``direction`` (..., 3) meet; NaN for those that leave."""
        components = direction @ self._in_laboratory(np.stack([self._beam, self._row_edge, self._column_edge])).T
        forward = np.where(components[..., 0] > 0, components[..., 0], np.nan)
        edges = np.array([self._row_edge @ self._row_edge, self._column_edge @ self._column_edge])
        row, column = np.moveaxis(components[..., 1:] / edges * (self.distance_m / forward)[..., None], -1, 0)
        return row + self.arm_pixel[0], column + self.arm_pixel[1]
