"""The few lines of a SPEC file that place a rocking curve of 34-ID-C in reciprocal space.

SPEC's file format: Certified Scientific Software, "Standard data file format": ``#S`` opens a
scan and repeats its command, ``#O`` names the motors and ``#P`` gives their positions, ``#L``
names the columns; names are separated by two spaces. ``#UIMR5`` (areaDetector at 34-ID-C) is
the region read out: first column, columns, first row, rows.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdi.geometry.diffractometer import diffractometer_named
from cdi.geometry.rocking_scan import RockingScan

PIXEL_UM = {"34idcTIM1": 55.0, "34idcTIM2": 55.0}
"""Pixels of the beamline's Timepix detectors (Medipix2 chips: Llopart et al., NIM A 581, 485, 2007)."""

MOTORS = {"delta_deg": "Delta", "gamma_deg": "Gamma", "energy_keV": "Energy", "distance_mm": "camdist"}
INNER_MOTORS = {"chi_deg": "Chi", "phi_deg": "Phi"}
"""Circles inside theta: they place the sample on its stage, no q of a theta scan depends on them."""


@dataclass(frozen=True)
class SpecScan:
    """One theta scan.

    ``theta_deg`` (frames,); ``window`` is (first row, rows, first column, columns) of the
    detector that was read out, or None where the file does not say; ``totals`` (frames,) the counts of each frame
    by the detector's own sum (``ImageTot``), likewise; ``commanded_deg`` first and last angle of the command.
    """

    number: int
    theta_deg: NDArray[np.float64]
    motors: dict[str, float]
    detector: str
    window: tuple[int, int, int, int] | None
    totals: NDArray[np.float64] | None = None
    commanded_deg: tuple[float, float] | None = None

    def rocking(self, shape: tuple[int, int, int]) -> RockingScan:
        """Geometry of frames of ``shape`` (frames, rows, columns).

        Raises
        ------
        ValueError
            If the scan has another number of frames, an unknown detector or unequal steps.
        """
        if len(self.theta_deg) != shape[0]:
            raise ValueError(
                f"scan {self.number} must have as many points as there are frames, "
                f"got {len(self.theta_deg)} and {shape[0]}"
            )
        if self.detector not in PIXEL_UM:
            raise ValueError(
                f"detector of scan {self.number} must be one of {', '.join(PIXEL_UM)}, got {self.detector!r}"
            )
        steps = np.diff(self.theta_deg)
        step = float(steps.mean())
        if np.abs(steps - step).max() > 0.2 * abs(step):
            raise ValueError(
                f"theta of scan {self.number} must rise in equal steps, got {steps.min():g} to {steps.max():g} degrees"
            )
        circles = {name.removesuffix("_deg"): angle for name, angle in self.motors.items() if name.endswith("_deg")}
        return RockingScan(
            diffractometer=diffractometer_named("34-ID-C"),
            rocking="theta",
            step_deg=step,
            angles_deg={**circles, "theta": float(self.theta_deg[shape[0] // 2])},
            energy_keV=self.motors["energy_keV"],
            distance_m=self.motors["distance_mm"] * 1e-3,
            pixel_um=PIXEL_UM[self.detector],
            shape=shape,
        )


class SpecFile:
    """The scans of a SPEC file, read once.

    Raises
    ------
    ValueError
        If it holds no scan.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._header, *self._blocks = re.split(r"^(?=#S \d+ )", path.read_text(errors="replace"), flags=re.M)
        if not self._blocks:
            raise ValueError(f"{path} must be a SPEC file with scans (lines that start with '#S'), got none")
        self._numbers = [int(block.split(maxsplit=2)[1]) for block in self._blocks]

    @property
    def theta_scans(self) -> list[int]:
        """Numbers of the scans of theta, in order."""
        return [n for n, block in zip(self._numbers, self._blocks, strict=True) if _scans_theta(block)]

    def theta_deg(self, number: int) -> NDArray[np.float64]:
        """Angles ``(frames,)`` of scan ``number`` in degrees."""
        return _theta(self._blocks[self._position(number)])

    def scan(self, number: int) -> SpecScan:
        """Scan ``number``.

        Raises
        ------
        ValueError
            If there is no such scan or several, or it is not one of theta or lacks a motor.
        """
        position = self._position(number)
        block = self._blocks[position]
        if not _scans_theta(block):
            raise ValueError(
                f"scan {number} of {self.path} must be a scan of theta (th), got {block.splitlines()[0]!r}; "
                f"theta scans: {self._listed()}"
            )
        # Motor names stand in the file's header, and again wherever SPEC was restarted.
        header = self._header + "".join(self._blocks[:position])
        try:
            return SpecScan(
                number, _theta(block), _motors(header, block), _detector(block), _window(block),
                _column(block, "ImageTot"), _commanded(block),
            )  # fmt: skip
        except (IndexError, ValueError) as error:
            raise ValueError(f"scan {number} of {self.path} is incomplete: {error}; copy the file again") from error

    def _position(self, number: int) -> int:
        if self._numbers.count(number) != 1:
            times = self._numbers.count(number)
            raise ValueError(
                f"{self.path} must hold scan {number} once, got it {times} times; theta scans: {self._listed()}"
            )
        return self._numbers.index(number)

    def _listed(self) -> str:
        numbers = self.theta_scans
        return ", ".join(map(str, numbers[:12])) + (" …" if len(numbers) > 12 else "") or "none"


def _scans_theta(block: str) -> bool:
    return re.match(r"#S \d+\s+[ad]scan\s+th\s", block) is not None


def _theta(block: str) -> NDArray[np.float64]:
    theta = _column(block, "Theta")
    if theta is None:
        raise ValueError("no column Theta")
    if len(theta) < 2 or not np.isfinite(theta).all():
        raise ValueError(f"theta must have at least 2 finite points, got {len(theta)}")
    return theta


def _column(block: str, name: str) -> NDArray[np.float64] | None:
    """Numbers of the column ``name``; None where there is none."""
    named = re.search(r"^#L (.*)$", block, re.M)
    if named is None:
        raise ValueError("no column names (#L)")
    names = re.split(r"\s{2,}", named[1].strip())
    if name not in names:
        return None
    rows = [line.split() for line in block.splitlines() if line and not line.startswith("#")]
    return np.array([float(row[names.index(name)]) for row in rows])


def _commanded(block: str) -> tuple[float, float] | None:
    """First and last angle of ``#S n ascan th first last …``."""
    found = re.match(r"#S \d+\s+ascan\s+th\s+(\S+)\s+(\S+)", block)
    return None if found is None else (float(found[1]), float(found[2]))


def _motors(header: str, block: str) -> dict[str, float]:
    """Positions at the start of the scan, by our names; the last ``#O`` before it counts."""
    positions: dict[str, float] = {}
    for row, values in re.findall(r"^#P(\d+) (.*)$", block, re.M):
        named = re.findall(rf"^#O{row} (.*)$", header, re.M)
        if named:
            names = re.split(r"\s{2,}", named[-1].strip())
            positions.update(zip(names, map(float, values.split()), strict=False))
    missing = [motor for motor in MOTORS.values() if motor not in positions]
    if missing:
        raise ValueError(f"no position of motor {', '.join(missing)}")
    return {name: positions[motor] for name, motor in {**MOTORS, **INNER_MOTORS}.items() if motor in positions}


def _detector(block: str) -> str:
    found = re.search(r"^#UIMDET\s+(\S+?):?\s*$", block, re.M)
    return found[1] if found else ""


def _window(block: str) -> tuple[int, int, int, int] | None:
    found = re.search(r"^#UIMR5\s+(\d+) (\d+) (\d+) (\d+)", block, re.M)
    if found is None:
        return None
    first_column, columns, first_row, rows = (int(n) for n in found.groups())
    return first_row, rows, first_column, columns
