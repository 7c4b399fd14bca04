"""Diffractometers as data: circles of the sample and of the detector arm, each an axis with a sense.

Laboratory frame, right-handed: z along the beam, y up, x = y × z. A circle ``"y+"`` turns
right-handed about +y, ``"x-"`` right-handed about −x; a motor at ``zero_deg`` leaves its stage as
it is. Circles are listed outermost first, so that a stage turns by ``R₁ R₂ … Rₙ`` with the
innermost applied first; the notation is that of xrayutilities (Kriegner, Wintersberger & Stangl,
J. Appl. Cryst. 46, 1162, 2013).

The senses of rows and columns are those of the detector that a beamline usually mounts; another
mounting is ``dataclasses.replace(diffractometer, columns="x-")``. Free of torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

DIRECTIONS: dict[str, Array] = {
    name + sign: factor * axis
    for name, axis in zip("xyz", np.eye(3), strict=True)
    for sign, factor in (("+", 1.0), ("-", -1.0))
}
"""Unit vectors by name: ``"y-"`` is −y."""


def turned(vectors: ArrayLike, axis: ArrayLike, angle: ArrayLike) -> Array:
    """Vectors ``(..., 3)`` turned right-handed about the unit vector ``axis`` (3,) by ``angle`` (...) in radians.

    ``v cos t + (a × v) sin t + a (a·v)(1 − cos t)`` (Rodrigues, J. Math. Pures Appl. 5, 380, 1840).
    """
    v, a, t = np.asarray(vectors, np.float64), np.asarray(axis, np.float64), np.asarray(angle, np.float64)[..., None]
    along = (v @ a)[..., None] * a
    return np.asarray(along + (v - along) * np.cos(t) + np.cross(a, v) * np.sin(t))


def checked_name(what: str, name: str, choices: Iterable[str]) -> str:
    """``name`` if it is one of ``choices``.

    Raises
    ------
    ValueError
        Otherwise, with the choices and the nearest of them.
    """
    known = tuple(choices)
    if name in known:
        return name
    folded = {choice.lower(): choice for choice in known}
    near = get_close_matches(str(name).lower(), folded, n=1, cutoff=0.4)
    hint = f" (did you mean {folded[near[0]]!r}?)" if near else ""
    raise ValueError(f"{what} must be one of {', '.join(known)}, got {name!r}{hint}")


@dataclass(frozen=True)
class Circle:
    """One rotation stage.

    Parameters
    ----------
    name : of its motor.
    axis : direction in the laboratory with all circles at zero, ``"x+"`` to ``"z-"``.
    zero_deg : reading of the motor at which the circle stands at zero.

    Raises
    ------
    ValueError
        For an unknown direction or a zero that is not finite.
    """

    name: str
    axis: str
    zero_deg: float = 0.0

    def __post_init__(self) -> None:
        checked_name(f"axis of circle {self.name}", self.axis, DIRECTIONS)
        if not np.isfinite(self.zero_deg):
            raise ValueError(f"zero_deg of circle {self.name} must be finite, got {self.zero_deg}")

    @property
    def vector(self) -> Array:
        """Unit vector ``(3,)`` of the axis."""
        return DIRECTIONS[self.axis]

    def turn(self, vectors: ArrayLike, motor_deg: float) -> Array:
        """Vectors ``(..., 3)`` turned by the circle at the reading ``motor_deg``."""
        return turned(vectors, self.vector, np.radians(motor_deg - self.zero_deg))


@dataclass(frozen=True)
class Diffractometer:
    """A sample stage and a detector arm on a common centre.

    Parameters
    ----------
    name : of the instrument.
    sample, arm : circles, outermost first. One that carries both stands in both under one name.
    rows, columns : directions of rising row and column index with the arm at zero.
    beam : direction of the incident beam.

    Raises
    ------
    ValueError
        If beam, rows and columns are not mutually perpendicular, two circles of one name differ, or
        the two innermost circles of the arm are not perpendicular to each other and to the beam.
    """

    name: str
    sample: tuple[Circle, ...]
    arm: tuple[Circle, ...]
    rows: str = "y-"
    columns: str = "x+"
    beam: str = "z+"

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "beam"):
            checked_name(name, getattr(self, name), DIRECTIONS)
        if len({d[0] for d in (self.rows, self.columns, self.beam)}) < 3:
            got = f"{self.rows}, {self.columns} and {self.beam}"
            raise ValueError(f"rows, columns and beam must be mutually perpendicular, got {got}")
        if len({c.name for c in self.circles}) < len(set(self.circles)):
            names = ", ".join(c.name for c in self.circles)
            raise ValueError(f"circles of one name must have one axis and one zero, got {names}")
        inner = [c.axis[0] for c in self.arm[-2:]]
        if len({*inner, self.beam[0]}) < 3:
            raise ValueError(
                "arm must end in two circles perpendicular to each other and to the beam, "
                f"got {', '.join(c.axis for c in self.arm)}"
            )

    @property
    def circles(self) -> tuple[Circle, ...]:
        """All circles of sample and arm; a shared one appears twice."""
        return self.sample + self.arm

    @property
    def rocking_circles(self) -> tuple[str, ...]:
        """Names of the circles that turn the sample and leave the arm at rest."""
        return tuple(c.name for c in self.sample if c not in self.arm)

    def positions(self, angles_deg: Mapping[str, float]) -> dict[str, float]:
        """Motor readings of every circle; one that ``angles_deg`` leaves out stands at its zero.

        Raises
        ------
        ValueError
            For a name that is no circle or an angle that is not finite.
        """
        readings = {c.name: float(c.zero_deg) for c in self.circles}
        for name, angle in angles_deg.items():
            checked_name(f"circle of {self.name}", name, readings)
            if not np.isfinite(angle):
                raise ValueError(f"angle of {name} must be finite, got {angle}")
            readings[name] = float(angle)
        return readings

    def from_sample(self, vectors: ArrayLike, angles_deg: Mapping[str, float]) -> Array:
        """Laboratory components ``(..., 3)`` of vectors given in the frame of the sample."""
        return _turned_by(self.sample, vectors, self.positions(angles_deg))

    def from_arm(self, vectors: ArrayLike, angles_deg: Mapping[str, float]) -> Array:
        """Laboratory components ``(..., 3)`` of vectors given in the frame of the arm."""
        return _turned_by(self.arm, vectors, self.positions(angles_deg))

    def rocking_axis(self, rocking: str, angles_deg: Mapping[str, float]) -> Array:
        """Unit vector ``(3,)`` in the laboratory about which circle ``rocking`` turns, carried by those outside it.

        Raises
        ------
        ValueError
            If the circle is unknown or moves the arm as well.
        """
        checked_name(f"rocking circle of {self.name}", rocking, self.rocking_circles)
        position = [c.name for c in self.sample].index(rocking)
        return _turned_by(self.sample[:position], self.sample[position].vector, self.positions(angles_deg))

    def arm_angles(self, direction: ArrayLike, angles_deg: Mapping[str, float]) -> dict[str, float]:
        """Readings of the two innermost arm circles that bring the arm to ``direction`` (3,), the others at rest.

        With outer axis a, inner axis b and beam z (``R_a(α) R_b(β) z``): sin β = (direction·a)/(b × z·a),
        tan α = (direction·(a × z)) / (direction·z). Of the two solutions the one with |β| ≤ 90°.
        """
        outer, inner = self.arm[-2:]
        angles = self.positions(angles_deg)
        beam = DIRECTIONS[self.beam]
        d = np.asarray(direction, np.float64) / np.linalg.norm(direction)
        for circle in self.arm[:-2]:
            d = circle.turn(d, 2 * circle.zero_deg - angles[circle.name])
        sine = (d @ outer.vector) / (np.cross(inner.vector, beam) @ outer.vector)
        beta = np.degrees(np.arcsin(np.clip(sine, -1, 1)))
        alpha = np.degrees(np.arctan2(d @ np.cross(outer.vector, beam), d @ beam))
        return {outer.name: float(alpha + outer.zero_deg), inner.name: float(beta + inner.zero_deg)}


def _turned_by(circles: tuple[Circle, ...], vectors: ArrayLike, readings: Mapping[str, float]) -> Array:
    result = np.asarray(vectors, np.float64)
    for circle in reversed(circles):
        result = circle.turn(result, readings[circle.name])
    return result


def _circles(*circles: tuple[str, str] | tuple[str, str, float]) -> tuple[Circle, ...]:
    return tuple(Circle(*circle) for circle in circles)


_TABLE = (
    # cohere (AdvancedPhotonSource), beamlines/aps_34idc: Diffractometer_34idc, Detector_34idcTIM2.
    Diffractometer(
        "34-ID-C", _circles(("theta", "y+"), ("chi", "z-"), ("phi", "y+")), _circles(("delta", "y+"), ("gamma", "x-"))
    ),
    # You, J. Appl. Cryst. 32, 614 (1999): its x (up), y (beam), z are our y, z, x. The paper has no
    # area detector: rows fall and columns run along +x, as on the other instruments.
    Diffractometer(
        "You 4S+2D",
        _circles(("mu", "y+"), ("eta", "x-"), ("chi", "z+"), ("phi", "x-")),
        _circles(("nu", "y+"), ("delta", "x-")),
    ),
    # The following: bcdi (Carnis, doi:10.5281/zenodo.3257616), experiment/diffractometer.py and beamline.py.
    Diffractometer(
        "ID01", _circles(("mu", "y-"), ("eta", "x-"), ("phi", "y-")), _circles(("nu", "y-"), ("delta", "x-"))
    ),
    Diffractometer(
        "P10",
        _circles(("mu", "y+"), ("om", "x-"), ("chi", "z+", 90.0), ("phi", "y-")),
        _circles(("gamma", "y+"), ("delta", "x-")),
        columns="x-",
    ),
    Diffractometer(
        "SIXS", _circles(("beta", "x-"), ("mu", "y+")), _circles(("beta", "x-"), ("gamma", "y+"), ("delta", "x-"))
    ),
    Diffractometer("CRISTAL", _circles(("omega", "x-"), ("phi", "y+")), _circles(("gamma", "y+"), ("delta", "x-"))),
    Diffractometer("NanoMAX", _circles(("theta", "x-"), ("phi", "y-")), _circles(("gamma", "y-"), ("delta", "x-"))),
)

DIFFRACTOMETERS: dict[str, Diffractometer] = {d.name: d for d in _TABLE}
"""Published conventions by name."""


def diffractometer_named(name: str) -> Diffractometer:
    """The diffractometer ``name`` of ``DIFFRACTOMETERS``.

    Raises
    ------
    ValueError
        If there is none, with the nearest name.
    """
    return DIFFRACTOMETERS[checked_name("diffractometer", name, DIFFRACTOMETERS)]
