"""Every file of a Bragg peak becomes the same exposure, or one line that says why not."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from checks_of_data import SampleMaker

from cdi.grid import QGrid
from cdi.pattern import DiffractionPattern, Exposure
from data.formats.pattern_files import read_exposure
from data.formats.spec_file import SpecFile
from data.pattern_store import grid_from_q, write_pattern
from data.recipe import Recipe
from data.store_writer import write_samples

SHAPE = (12, 9, 10)

SPEC = """#F /data/run.spec
#E 1580609738
#O0 Delta  Theta  Gamma  camdist  Energy  z-sample

#S 3  ascan  samx 0 1 2 0.1
#P0 30 0 10 500 9 0
#N 2
#L samx  Theta
0 0
1 0

#S 4  ascan  th 0 0.11 11 0.25
#P0 30 0 10 500 9 0
#UIMDET 34idcTIM2:
#UIMR5  2 10 1 9 1
#N 3
#L Theta  pm detector  ImageTot
{rows}

#S 5  ascan  th 0 0.22 11 0.25
#P0 31 0 10 500 9 0
#UIMDET 34idcTIM2:
#N 1
#L Theta
{others}
"""


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(2.0, SHAPE).astype(np.int32)


@pytest.fixture
def spec_text(counts: np.ndarray) -> str:
    rows = "\n".join(f"{0.01 * n:.5f} 7 {frame.sum()}" for n, frame in enumerate(counts))
    return SPEC.format(rows=rows, others="\n".join(f"{0.02 * n:.5f}" for n in range(12)))


@pytest.fixture
def scan(tmp_path: Path, counts: np.ndarray, spec_text: str) -> Path:
    """A measurement as the beamline exports it; the frames are rows 1–9, columns 2–11 of the detector."""
    folder = tmp_path / "scan"
    (folder / "frames").mkdir(parents=True)
    for number, frame in enumerate(counts):
        tifffile.imwrite(folder / "frames" / f"run_S0004_{number}.tif", frame)
    (folder / "run.spec").write_text(spec_text)
    dark, white = np.zeros((14, 15), np.int32), np.full((14, 15), 100.0, np.float32)
    dark[1 + 4, 2 + 6] = 90
    dark[0, 0] = 90
    white[1 + 8, 2 + 1] = 3
    tifffile.imwrite(folder / "dark.tif", dark)
    tifffile.imwrite(folder / "whitefield.tif", white)
    return folder


def test_frames_are_read_in_natural_order_with_geometry_and_bad_pixels(scan: Path, counts: np.ndarray) -> None:
    exposure = read_exposure(scan / "frames")
    np.testing.assert_array_equal(exposure.counts, counts)
    assert exposure.mask is not None
    assert sorted(map(tuple, np.argwhere(~exposure.mask[0]))) == [(4, 6), (8, 1)]
    assert (exposure.mask == exposure.mask[0]).all()
    assert exposure.grid is not None
    expected = SpecFile(scan / "run.spec").scan(4).rocking(SHAPE).grid()
    np.testing.assert_allclose(exposure.grid.step, expected.step)
    assert np.linalg.norm(expected.step[0]) == pytest.approx(
        np.hypot(*expected.centre[[0, 2]]) * np.radians(0.01), rel=1e-6
    )


@pytest.mark.parametrize("kind", ["npz", "npz with angles", "npy", "tif"])
def test_a_stack_in_one_file_is_the_same_exposure(scan: Path, counts: np.ndarray, kind: str) -> None:
    frames = read_exposure(scan / "frames")
    if kind == "npy":
        path = scan / "run_S0004.npy"
        np.save(path, counts)
    elif kind == "tif":
        path = scan / "run_S0004_.tif"
        tifffile.imwrite(path, counts, photometric="minisblack")
    else:
        path = scan / ("stack.npz" if "angles" in kind else "run_S0004.npz")
        angles = {"theta_deg": 0.01 * np.arange(12)} if "angles" in kind else {}
        np.savez(path, frames=counts, **angles)
    exposure = read_exposure(path)
    np.testing.assert_array_equal(exposure.counts, frames.counts)
    assert exposure.grid is not None
    assert frames.grid is not None
    np.testing.assert_array_equal(exposure.grid.centre, frames.grid.centre)
    np.testing.assert_array_equal(exposure.mask, frames.mask)


def test_without_a_spec_file_there_is_no_geometry(tmp_path: Path, counts: np.ndarray) -> None:
    np.savez(tmp_path / "stack.npz", frames=counts, theta_deg=0.01 * np.arange(12))
    exposure = read_exposure(tmp_path / "stack.npz")
    assert exposure.grid is None
    assert exposure.mask is None
    with pytest.raises(ValueError, match="scan 4 needs a SPEC file, none lies beside"):
        read_exposure(tmp_path / "stack.npz", scan=4)


def test_a_given_scan_wins_over_the_names(scan: Path) -> None:
    for name in ("dark.tif", "whitefield.tif"):  # scan 5 does not say which part of the detector it read
        (scan / name).unlink()
    exposure = read_exposure(scan / "frames", spec=scan / "run.spec", scan=5)
    assert exposure.grid is not None
    expected = SpecFile(scan / "run.spec").scan(5).rocking(SHAPE).grid()
    np.testing.assert_allclose(exposure.grid.centre, expected.centre)


def test_a_whitefield_of_unknown_place_is_refused(scan: Path) -> None:
    with pytest.raises(ValueError, match=r"dark.tif must have the frames' shape \(9, 10\) or a SPEC file must say"):
        read_exposure(scan / "frames", scan=5)


def _npz_of_objects(path: Path) -> None:
    np.savez(path / "stack.npz", frames=np.array([{"a": 1}], dtype=object))


def _mixed(path: Path) -> None:
    tifffile.imwrite(path / "a_1.tif", np.ones((9, 10), np.int32))
    tifffile.imwrite(path / "a_2.tif", np.ones((9, 11), np.int32))


def _truncated_tiff(path: Path) -> None:
    tifffile.imwrite(path / "stack.tif", np.arange(12 * 90, dtype=np.int32).reshape(SHAPE), photometric="minisblack")
    (path / "stack.tif").write_bytes((path / "stack.tif").read_bytes()[:2000])


def _truncated_frame(path: Path) -> None:
    tifffile.imwrite(path / "a_1.tif", np.ones((9, 10), np.int32))
    (path / "a_2.tif").write_bytes((path / "a_1.tif").read_bytes()[:300])


def _truncated_npz(path: Path) -> None:
    np.savez(path / "stack.npz", frames=np.ones(SHAPE))
    (path / "stack.npz").write_bytes((path / "stack.npz").read_bytes()[:900])


def _truncated_npy(path: Path) -> None:
    np.save(path / "stack.npy", np.ones(SHAPE))
    (path / "stack.npy").write_bytes((path / "stack.npy").read_bytes()[:900])


def _nan(path: Path) -> None:
    values = np.ones(SHAPE)
    values[2, 3, 4] = np.nan
    np.save(path / "stack.npy", values)


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (lambda p: None, "", r"must hold TIFF frames \(\*.tif\), got none"),
        (_mixed, "", r"frames in .* must be alike, got \(9, 10\) int32 in a_1.tif and \(9, 11\) int32 in a_2.tif"),
        (_truncated_frame, "", "a_2.tif must be a readable TIFF file, it is truncated or damaged"),
        (_truncated_tiff, "stack.tif", "must be a readable TIFF file, it is truncated or damaged"),
        (_truncated_npz, "stack.npz", "stack.npz is no readable stack"),
        (
            _truncated_npy,
            "stack.npy",
            "it is truncated: its header announces 8640 bytes, 772 are there",
        ),
        (
            _npz_of_objects,
            "stack.npz",
            "it must hold real numbers, got an array of objects",
        ),
        (lambda p: np.savez(p / "s.npz", data=np.ones(SHAPE), counts=np.ones(SHAPE)), "s.npz", "must hold exactly one"),
        (lambda p: np.savez(p / "s.npz", x=np.ones(SHAPE)), "s.npz", "must hold exactly one of frames, .* it holds x"),
        (_nan, "stack.npy", "stack.npy: counts must be finite, got 1 voxels"),
        (lambda p: np.save(p / "s.npy", np.ones((9, 9))), "s.npy", r"must hold a three-dimensional array .*\(9, 9\)"),
        (lambda p: np.save(p / "s.npy", np.zeros(SHAPE)), "s.npy", "s.npy: counts must not be all zero"),
        (lambda p: (p / "s.txt").write_text("hello"), "s.txt", "s.txt must be one of: HDF5 .*; got a file that starts"),
        (lambda p: (p / "s.h5").write_text("hello"), "s.h5", "s.h5 must be an HDF5 file"),
    ],
)
def test_damage_is_one_line(
    tmp_path: Path, make: object, name: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(ValueError, match=message) as caught:
        read_exposure(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Delta  Theta", "Dalta  Theta", "scan 4 of .* is incomplete: no position of motor Delta"),
        ("ascan  th 0 0.11", "ascan  chi 0 0.11", "scan 4 of .* must be a scan of theta"),
        ("34idcTIM2:", "eiger:", "detector of scan 4 must be one of 34idcTIM1, 34idcTIM2, got 'eiger'"),
        (
            "0.11000 7 {last}\n",
            "",
            "rocking axis of .* is unknown: the scan has 11 points, no axis",
        ),
        ("0.05000 7", "0.05900 7", "theta of scan 4 must rise in equal steps"),
        ("#S 4 ", "#S 7 ", r"must hold scan 4 once, got it 0 times; theta scans: 7, 5"),
        ("#S ", "#X ", "must be a SPEC file with scans"),
        ("Theta  pm", "Phi  pm", "scan 4 of .* is incomplete"),
    ],
)
def test_a_spec_file_that_does_not_fit_is_refused(
    scan: Path, spec_text: str, counts: np.ndarray, old: str, new: str, message: str
) -> None:
    old = old.format(last=counts[-1].sum())
    assert old in spec_text
    (scan / "run.spec").write_text(spec_text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_exposure(scan / "frames")


def test_several_spec_files_are_ambiguous(scan: Path, spec_text: str) -> None:
    (scan / "old.spec").write_text(spec_text)
    with pytest.raises(ValueError, match="must hold one SPEC file, got 2; choose with --spec FILE"):
        read_exposure(scan / "frames")
    assert read_exposure(scan / "frames", spec=scan / "run.spec").grid is not None


def _pattern() -> DiffractionPattern:
    rng = np.random.default_rng(3)
    grid = QGrid(rng.normal(size=3), np.diag([0.01, 0.02, 0.03]) + rng.normal(size=(3, 3)) * 1e-3, SHAPE)
    return DiffractionPattern(rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE), grid, (1, 1, 1))


def test_a_simulated_pattern_is_read_with_its_grid(tmp_path: Path) -> None:
    pattern = _pattern()
    write_pattern(tmp_path / "p.h5", pattern)
    exposure = read_exposure(tmp_path / "p.h5")
    np.testing.assert_allclose(exposure.counts, pattern.intensity, rtol=1e-6)
    assert exposure.grid is not None
    np.testing.assert_allclose(exposure.grid.centre, pattern.grid.centre)
    np.testing.assert_allclose(exposure.grid.step, pattern.grid.step, atol=1e-12)
    measured = np.ones(SHAPE, bool)
    measured[0, 1, 2] = False
    exposure = Exposure(np.full(SHAPE, 3, np.float32), pattern.grid, measured)
    write_pattern(tmp_path / "c.h5", pattern, exposure=exposure)
    found = read_exposure(tmp_path / "c.h5")
    assert (found.counts == 3).all()
    np.testing.assert_array_equal(found.mask, measured)


def test_q_off_a_regular_grid_is_refused() -> None:
    q = np.stack(_pattern().grid.axes(), -1)
    q[3, 4, 5, 1] += 1e-4
    with pytest.raises(ValueError, match="must lie on a regular grid"):
        grid_from_q(q)


@pytest.mark.parametrize(("name", "message"), [("q_y", "it lacks q_y"), ("intensity", "it lacks intensity")])
def test_a_pattern_without_a_dataset_is_refused(tmp_path: Path, name: str, message: str) -> None:
    write_pattern(tmp_path / "p.h5", _pattern())
    with h5py.File(tmp_path / "p.h5", "r+") as file:
        del file[name]
    with pytest.raises(ValueError, match=message):
        read_exposure(tmp_path / "p.h5")


def test_a_sample_of_a_data_set_is_chosen_by_index(tmp_path: Path, make_sample: SampleMaker, recipe: Recipe) -> None:
    samples = [make_sample(8), make_sample(9, masked=True)]
    write_samples(tmp_path / "set.h5", samples, 2, recipe)
    exposure = read_exposure(tmp_path / "set.h5", index=1)
    np.testing.assert_array_equal(exposure.mask, samples[1].exposure.mask)
    for index, message in ((None, "holds 2 samples; choose one with --index 0 to 1"), (2, r"must lie in \[0, 1\]")):
        with pytest.raises(ValueError, match=message):
            read_exposure(tmp_path / "set.h5", index=index)


def test_arguments_that_a_format_does_not_take_are_refused(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--index must be left out"):
        read_exposure(scan / "frames", index=0)
    write_pattern(tmp_path / "p.h5", _pattern())
    with pytest.raises(ValueError, match="--index must be left out"):
        read_exposure(tmp_path / "p.h5", index=0)
    with pytest.raises(ValueError, match="--spec and --scan must be left out"):
        read_exposure(tmp_path / "p.h5", scan=3)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_exposure(tmp_path / "none.npz")


def test_the_measured_gold_scan_is_the_same_as_frames_and_as_npz(shared: Path) -> None:
    folder = shared / "real" / "34idc-gold-scan54"
    frames, stack = read_exposure(folder / "frames"), read_exposure(folder / "stack.npz")
    np.testing.assert_array_equal(frames.counts, stack.counts)
    np.testing.assert_array_equal(frames.mask, stack.mask)
    assert frames.counts.max() == 165_297
    assert frames.counts.shape == (201, 256, 256)
    for exposure in (frames, stack):
        assert exposure.grid is not None
        assert 2 * np.pi / np.linalg.norm(exposure.grid.centre) == pytest.approx(2.335, abs=1e-3)
        assert exposure.mask is not None
        assert 0.99 < exposure.mask.mean() < 1
    totals = np.load(folder / "stack.npz")["spec_imagetot"]
    np.testing.assert_array_equal(frames.counts.sum((1, 2), dtype=np.float64), totals)


def test_a_measured_stack_without_geometry_is_read(shared: Path) -> None:
    exposure = read_exposure(shared / "real" / "chan2021-64" / "ft_crop_64.tif")
    assert exposure.counts.shape == (64, 64, 64)
    assert exposure.grid is None
