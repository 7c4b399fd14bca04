"""The geometry of a measured rocking curve as YAML, for beamlines whose own files are not read. Free of torch."""

from dataclasses import dataclass
from pathlib import Path

from cdi.config import read_config
from cdi.geometry.diffractometer import diffractometer_named
from cdi.geometry.rocking_scan import RockingScan


@dataclass(frozen=True)
class MeasuredScan:
    """A rocking curve as it was measured; fields as ``cdi.geometry.rocking_scan.RockingScan``.

    Parameters
    ----------
    diffractometer : a key of ``cdi.geometry.diffractometer.DIFFRACTOMETERS``.
    rocking, step_deg : the circle that turned, and by how much from frame to frame, signed.
    angles_deg : readings of the circles at the middle frame ``N // 2``.
    energy_keV, distance_m, pixel_um : photon energy, sample to detector, edge of a pixel.
    axis_pixel : (row, column) where the arm's axis meets the frames as they are in the file; None: their middle.
    """

    diffractometer: str
    rocking: str
    step_deg: float
    angles_deg: dict[str, float]
    energy_keV: float
    distance_m: float
    pixel_um: float
    axis_pixel: tuple[float, float] | None = None

    def rocking_scan(self, shape: tuple[int, int, int]) -> RockingScan:
        """The scan of frames of ``shape`` (frames, rows, columns).

        Raises
        ------
        ValueError
            As ``RockingScan``.
        """
        return RockingScan(
            diffractometer_named(self.diffractometer), self.rocking, self.step_deg, dict(self.angles_deg),
            self.energy_keV, self.distance_m, self.pixel_um, shape, self.axis_pixel,
        )  # fmt: skip


def read_geometry(path: str | Path, shape: tuple[int, int, int]) -> RockingScan:
    """The scan in the YAML file ``path`` for frames of ``shape``.

    Raises
    ------
    ValueError
        For an unknown key, a wrong type or a value out of range.
    OSError
        If the file cannot be read.
    """
    return read_config(MeasuredScan, path).rocking_scan(shape)
