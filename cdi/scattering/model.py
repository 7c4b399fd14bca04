"""How a crystal scatters and how exactly that is computed: one value for every route. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from cdi.lattices.materials import check_element
from cdi.scattering.debye_waller import debye_b_factor

Precision = Literal["double", "single"]

DEFAULT_ENERGY_KEV = 9.0
NUFFT_TOLERANCE = {"double": 1e-9, "single": 1e-5}
FINEST_TOLERANCE = {"double": 1e-13, "single": 2e-6}
"""What the NUFFT libraries can reach in each precision."""


@dataclass(frozen=True)
class ScatteringModel:
    """Beam, thermal motion and numerical accuracy.

    Parameters
    ----------
    energy_keV : photon energy, for the dispersion corrections.
    B_A2 : Debye–Waller factor B = 8π²⟨u²⟩ of each element in Å²; empty: atoms at rest.
    precision : "double" or "single"
        Of fields and transforms. Phases Q·r of atoms are formed in float64 in both.
    tolerance : relative error (L2) of the NUFFT; None takes that of the precision.
    library : NUFFT library by name; None takes the fastest that is installed.
    supersampling : refinement of the Bragg object's voxels per axis.
    threads : of the NUFFT on a CPU.

    Raises
    ------
    ValueError
        If a value lies out of its range.
    """

    energy_keV: float = DEFAULT_ENERGY_KEV
    B_A2: Mapping[str, float] = field(default_factory=dict)
    precision: Precision = "double"
    tolerance: float | None = None
    library: str | None = None
    supersampling: int = 2
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0.25 <= self.energy_keV <= 100:
            raise ValueError(f"energy_keV must lie within the tables, 0.25 to 100, got {self.energy_keV}")
        if self.precision not in NUFFT_TOLERANCE:
            raise ValueError(f"precision must be one of {', '.join(NUFFT_TOLERANCE)}, got {self.precision!r}")
        finest = FINEST_TOLERANCE[self.precision]
        if self.tolerance is not None and not finest <= self.tolerance < 1:
            raise ValueError(f"tolerance must lie in [{finest}, 1) in {self.precision} precision, got {self.tolerance}")
        for name, least in (("supersampling", 1), ("threads", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value}")
        for element, B in self.B_A2.items():
            check_element(element)
            if not 0 <= B < np.inf:
                raise ValueError(f"B_A2 must not be negative, got {B} for {element}")

    @classmethod
    def at_temperature(
        cls, temperature_K: float, debye_temperature_K: Mapping[str, float], **settings: Any
    ) -> "ScatteringModel":
        """The model whose B factors are those of the Debye model, with the Debye temperature of each element."""
        factors = {
            element: debye_b_factor(element, temperature_K=temperature_K, debye_temperature_K=theta)
            for element, theta in debye_temperature_K.items()
        }
        return cls(B_A2=factors, **settings)

    @property
    def nufft_tolerance(self) -> float:
        """The relative error asked of the NUFFT."""
        return NUFFT_TOLERANCE[self.precision] if self.tolerance is None else self.tolerance

    def b_factor(self, element: str) -> float:
        """B in Å² of ``element``.

        Raises
        ------
        ValueError
            If other elements have one and this has not.
        """
        if self.B_A2 and element not in self.B_A2:
            raise ValueError(f"B_A2 must name every element of the crystal, got {', '.join(self.B_A2)}: no {element}")
        return self.B_A2.get(element, 0.0)
