"""Our q against those of xrayutilities (Kriegner et al., J. Appl. Cryst. 46, 1162, 2013), instrument by instrument.

The conventions are written out again here, some in other laboratory axes, as their sources have them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cdi.geometry.diffractometer import DIFFRACTOMETERS, diffractometer_named
from cdi.geometry.rocking_scan import RockingScan
from data.formats.spec_file import SpecFile

xu = pytest.importorskip("xrayutilities", reason="the peer xrayutilities is not installed")

SPEC = Path(__file__).parents[4] / "shared" / "real" / "34idc-gold-scan54" / "example.spec"

CXI = np.eye(3)
XU = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
"""Rows: our x, y, z in axes (x along the beam, y outboard, z up), the customary ones of xrayutilities."""
YOU = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
"""Rows: our x, y, z in axes (x up, y along the beam) of You, J. Appl. Cryst. 32, 614 (1999)."""


@dataclass(frozen=True)
class Peer:
    sample: list[str]
    arm: list[str]
    beam: list[int]
    rows: str
    columns: str
    axes: np.ndarray


PEERS = {
    "34-ID-C": Peer(["y+", "z-", "y+"], ["y+", "x-"], [0, 0, 1], "y-", "x+", CXI),  # cohere
    "You 4S+2D": Peer(["x+", "z-", "y+", "z-"], ["x+", "z-"], [0, 1, 0], "x-", "z+", YOU),
    "ID01": Peer(["z-", "y-", "z-"], ["z-", "y-"], [1, 0, 0], "z-", "y+", XU),
    "P10": Peer(["z+", "y-", "x+", "z-"], ["z+", "y-"], [1, 0, 0], "z-", "y-", XU),
    "SIXS": Peer(["y-", "z+"], ["y-", "z+", "y-"], [1, 0, 0], "z-", "y+", XU),
    "CRISTAL": Peer(["y-", "z+"], ["z+", "y-"], [1, 0, 0], "z-", "y+", XU),
    "NanoMAX": Peer(["y-", "z-"], ["z-", "y-"], [1, 0, 0], "z-", "y+", XU),
}


def peer_q(peer: Peer, scan: RockingScan, axis_pixel: tuple[float, float], frames: np.ndarray) -> np.ndarray:
    """q ``(frames, rows, columns, 3)`` in our axes at our middle frame, all pixels."""
    conversion: Any = xu.experiment.QConversion(peer.sample, peer.arm, peer.beam, wl=2 * np.pi / scan.wavenumber)
    high, wide = np.broadcast_to(scan.pixel_um, 2) * 1e-6
    conversion.init_area(
        peer.rows, peer.columns, *axis_pixel, *scan.shape[1:], distance=scan.distance_m, pwidth1=high, pwidth2=wide
    )
    moved = (frames - scan.shape[0] // 2) * scan.step_deg
    circles = scan.diffractometer.circles
    readings = [
        scan.angles_deg[c.name] - c.zero_deg + (moved if c.name == scan.rocking else 0 * moved) for c in circles
    ]
    in_sample = np.stack(conversion.area(*readings, deg=True), -1) @ peer.axes.T
    return np.asarray(in_sample @ scan.sample_rotation.T)


def assert_same_q(scan: RockingScan, axis_pixel: tuple[float, float], frames: np.ndarray) -> None:
    peer = PEERS[scan.diffractometer.name]
    row, column = np.ogrid[: scan.shape[1], : scan.shape[2]]
    ours = scan.q(frames[:, None, None], row, column)
    theirs = peer_q(peer, scan, axis_pixel, frames)
    assert ours.shape == theirs.shape
    error = np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)
    assert error.max() < 1e-12


def test_every_convention_has_a_peer() -> None:
    assert set(PEERS) == set(DIFFRACTOMETERS)


@pytest.mark.parametrize(("name", "rocking"), [(n, r) for n, d in DIFFRACTOMETERS.items() for r in d.rocking_circles])
def test_every_circle_of_every_diffractometer_rocks_as_in_xrayutilities(name: str, rocking: str) -> None:
    diffractometer = diffractometer_named(name)
    angles = dict(zip((c.name for c in diffractometer.circles), (11.0, -23.0, 71.0, 37.0, 29.0, 17.0), strict=False))
    angles[diffractometer.arm[-1].name] = 17.0
    scan = RockingScan(diffractometer, rocking, 0.03, angles, 8.2, 0.83, (55.0, 75.0), (17, 11, 13), (2.5, 9.25))
    assert_same_q(scan, (2.5, 9.25), np.array([0, 3, 8, 16]))


def test_the_gold_scan_is_that_of_xrayutilities() -> None:
    """SPEC scan 54 of 34-ID-C, read from its file: every pixel of every 25th frame, and d = 2.335 Å."""
    if not SPEC.is_file():
        pytest.skip(f"no measurement at {SPEC}")
    scan = SpecFile(SPEC).scan(54).rocking((201, 256, 256))
    assert {n: scan.angles_deg[n] for n in ("chi", "phi", "delta", "gamma")} == {
        "chi": 90.0,
        "phi": -5.0,
        "delta": 32.174,
        "gamma": 12.6346,
    }
    assert scan.angles_deg["theta"] == pytest.approx(0.22, abs=1e-4)
    assert_same_q(scan, (127.5, 127.5), np.arange(0, 201, 25))
    assert 2 * np.pi / np.linalg.norm(scan.q(100, 127.5, 127.5)) == pytest.approx(2.335, abs=5e-4)
