"""Frames in every format become one exposure; axes, masks and geometry are told where files do not tell them."""

import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
from stacks import SHAPE, assert_same_exposure, counts, exposure, geometry_file

from data.formats.exposure_writer import write_exposure
from data.formats.geometry_file import read_geometry
from data.formats.pattern_files import read_exposure
from data.formats.stack import HeaderWarning, StackOptions

HUGE = (100_000, 1000, 1000)


@pytest.fixture(autouse=True)
def no_other_warning() -> object:
    """A warning that a test does not ask for is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", HeaderWarning)
        yield


@pytest.mark.parametrize("suffix", [".cxi", ".h5", ".nxs", ".npz", ".mat"])
@pytest.mark.parametrize("masked", [True, False])
def test_what_is_written_is_read_with_mask_and_geometry(tmp_path: Path, suffix: str, masked: bool) -> None:
    write_exposure(tmp_path / f"a{suffix}", exposure(masked=masked))
    assert_same_exposure(read_exposure(tmp_path / f"a{suffix}"), exposure(masked=masked))


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_formats_of_counts_alone_keep_the_counts(tmp_path: Path, suffix: str) -> None:
    write_exposure(tmp_path / f"a{suffix}", exposure())
    found = read_exposure(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(found.counts, counts())
    assert (found.grid, found.mask) == (None, None)


def test_an_unknown_ending_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"output must end in one of .cxi, .h5, .*, got '.*a.jpg'"):
        write_exposure(tmp_path / "a.jpg", exposure())


def nexus(path: Path, *, default: bool = True, mask: np.ndarray | None = None) -> Path:
    """As a beamline writes it: the detector's stack, a link to it in the default plot, other data beside."""
    with h5py.File(path, "w") as file:
        detector = file.create_group("scan_7/instrument/mpx")
        detector["data"] = counts()
        if mask is not None:
            detector["pixel_mask"] = mask
        file["scan_7/other/fluorescence"] = np.zeros((12, 5, 2048), np.uint16)
        if default:
            plot = file.create_group("scan_7/plot")
            plot["signal"] = h5py.SoftLink("/scan_7/instrument/mpx/data")
            file.attrs["default"], file["scan_7"].attrs["default"], plot.attrs["signal"] = "scan_7", "plot", "signal"
    return path


def test_nexus_s_default_plot_is_read_and_other_stacks_by_path(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_exposure(nexus(tmp_path / "a.nxs")).counts, counts())
    without = nexus(tmp_path / "b.nxs", default=False)
    with pytest.raises(ValueError, match=r"holds 2 stacks; choose one with --dataset /PATH: /scan_7/instrument/mpx/da"):
        read_exposure(without)
    found = read_exposure(without, options=StackOptions(dataset="/scan_7/instrument/mpx/data"))
    np.testing.assert_array_equal(found.counts, counts())


def test_the_detector_s_pixel_mask_is_used(tmp_path: Path) -> None:
    """0 is usable in NeXus; a given mask adds to it."""
    bad = np.zeros(SHAPE[1:], np.uint32)
    bad[2, 3] = 1
    path = nexus(tmp_path / "a.nxs", default=False, mask=bad)
    good = np.ones(SHAPE[1:], np.uint8)
    good[4, 5] = 0
    tifffile.imwrite(tmp_path / "mask.tif", good)
    options = StackOptions("/scan_7/instrument/mpx/data", mask=str(tmp_path / "mask.tif"), mask_marks="good")
    found = read_exposure(path, options=options)
    assert found.mask is not None
    assert sorted(map(tuple, np.argwhere(~found.mask[3]))) == [(2, 3), (4, 5)]


@pytest.mark.parametrize("name", ["a.mat", "b.mat"])
def test_matlab_s_axes_are_matlab_s_own(tmp_path: Path, name: str) -> None:
    """Version 5 by scipy; 7.3 is HDF5 that MATLAB writes with the axes in reverse."""
    if name == "a.mat":
        scipy.io.savemat(tmp_path / name, {"data": counts(), "note": "gold"})
    else:
        with h5py.File(tmp_path / name, "w", userblock_size=512) as file:
            file["data"] = counts().T
        with (tmp_path / name).open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    np.testing.assert_array_equal(read_exposure(tmp_path / name).counts, counts())


@pytest.mark.parametrize("axes", ["frc", "rcf", "crf", "cfr", "fcr"])
def test_axes_in_any_order_are_told_with_masks_that_follow(tmp_path: Path, axes: str) -> None:
    """A mask of the stack's shape has the stack's axes; one of a frame is (row, column)."""
    order = tuple("frc".index(letter) for letter in axes)
    mask = exposure().mask
    assert mask is not None
    np.save(tmp_path / "a.npy", counts().transpose(order))
    np.save(tmp_path / "m.npy", ~mask.transpose(order))
    np.save(tmp_path / "flat.npy", ~mask[0])
    found = read_exposure(tmp_path / "a.npy", options=StackOptions(axes=axes, mask=str(tmp_path / "m.npy")))
    np.testing.assert_array_equal(found.counts, counts())
    np.testing.assert_array_equal(found.mask, mask)
    found = read_exposure(tmp_path / "a.npy", options=StackOptions(axes=axes, mask=str(tmp_path / "flat.npy")))
    np.testing.assert_array_equal(found.mask, np.broadcast_to(mask[0], SHAPE))


def test_the_rocking_axis_is_found_by_the_angles_and_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=counts().transpose(1, 2, 0), theta_deg=0.01 * np.arange(12))
    with pytest.warns(HeaderWarning, match=r"axis 2 is taken as the rocking axis, .* 12 points .*--axes rcf says so"):
        found = read_exposure(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.counts, counts())
    cube = np.random.default_rng(0).poisson(3.0, (9, 12, 12))
    np.savez(tmp_path / "b.npz", frames=cube, theta_deg=0.01 * np.arange(12))
    with pytest.raises(ValueError, match=r"rocking axis of .* is unknown: the scan has 12 points, 2 axes"):
        read_exposure(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", frames=cube, theta_deg=0.01 * np.arange(7))
    with pytest.raises(ValueError, match=r"is unknown: the scan has 7 points, no axis of \(9, 12, 12\) so many"):
        read_exposure(tmp_path / "c.npz")


def test_the_geometry_of_any_diffractometer_comes_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", counts())
    path = str(geometry_file(tmp_path))
    found = read_exposure(tmp_path / "a.npy", options=StackOptions(geometry=path))
    expected = read_geometry(path, SHAPE).grid()
    assert found.grid is not None
    np.testing.assert_array_equal(found.grid.step, expected.step)
    assert np.linalg.norm(found.grid.centre) == pytest.approx(4 * np.pi / 1.37760 * np.sin(np.radians(18.17)), rel=2e-3)
    with pytest.raises(ValueError, match="--geometry must be left out with --spec or --scan"):
        read_exposure(tmp_path / "a.npy", scan=4, options=StackOptions(geometry=path))
    (tmp_path / "geometry.yaml").write_text("diffractometer: ID01\nroking: eta\n")
    with pytest.raises(ValueError, match="unknown key 'roking'; did you mean 'rocking'"):
        read_exposure(tmp_path / "a.npy", options=StackOptions(geometry=path))


def _huge_npy(path: Path) -> Path:
    with (path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": HUGE})
    return path / "a.npy"


def _huge_hdf5(path: Path) -> Path:
    with h5py.File(path / "a.nxs", "w") as file:
        file.create_dataset("data", HUGE, np.float32, chunks=(1, 100, 100))
    return path / "a.nxs"


def _huge_cxi(path: Path) -> Path:
    with h5py.File(path / "a.cxi", "w") as file:
        file.create_dataset("entry_1/data_1/data", HUGE, np.float32, chunks=(1, 100, 100))
    return path / "a.cxi"


def _huge_tiff(path: Path) -> Path:
    """One page whose header says 200,000 × 200,000 pixels."""
    tifffile.imwrite(path / "a.tif", np.ones((9, 10), np.uint16))
    raw = bytearray((path / "a.tif").read_bytes())
    (start,) = struct.unpack_from("<I", raw, 4)
    (tags,) = struct.unpack_from("<H", raw, start)
    for number in range(tags):
        place = start + 2 + 12 * number
        if struct.unpack_from("<H", raw, place)[0] in (256, 257):
            struct.pack_into("<HII", raw, place + 2, 4, 1, 200_000)
    (path / "a.tif").write_bytes(raw)
    return path / "a.tif"


def _objects(path: Path) -> Path:
    np.save(path / "a.npy", np.array([[[{"a": 1}]]], dtype=object), allow_pickle=True)
    return path / "a.npy"


def _empty(path: Path) -> Path:
    (path / "a.npy").write_bytes(b"")
    return path / "a.npy"


def _cxi_without_data(path: Path) -> Path:
    with h5py.File(path / "a.cxi", "w") as file:
        file["cxi_version"] = 150
        file["entry_1/instrument_1/source_1/energy"] = 1.4e-15
    return path / "a.cxi"


def _cxi_with_nan_mask(path: Path) -> Path:
    with h5py.File(path / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = counts()
        file["entry_1/data_1/mask"] = np.full(SHAPE[1:], np.nan)
    return path / "a.cxi"


def _flat(path: Path) -> Path:
    with h5py.File(path / "a.nxs", "w") as file:
        file["entry/data"] = counts()[0]
    return path / "a.nxs"


def _cells(path: Path) -> Path:
    scipy.io.savemat(path / "a.mat", {"data": np.array([[1, "a"]], dtype=object)})
    return path / "a.mat"


def _truncated_mat(path: Path) -> Path:
    scipy.io.savemat(path / "a.mat", {"data": counts()})
    (path / "a.mat").write_bytes((path / "a.mat").read_bytes()[:3000])
    return path / "a.mat"


def _answer(path: Path) -> Path:
    with h5py.File(path / "a.h5", "w") as file:
        file.attrs["format"] = "cdi-prediction"
    return path / "a.h5"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_huge_npy, r"at most 268435456 voxels, its header announces 100000 × 1000 × 1000 \(400 GB\)"),
        (_huge_hdf5, r"its header announces 100000 × 1000 × 1000 \(400 GB\)"),
        (_huge_cxi, r"its header announces 100000 × 1000 × 1000 \(400 GB\)"),
        (_huge_tiff, r"its header announces|must hold a three-dimensional array"),
        (_objects, "it must hold real numbers, got an array of objects"),
        (_empty, "a.npy must be one of: .*; got an empty file"),
        (_cxi_without_data, "it must hold one of entry_1/data_1/data, .*, it holds none"),
        (_cxi_with_nan_mask, "entry_1/data_1/mask must hold CXI's bits, got NaN"),
        (_flat, r"it must hold a three-dimensional array \(frame, row, column\), it holds"),
        (_cells, "it must hold a three-dimensional array .*, it holds"),
        (_truncated_mat, "a.mat is no readable stack"),
        (_answer, "must hold a pattern, got an answer .*; look at it with: cdi view"),
    ],
)
def test_what_is_no_pattern_is_one_line(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_exposure(make(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("mask", "marks", "message"),
    [
        (np.full(SHAPE[1:], np.nan), "bad", "mask.npy: mask must be 0 or not 0 everywhere, got 90 pixels that are NaN"),
        (np.ones(SHAPE[1:]), "bad", "it leaves none; non-zero may mark good ones: --mask-marks good"),
        (np.zeros(SHAPE[1:]), "good", "it leaves none; non-zero may mark bad ones: --mask-marks bad"),
        (np.zeros((3, 4)), "bad", r"mask must have the shape of the frames \(9, 10\), got \(3, 4\)"),
        (np.zeros((3, 4, 5)), "bad", r"mask .* must have the shape of the stack \(12, 9, 10\) or of a frame"),
        (np.array([["a"]]), "bad", "mask must hold numbers"),
    ],
)
def test_a_mask_that_is_none_is_one_line(tmp_path: Path, mask: np.ndarray, marks: str, message: str) -> None:
    np.save(tmp_path / "a.npy", counts())
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(ValueError, match=message):
        read_exposure(tmp_path / "a.npy", options=StackOptions(mask=str(tmp_path / "mask.npy"), mask_marks=marks))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"axes": "frr"}, "axes must name frames, rows and columns"), ({"mask_marks": "hot"}, "must be bad or good")],
)
def test_options_that_there_are_not_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StackOptions(**options)


def test_a_geometry_given_twice_is_refused(tmp_path: Path) -> None:
    write_exposure(tmp_path / "a.cxi", exposure())
    with pytest.raises(ValueError, match="--spec, --scan, --axes and --geometry must be left out"):
        read_exposure(tmp_path / "a.cxi", scan=3)
