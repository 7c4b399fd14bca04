"""CXI between this program and others: silx reads what is written here; files as PyNX writes them are read; headers."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from stacks import SHAPE, counts, exposure

from data.formats.cxi_file import HC_JOULE_METRE, write_cxi
from data.formats.pattern_files import read_exposure
from data.formats.stack import HeaderWarning

PYNX_MASK = "entry_1/instrument_1/detector_1/mask"


def test_silx_finds_the_same_counts_mask_and_grid(tmp_path: Path) -> None:
    """silx is a reader of the field that follows NeXus' attributes from the root by itself."""
    silx_io = pytest.importorskip("silx.io")
    nxdata = pytest.importorskip("silx.io.nxdata")
    wanted = exposure()
    write_cxi(tmp_path / "a.cxi", wanted, energy_keV=9.0)
    with silx_io.open(str(tmp_path / "a.cxi")) as file:
        plot = nxdata.get_default(file)
        assert plot is not None
        assert plot.is_valid
        assert plot.signal.shape == SHAPE
        np.testing.assert_array_equal(plot.signal[()], wanted.counts)
        assert silx_io.is_dataset(file["/entry_1/data_1/data"])
        np.testing.assert_array_equal(file[f"/{PYNX_MASK}"][()] == 0, wanted.mask)
        assert wanted.grid is not None
        np.testing.assert_array_equal(file["/entry_1/q_grid_1/q_step"][()], wanted.grid.step)
        joule = file["/entry_1/instrument_1/source_1/energy"][()]
        assert joule == pytest.approx(9.0e3 * 1.602176634e-19)


def test_a_mask_that_all_frames_share_is_written_once(tmp_path: Path) -> None:
    whole = exposure()
    assert whole.mask is not None
    shared = type(whole)(whole.counts, whole.grid, np.broadcast_to(whole.mask[0], SHAPE))
    write_cxi(tmp_path / "a.cxi", shared)
    with h5py.File(tmp_path / "a.cxi") as file:
        assert file[PYNX_MASK].shape == SHAPE[1:]
    np.testing.assert_array_equal(read_exposure(tmp_path / "a.cxi").mask, shared.mask)


def as_pynx(path: Path, **changes: float) -> Path:
    """Groups, units and links of PyNX's ``save_data_cxi``."""
    numbers = {"energy": 9000 * 1.602176634e-19, "wavelength": 1.377602e-10, "distance": 0.5, "x_pixel_size": 55e-6}
    numbers |= changes
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 140
        file.attrs["default"] = "entry_1"
        entry = file.create_group("entry_1")
        entry["instrument_1/source_1/energy"] = numbers["energy"]
        entry["instrument_1/source_1/wavelength"] = numbers["wavelength"]
        detector = entry.create_group("instrument_1/detector_1")
        detector["distance"], detector["x_pixel_size"] = numbers["distance"], numbers["x_pixel_size"]
        detector["data"], detector["mask"] = counts(), (~exposure().mask).astype(np.int8)
        entry.create_group("data_1")["data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
    return path


def test_a_file_of_pynx_is_read_with_its_mask(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    found = read_exposure(as_pynx(tmp_path / "a.cxi"))
    assert exposure().mask is not None
    np.testing.assert_array_equal(found.mask, exposure().mask)
    np.testing.assert_array_equal(found.counts, counts())
    assert not [w for w in recwarn if issubclass(w.category, HeaderWarning)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"wavelength": 1.5e-10}, "source_1/energy says 1.3776 Å, source_1/wavelength 1.5000 Å"),
        ({"energy": 9000.0}, "source_1/energy is 9000; CXI gives it in J"),
        ({"distance": -0.5}, "detector_1/distance is -0.5 m"),
        ({"x_pixel_size": np.nan}, "detector_1/x_pixel_size is nan m"),
    ],
)
def test_a_header_that_contradicts_itself_is_told(tmp_path: Path, changes: dict[str, float], says: str) -> None:
    with pytest.warns(HeaderWarning, match=says):
        read_exposure(as_pynx(tmp_path / "a.cxi", **changes))
    assert pytest.approx(1.98644586e-25, rel=1e-8) == HC_JOULE_METRE  # CODATA 2018, J m
