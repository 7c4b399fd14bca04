"""Crystal structures by name: the conventional cell's sites, in fractions of its edges.

Sites and their names follow Kittel, Introduction to Solid State Physics, 8th ed. (2005), ch. 1.
A hexagonal cell has a₁ along x, a₂ at 120° to it, c along z (the setting of the International
Tables); hcp occupies Wyckoff position 2c of P6₃/mmc, the inversion centre at the origin.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Sites = tuple[tuple[float, float, float], ...]

_FCC: Sites = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))


def _shifted(sites: Sites, by: float) -> Sites:
    return tuple((x + by, y + by, z + by) for x, y, z in sites)


@dataclass(frozen=True)
class Structure:
    """A structure type.

    Parameters
    ----------
    system : "cubic" or "hexagonal"
    sites : fractional coordinates of every site of the conventional cell.
    species : index of each site's element in the material's list.
    rule : the reflections that it allows, in words.
    """

    system: str
    sites: Sites
    species: tuple[int, ...]
    rule: str

    def cell(self, a: float, c: float | None = None) -> Array:
        """Cell vectors as rows ``(3, 3)`` in Å from the edges ``a`` and (hexagonal) ``c`` in Å.

        Raises
        ------
        ValueError
            If ``c`` is missing in a hexagonal structure or given in a cubic one.
        """
        if (c is not None) != (self.system == "hexagonal"):
            raise ValueError(f"c must be given for hexagonal structures and only for them, got {c} ({self.system})")
        if c is None:
            return a * np.eye(3)
        return np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])


STRUCTURES: dict[str, Structure] = {
    "fcc": Structure("cubic", _FCC, (0,) * 4, "h, k, l all even or all odd"),
    "bcc": Structure("cubic", ((0, 0, 0), (0.5, 0.5, 0.5)), (0,) * 2, "h + k + l even"),
    "hcp": Structure(
        "hexagonal", ((1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75)), (0,) * 2, "not (l odd and h + 2k divisible by 3)"
    ),
    "diamond": Structure(
        "cubic", _FCC + _shifted(_FCC, 0.25), (0,) * 8, "all odd, or all even with h + k + l divisible by 4"
    ),
    "rock-salt": Structure("cubic", _FCC + _shifted(_FCC, 0.5), (0,) * 4 + (1,) * 4, "h, k, l all even or all odd"),
}
