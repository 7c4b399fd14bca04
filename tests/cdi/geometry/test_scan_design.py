"""Planning: a reflection brought to the detector, a crystal oversampled as wanted."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cdi.geometry.diffractometer import DIFFRACTOMETERS
from cdi.geometry.rocking_scan import RockingScan, wavelength_from_energy
from cdi.geometry.scan_design import bragg_positions, oversampling, rocking_scan_for, with_oversampling
from cdi.shapes.ball import Ball

SCAN = RockingScan(
    DIFFRACTOMETERS["34-ID-C"],
    "theta",
    step_deg=-0.01,
    angles_deg={"theta": 20.0, "chi": 88.0, "phi": 7.0},
    energy_keV=9.0,
    distance_m=0.6,
    pixel_um=(55.0, 75.0),
    shape=(41, 60, 70),
    axis_pixel=(25.0, 40.0),
)
ALL_ROCKS = [(name, rocking) for name, d in DIFFRACTOMETERS.items() for rocking in d.rocking_circles]


def gold(h: int, k: int, l: int) -> np.ndarray:  # noqa: E741
    """G of a turned gold crystal (a = 4.078 Å) in the frame of the sample."""
    return Rotation.from_rotvec([0.5, 0.2, -0.9]).apply(2 * np.pi / 4.078 * np.array([h, k, l]))


@pytest.mark.parametrize(("name", "rocking"), ALL_ROCKS)
def test_both_settings_diffract_along_the_arm(name: str, rocking: str) -> None:
    """k_f − k_i on the arm's axis is the turned G: |k_f| = k and the direction follow, on every instrument."""
    diffractometer = DIFFRACTOMETERS[name]
    fixed = {circle.name: 40.0 + circle.zero_deg for circle in diffractometer.sample}
    scan = replace(SCAN, diffractometer=diffractometer, rocking=rocking, angles_deg=fixed)
    reached = 0
    for G in (gold(*hkl) for hkl in itertools.product((1, -1), repeat=3)):
        try:
            settings = bragg_positions(scan, G)
        except ValueError as error:
            assert "G must meet the Ewald sphere" in str(error)  # noqa: PT017
            continue
        reached += 1
        for angles in settings:
            there = replace(scan, angles_deg=angles)
            assert_allclose(there.q(20, 25, 40), there.sample_rotation @ G, atol=1e-12)
            assert_allclose(there.indices(there.sample_rotation @ G), (20, 25, 40), atol=1e-6)
            assert {n: a for n, a in angles.items() if n in fixed and n != rocking} == {
                n: a for n, a in fixed.items() if n != rocking
            }
    assert reached >= 2


def test_the_nearer_setting_comes_first() -> None:
    first, second = bragg_positions(SCAN, gold(1, 1, 1))
    moves = [abs((s["theta"] - 20.0 + 180) % 360 - 180) for s in (first, second)]
    assert moves[0] < moves[1]
    assert rocking_scan_for(gold(1, 1, 1), SCAN).angles_deg == first
    assert bragg_positions(replace(SCAN, angles_deg=second), gold(1, 1, 1))[0] == pytest.approx(second)


def test_gold_111_at_nine_kev_leaves_at_the_bragg_angle() -> None:
    """2θ = 2 asin(λ/2d) with d = 4.078 Å/√3: 34.02°."""
    angles = rocking_scan_for(gold(1, 1, 1), SCAN).angles_deg
    cosine = np.cos(np.radians(angles["delta"])) * np.cos(np.radians(angles["gamma"]))
    assert np.degrees(np.arccos(cosine)) == pytest.approx(
        2 * np.degrees(np.arcsin(wavelength_from_energy(9.0) * np.sqrt(3) / (2 * 4.078)))
    )
    assert np.degrees(np.arccos(cosine)) == pytest.approx(34.02, abs=0.01)


def test_oversampling_is_what_the_simulator_counts_in_voxels() -> None:
    """N over the length of a ball in dual voxels, axis by axis, as the Bragg object checks it."""
    scan = rocking_scan_for(gold(1, 1, 1), SCAN)
    grid = scan.grid()
    low, high = Ball.of_diameter(900.0).reach(np.linalg.inv(grid.voxel).T)
    assert_allclose(oversampling(scan, 900.0), np.array(grid.shape) / (high - low), rtol=1e-12)


def test_oversampling_of_a_box_is_that_of_its_corners() -> None:
    scan = rocking_scan_for(gold(1, 1, 1), SCAN)
    box = np.array([900.0, 500.0, 1200.0])
    corners = np.stack(np.meshgrid(*([-s / 2, s / 2] for s in box)), -1).reshape(-1, 3)
    phases = corners @ scan.grid().step.T
    assert_allclose(oversampling(scan, box), 2 * np.pi / np.ptp(phases, axis=0), rtol=1e-12)


def test_a_pixel_samples_a_crystal_by_wavelength_times_distance() -> None:
    """On the arm's axis: λ D/(pixel · size), the text-book oversampling."""
    scan = replace(SCAN, shape=(41, 51, 81), angles_deg={"delta": 30.0, "gamma": 10.0})
    expected = wavelength_from_energy(9.0) * 0.6 / (np.array([55e-6, 75e-6]) * 900.0)
    assert_allclose(oversampling(scan, 900.0)[1:], expected, rtol=1e-12)


@pytest.mark.parametrize("extent", [900.0, (900.0, 500.0, 1200.0)])
@pytest.mark.parametrize("wanted", [2.0, 3.7])
def test_step_and_distance_give_the_oversampling_wanted(extent: object, wanted: float) -> None:
    designed = with_oversampling(rocking_scan_for(gold(1, 1, 1), SCAN), extent, wanted)  # type: ignore[arg-type]
    ratio = oversampling(designed, extent)  # type: ignore[arg-type]
    assert ratio[0] == pytest.approx(wanted, rel=1e-12)
    assert ratio[1:].min() == pytest.approx(wanted, rel=1e-12)
    assert designed.step_deg < 0


@pytest.mark.parametrize(
    ("G", "message"),
    [
        ([1.0, 2.0], "G must be three finite numbers in Å⁻¹, not all 0"),
        ([0.0, 0.0, 0.0], "G must be three finite numbers in Å⁻¹, not all 0"),
        ([1.0, np.nan, 0.0], "G must be three finite numbers in Å⁻¹, not all 0"),
        ([0.0, 9.2, 0.0], "G must be at most 2k = 9.122 Å⁻¹ long at 9 keV, got 9.2 Å⁻¹"),
    ],
)
def test_a_reflection_of_no_use_is_refused(G: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bragg_positions(SCAN, G)


def test_a_reflection_along_the_rocking_axis_is_refused() -> None:
    """Turning about G leaves it where it is: at χ = 0 along y, theta is the wrong circle, chi a right one."""
    flat = replace(SCAN, angles_deg={})
    with pytest.raises(ValueError, match=r"G must meet the Ewald sphere as theta turns, .* theta 0°, chi 0°, phi 0°"):
        bragg_positions(flat, [0.0, 2.67, 0.0])


def test_a_length_of_no_size_is_refused() -> None:
    scan = rocking_scan_for(gold(1, 1, 1), SCAN)
    for extent in (0.0, [1.0, 2.0], [100.0, np.nan, 100.0]):
        with pytest.raises(ValueError, match="extent must be one or three positive lengths in Å"):
            oversampling(scan, extent)


@pytest.mark.parametrize("wanted", [1.9, np.nan])
def test_an_oversampling_below_two_is_refused(wanted: float) -> None:
    with pytest.raises(ValueError, match="wanted must be an oversampling of at least 2"):
        with_oversampling(rocking_scan_for(gold(1, 1, 1), SCAN), 900.0, wanted)


def test_a_detector_too_far_from_its_axis_is_refused() -> None:
    """Pixels far off the axis stay at their slant however near the detector comes: oversampling has a floor."""
    aside = replace(rocking_scan_for(gold(1, 1, 1), SCAN), axis_pixel=(25.0, -20000.0))
    with pytest.raises(ValueError, match="wanted must be within reach of a detector so far from its axis"):
        with_oversampling(aside, 60.0, 2.0)
