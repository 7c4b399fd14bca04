"""A rocking curve by name, for the command line: which diffractometer, how far, how finely. Free of torch."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from cdi.geometry.diffractometer import diffractometer_named
from cdi.geometry.rocking_scan import RockingScan
from cdi.geometry.scan_design import rocking_scan_for


@dataclass(frozen=True)
class ScanConfig:
    """How a reflection is scanned.

    Parameters
    ----------
    diffractometer : a key of ``cdi.geometry.diffractometer.DIFFRACTOMETERS``.
    rocking : the sample circle that turns.
    step_deg : its rotation from frame to frame, signed.
    energy_keV, distance_m, pixel_um : photon energy, sample to detector, edge of a pixel.
    shape : (frames, rows, columns); the reflection falls on the middle one.
    fixed_deg : readings of the other sample circles; one left out stands at its zero.

    Raises
    ------
    ValueError
        As for ``RockingScan``.
    """

    diffractometer: str = "34-ID-C"
    rocking: str = "theta"
    step_deg: float = 0.005
    energy_keV: float = 9.0
    distance_m: float = 0.5
    pixel_um: float = 55.0
    shape: tuple[int, int, int] = (64, 64, 64)
    fixed_deg: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._template()

    def of_reflection(self, G: ArrayLike) -> RockingScan:
        """The scan centred on G (3,) in Å⁻¹, laboratory axes with every sample circle at its zero.

        Raises
        ------
        ValueError
            If G cannot be brought to diffract by turning the rocking circle.
        """
        return rocking_scan_for(np.asarray(G, np.float64), self._template())

    def _template(self) -> RockingScan:
        middle = tuple((n // 2) for n in self.shape[1:])
        return RockingScan(
            diffractometer_named(self.diffractometer), self.rocking, self.step_deg, dict(self.fixed_deg),
            self.energy_keV, self.distance_m, self.pixel_um, self.shape, axis_pixel=(middle[0], middle[1]),
        )  # fmt: skip
