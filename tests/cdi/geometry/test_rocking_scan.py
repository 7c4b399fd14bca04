"""From frames, rows and columns to scattering vectors and back: 34-ID-C, then every diffractometer."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from cdi.geometry.diffractometer import DIFFRACTOMETERS
from cdi.geometry.rocking_scan import RockingScan, wavelength_from_energy

GOLD = RockingScan(
    DIFFRACTOMETERS["34-ID-C"],
    "theta",
    step_deg=0.005,
    angles_deg={"theta": 0.22, "chi": 90.0, "phi": -5.0, "delta": 32.174, "gamma": 12.6346},
    energy_keV=9.0,
    distance_m=0.5,
    pixel_um=55.0,
    shape=(201, 256, 256),
)
MEASUREMENT = Path(__file__).parents[4] / "shared" / "real" / "34idc-gold-scan54"

angles = st.floats(-60, 60)
measurements = {
    "step_deg": st.one_of(st.floats(0.001, 0.1), st.floats(-0.1, -0.001)),
    "energy_keV": st.floats(5, 20),
    "distance_m": st.floats(0.3, 3),
    "pixel_um": st.one_of(st.floats(20, 200), st.tuples(st.floats(20, 200), st.floats(20, 200))),
    "shape": st.just((21, 30, 27)),
    "axis_pixel": st.tuples(st.floats(0, 30), st.floats(0, 27)),
}
scans = st.builds(
    RockingScan,
    diffractometer=st.just(DIFFRACTOMETERS["34-ID-C"]),
    rocking=st.just("theta"),
    angles_deg=st.fixed_dictionaries(dict.fromkeys(("theta", "chi", "phi", "delta", "gamma"), angles)),
    **measurements,
)
voxels = st.tuples(st.floats(0, 20), st.floats(0, 29), st.floats(0, 26))


@st.composite
def any_scans(draw: st.DrawFn) -> RockingScan:
    """Any circle that rocks, of any diffractometer, everything else anywhere; q well off the beam."""
    diffractometer = DIFFRACTOMETERS[draw(st.sampled_from(sorted(DIFFRACTOMETERS)))]
    turned = {circle.name: draw(angles) for circle in diffractometer.circles}
    turned[diffractometer.arm[-1].name] = draw(st.one_of(st.floats(10, 60), st.floats(-60, -10)))
    return RockingScan(
        diffractometer,
        draw(st.sampled_from(diffractometer.rocking_circles)),
        angles_deg=turned,
        **{name: draw(values) for name, values in measurements.items()},
    )


def test_copper_k_alpha_has_its_wavelength() -> None:
    """8.047823 keV ↔ 1.540593 Å (Hölzer et al., Phys. Rev. A 56, 4554, 1997)."""
    assert wavelength_from_energy(8.047823) == pytest.approx(1.540593, rel=1e-6)


def test_the_gold_scan_measures_the_spacing_of_its_motors() -> None:
    """|Q| at the centre gives d = 2.335 Å, within 1 % of gold's 2.355 Å."""
    assert 2 * np.pi / np.linalg.norm(GOLD.grid().centre) == pytest.approx(2.335, abs=1e-3)


@given(scans)
def test_the_arm_points_at_two_theta(scan: RockingScan) -> None:
    """On the arm's axis cos 2θ = cos δ cos γ, and |Q| = (4π/λ) sin θ."""
    assert scan.axis_pixel is not None
    q = scan.q(scan.shape[0] // 2, *scan.axis_pixel)
    delta, gamma = np.radians([scan.angles_deg["delta"], scan.angles_deg["gamma"]])
    sine_squared = np.sin(delta / 2) ** 2 + np.cos(delta) * np.sin(gamma / 2) ** 2  # (1 − cos 2θ)/2, no cancellation
    expected = 4 * np.pi / wavelength_from_energy(scan.energy_keV) * np.sqrt(sine_squared)
    assert np.linalg.norm(q) == pytest.approx(expected, abs=1e-9)


@given(scans, voxels)
def test_the_mapping_is_the_chain_of_its_rotations(scan: RockingScan, voxel: tuple[float, float, float]) -> None:
    """Against the same geometry written naively with scipy's rotations, pixel by pixel."""
    frame, row, column = voxel
    assert scan.axis_pixel is not None
    arm = Rotation.from_euler("y", scan.angles_deg["delta"], degrees=True) * Rotation.from_euler(
        "x", -scan.angles_deg["gamma"], degrees=True
    )
    high, wide = np.broadcast_to(scan.pixel_um, 2) * 1e-6
    right, up = (column - scan.axis_pixel[1]) * wide, (scan.axis_pixel[0] - row) * high
    ray = arm.apply([right, up, scan.distance_m])
    k = 2 * np.pi / wavelength_from_energy(scan.energy_keV)
    lab = k * ray / np.linalg.norm(ray) - [0, 0, k]
    sample = Rotation.from_euler("y", (frame - scan.shape[0] // 2) * scan.step_deg, degrees=True)
    np.testing.assert_allclose(scan.q(*voxel), sample.inv().apply(lab), atol=1e-12 * k)


@given(any_scans(), voxels)
def test_the_angle_of_rocking_is_the_only_one_that_moves(scan: RockingScan, voxel: tuple[float, float, float]) -> None:
    """Frame n is the middle frame of a scan whose rocking circle stands there; both see the sample's own q alike."""
    frame, row, column = voxel
    reading = scan.angles_deg[scan.rocking] + (frame - 10) * scan.step_deg
    there = replace(scan, angles_deg={**scan.angles_deg, scan.rocking: reading})
    np.testing.assert_allclose(
        scan.sample_rotation.T @ scan.q(*voxel), there.sample_rotation.T @ there.q(10, row, column), atol=1e-11
    )


@given(scans)
def test_circles_inside_theta_do_not_enter(scan: RockingScan) -> None:
    at_zero = replace(scan, angles_deg={name: scan.angles_deg[name] for name in ("delta", "gamma")})
    np.testing.assert_allclose(at_zero.q(3, 4, 25), scan.q(3, 4, 25), atol=1e-13)


def test_a_circle_outside_the_rocking_one_carries_its_axis() -> None:
    """With χ at 90° (z−), φ turns about x and no longer about y: q follows −x̂ × Q."""
    scan = replace(GOLD, rocking="phi", angles_deg={**GOLD.angles_deg, "theta": 0.0})
    grid = scan.grid()
    np.testing.assert_allclose(grid.step[0], -np.cross([1, 0, 0], grid.centre) * np.radians(0.005), atol=1e-15)


@given(any_scans())
def test_the_step_is_the_derivative_of_the_mapping(scan: RockingScan) -> None:
    """Rows of the step matrix against central differences of the exact mapping; a rock moves q by −â × Q dt."""
    try:
        grid = scan.grid()
    except ValueError as error:  # the rocking axis may lie in the plane of scattering: no volume is measured
        assert "three independent rows" in str(error)  # noqa: PT017
        return
    centre = np.array([n // 2 for n in scan.shape], float)
    numeric = [(scan.q(*(centre + h)) - scan.q(*(centre - h))) / 2e-3 for h in 1e-3 * np.eye(3)]
    np.testing.assert_allclose(grid.step, numeric, atol=1e-5 * np.abs(grid.step).max())
    np.testing.assert_allclose(
        grid.step[0], -np.cross(scan.rocking_axis, grid.centre) * np.radians(scan.step_deg), atol=1e-15
    )


@given(any_scans(), voxels)
def test_q_leads_to_a_voxel_that_measures_it(scan: RockingScan, voxel: tuple[float, float, float]) -> None:
    """q → indices → q to 1e-9, whichever of the two crossings of the Ewald sphere is taken."""
    assume(np.linalg.norm(scan.rocking_axis[:2]) > 1e-6)
    q = scan.q(*voxel)
    found = scan.indices(q)
    assert np.linalg.norm(scan.q(*found) - q) < 1e-9 * np.linalg.norm(q)
    # Where the two crossings merge an angle is only as good as the square root of rounding.
    farther = (abs(found[0] - 10) - abs(voxel[0] - 10)) * abs(np.radians(scan.step_deg))
    assert farther < 3e-6


def test_turning_about_the_beam_scans_nothing() -> None:
    """All of the sphere stays on the sphere: no frame is singled out, and there is no grid."""
    scan = replace(GOLD, rocking="chi", angles_deg={"delta": 20.0, "gamma": 11.0})
    assert np.isnan(scan.indices(scan.q([0, 100, 7], 40, [1, 2, 3]))).all()
    with pytest.raises(ValueError, match="step must have three independent rows"):
        scan.grid()


def test_every_voxel_of_the_gold_scan_is_found_again() -> None:
    frame, row, column = np.ogrid[0:201:20, 0:256:15, 0:256:17]
    found = GOLD.indices(GOLD.q(frame, row, column))
    assert found[0].shape == (11, 18, 16)
    for index, expected in zip(found, (frame, row, column), strict=True):
        np.testing.assert_allclose(index, np.broadcast_to(expected, index.shape), atol=1e-9)


def test_q_out_of_reach_is_nan_and_the_rest_is_kept() -> None:
    """Beyond 2k, along the rocking axis, and behind the detector there is no voxel."""
    k = 2 * np.pi / wavelength_from_energy(9.0)
    centre = GOLD.grid().centre
    behind = k * (np.array([0.5, 0.0, -np.sqrt(0.75)]) - np.array([0.0, 0.0, 1.0]))
    assert np.isfinite(GOLD.turns_onto_sphere(behind)).all()
    frame, row, column = GOLD.indices(np.stack([centre, 2.01 * k * centre / np.linalg.norm(centre), [0, 1, 0], behind]))
    np.testing.assert_array_equal(np.isnan([frame, row, column]), [[False, True, True, True]] * 3)
    np.testing.assert_allclose([frame[0], row[0], column[0]], [100, 128, 128], atol=1e-9)


def test_binning_sums_voxels_around_the_same_q() -> None:
    """The centre of each block keeps its q in the frame of the sample, pixel by pixel and frame by frame."""
    scan = replace(GOLD, pixel_um=(55.0, 75.0), shape=(23, 31, 29), axis_pixel=(3.0, 40.0))
    binned = scan.binned(frames=4, rows=2, columns=3)
    assert binned.shape == (5, 15, 9)
    assert binned.pixel_um == (110.0, 225.0)
    for block in ((0, 0, 0), (4, 14, 8), (2, 3, 5)):
        middle = np.multiply(block, (4, 2, 3)) + np.array([1.5, 0.5, 1.0])
        np.testing.assert_allclose(
            binned.sample_rotation.T @ binned.q(*block), scan.sample_rotation.T @ scan.q(*middle), atol=1e-14
        )


def test_the_linear_grid_stays_within_half_a_voxel_in_the_central_64() -> None:
    grid = GOLD.grid()
    offset = np.array(list(itertools.product((-32, 32), repeat=3)))
    centre = np.array([n // 2 for n in GOLD.shape])
    error = GOLD.q(*(centre + offset).T) - (grid.centre + offset @ grid.step)
    assert np.abs(error @ np.linalg.inv(grid.step)).max() < 0.5


def test_signs_of_the_axes_are_those_that_make_gold_cubic() -> None:
    """Facet streaks of the measured gold crystal lie along its {111} and {100} only with our signs.

    With (111) along G one angle is free. Over it, the log-intensity along the 14 facet normals
    exceeds that along random directions far more for our handedness than for any other choice of
    the three signs; the inversion of all three is Friedel's mate and equal.
    """
    if not MEASUREMENT.is_dir():
        pytest.skip(f"no measurement at {MEASUREMENT}")
    counts = np.load(MEASUREMENT / "stack.npz", allow_pickle=False)["frames"]
    scores = {signs: _facet_score(np.log1p(counts), np.array(signs)) for signs in itertools.product((1, -1), repeat=3)}
    ours = scores.pop((1, 1, 1))
    assert scores.pop((-1, -1, -1)) == pytest.approx(ours, rel=0.05)
    assert ours > 1.7 * max(scores.values())


def test_a_scan_without_volume_has_no_grid() -> None:
    """At 2θ in the plane of axis and beam the rock is tangent to the Ewald sphere."""
    scan = replace(GOLD, angles_deg={"delta": 0.0, "gamma": 30.0}, axis_pixel=(128.0, 128.0))
    with pytest.raises(ValueError, match="step must have three independent rows"):
        scan.grid()


def _facet_score(intensity: np.ndarray, signs: np.ndarray) -> float:
    """Standard deviations by which the facet normals outshine random directions, best angle about G."""
    grid = GOLD.grid()
    inverse = np.linalg.inv(grid.step * signs[:, None])
    peak = np.array([98.66, 126.54, 127.53])
    radii = np.linspace(0.008, 0.022, 30)

    def streak(directions: np.ndarray) -> np.ndarray:
        voxels = (directions[..., None, :] * radii[:, None]) @ inverse + peak
        return np.asarray(map_coordinates(intensity, np.moveaxis(voxels, -1, 0), order=1).mean(-1))

    sphere = np.random.default_rng(0).normal(size=(4000, 3))
    background = streak(sphere / np.linalg.norm(sphere, axis=1, keepdims=True))
    facets = np.array([*itertools.product((1, -1), repeat=3), *np.eye(3), *-np.eye(3)], float)
    facets /= np.linalg.norm(facets, axis=1, keepdims=True)
    to_G, _ = Rotation.align_vectors([grid.centre], [[1, 1, 1]])
    turns = Rotation.from_rotvec(
        np.radians(np.arange(0, 360, 1.0))[:, None] * grid.centre / np.linalg.norm(grid.centre)
    )
    found = [streak(turn.apply(to_G.apply(facets))).mean() for turn in turns]
    return float((max(found) - background.mean()) / background.std())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy_keV": 0.0}, "energy_keV must be positive, got 0.0"),
        ({"distance_m": np.nan}, "distance_m must be positive, got nan"),
        ({"distance_m": 0.0}, "distance_m must be positive, got 0.0"),
        ({"pixel_um": -55.0}, "pixel_um must be positive, got -55.0"),
        ({"pixel_um": (55.0, 0.0)}, r"pixel_um must be positive, got \(55.0, 0.0\)"),
        ({"pixel_um": (55.0, 55.0, 55.0)}, r"pixel_um must be one edge or \(row, column\) pitches"),
        ({"angles_deg": {"delta": np.inf}}, "angle of delta must be finite, got inf"),
        ({"angles_deg": {"detla": 1.0}}, r"circle of 34-ID-C must be one of .*, got 'detla' \(did you mean 'delta'"),
        ({"rocking": "Theta"}, r"rocking circle of 34-ID-C must be one of .*, got 'Theta' \(did you mean 'theta'"),
        ({"rocking": "delta"}, "rocking circle of 34-ID-C must be one of theta, chi, phi, got 'delta'"),
        ({"step_deg": 0.0}, "step_deg must not be 0"),
        ({"step_deg": np.nan}, "step_deg must be finite, got nan"),
        ({"shape": (201, 0, 256)}, r"shape must be \(frames, rows, columns\), all positive"),
        ({"axis_pixel": (128.0, np.nan)}, r"axis_pixel must be two finite numbers"),
    ],
)
def test_impossible_scans_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(GOLD, **change)


@pytest.mark.parametrize("q", [[1.0, 2.0], [1.0, 2.0, np.nan]])
def test_a_malformed_q_is_refused(q: list[float]) -> None:
    with pytest.raises(ValueError, match=r"q must be finite with shape \(..., 3\)"):
        GOLD.indices(q)


@pytest.mark.parametrize("rows", [0, 1.5, 257])
def test_an_impossible_binning_is_refused(rows: Any) -> None:
    with pytest.raises(ValueError, match=r"binning must be integers from 1 to \(201, 256, 256\)"):
        GOLD.binned(rows=rows)
