"""What a picture in three dimensions shows: a surface, lines, their Burgers vectors. Free of torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cdi.surface import Surface

Array = NDArray[np.float64]

ARROW = 0.18
"""Length of the arrow of a Burgers vector over the extent of what is shown: atoms are too small to draw it to scale."""


@dataclass(frozen=True, eq=False)
class DrawnLine:
    """A line: ``points`` (n, 3) in the picture's unit, ``burgers`` (3,) in any unit or None, and its label."""

    points: Array
    burgers: Array | None = None
    label: str = ""


@dataclass(frozen=True, eq=False)
class DrawnCrystal:
    """A crystal to be drawn.

    Parameters
    ----------
    title : str
    surfaces : Surface of the crystal by name, one a reflection (its phase on it), or one of the shape alone.
    lines : dislocation lines within.
    unit : of every length.
    """

    title: str
    surfaces: dict[str, Surface]
    lines: tuple[DrawnLine, ...] = ()
    unit: str = "Å"

    @property
    def bounds(self) -> Array:
        """Lowest and highest corner ``(2, 3)`` of everything.

        Raises
        ------
        ValueError
            If there is nothing to draw.
        """
        every = [surface.vertices for surface in self.surfaces.values()] + [line.points for line in self.lines]
        if not every:
            raise ValueError(f"{self.title} must have a surface or a line to draw, it has none")
        points = np.concatenate(every)
        return np.stack([points.min(0), points.max(0)])

    def arrow(self, line: DrawnLine) -> tuple[Array, Array] | None:
        """Start and end of the arrow of a line's Burgers vector, from the line's middle; None where it is unknown."""
        if line.burgers is None or not np.linalg.norm(line.burgers) > 0:
            return None
        middle = line.points[len(line.points) // 2]
        reach = ARROW * float(np.ptp(self.bounds, axis=0).max())
        along = line.burgers / np.linalg.norm(line.burgers) * reach
        return middle, middle + along
