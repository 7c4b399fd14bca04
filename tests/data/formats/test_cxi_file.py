"""CXI files of the field become exposures: data, masks by their bits, centring, and one line for what is none."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.formats.pattern_files import read_exposure

SHAPE = (9, 11, 10)


def counts() -> np.ndarray:
    found = np.random.default_rng(2).poisson(3.0, SHAPE).astype(np.int32)
    found[4, 5, 5] = 900
    return found


def write(path: Path, **contents: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        for name, value in contents.items():
            file[name.replace("__", "/")] = value
    return path


@pytest.mark.parametrize("place", ["data_1", "image_1", "instrument_1__detector_1"])
def test_the_data_are_found_where_cxi_puts_them(tmp_path: Path, place: str) -> None:
    path = write(tmp_path / "scan.cxi", **{f"entry_1__{place}__data": counts()})
    exposure = read_exposure(path)
    np.testing.assert_array_equal(exposure.counts, counts())
    assert exposure.grid is None
    assert exposure.mask is None


def test_bits_of_the_mask_that_void_a_count_do_and_others_do_not(tmp_path: Path) -> None:
    """A frame's mask holds for all frames; 256 (resolution) and 1024 (halo) only describe; NaN is allowed in gaps."""
    mask = np.zeros(SHAPE[1:], np.uint32)
    mask[0, :9] = [1, 2, 4, 8, 16, 32, 64, 128, 512]
    mask[1, :3] = [256, 1024, 2048]
    mask[2, 1] = 256 | 8
    values = counts().astype(np.float32)
    values[:, 0, 0] = np.nan
    path = write(tmp_path / "scan.cxi", entry_1__data_1__data=values, entry_1__instrument_1__detector_1__mask=mask)
    exposure = read_exposure(path)
    assert exposure.mask is not None
    assert exposure.mask.shape == SHAPE
    lost = sorted(map(tuple, np.argwhere(~exposure.mask[3])))
    assert lost == [*((0, column) for column in range(9)), (2, 1)]


@pytest.mark.parametrize("as_attribute", [False, True])
def test_an_image_with_its_centre_in_the_corner_is_centred(tmp_path: Path, as_attribute: bool) -> None:
    """The brightest voxel comes to N // 2, the mask with it; ``data_1`` is the customary link to the image."""
    corner = np.roll(counts(), [-(n // 2) for n in SHAPE], (0, 1, 2))
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 1, 0] = 1
    path = write(tmp_path / "scan.cxi", entry_1__image_1__data=corner, entry_1__image_1__mask=mask)
    with h5py.File(path, "r+") as file:
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/image_1/data")
        if as_attribute:
            file["entry_1/image_1"].attrs["is_fft_shifted"] = 1
        else:
            file["entry_1/image_1/is_fft_shifted"] = 1
    exposure = read_exposure(path)
    np.testing.assert_array_equal(exposure.counts, counts())
    assert exposure.mask is not None
    assert list(map(tuple, np.argwhere(~exposure.mask))) == [(2 + 4, 1 + 5, 0 + 5)]


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        ({"entry_1__title": "empty"}, r"it must hold one of entry_1/data_1/data, .* it holds none"),
        ({"entry_1__image_1__data": counts() * (1 + 1j)}, "must be a measured pattern, got a real-space or complex"),
        (
            {"entry_1__image_1__data": counts(), "entry_1__image_1__data_space": "real"},
            "must be a measured pattern, got a real-space or complex image",
        ),
        (
            {"entry_1__data_1__data": counts(), "entry_1__data_1__mask": np.zeros((3, 4))},
            r"entry_1/data_1/mask must have the shape of the data \(9, 11, 10\) or of a frame, got \(3, 4\)",
        ),
        ({"entry_1__data_1__data": counts()[0]}, r"must hold a three-dimensional array .*got shape \(11, 10\)"),
    ],
    ids=["none", "complex", "real space", "mask", "flat"],
)
def test_what_is_no_pattern_is_one_line(tmp_path: Path, contents: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        read_exposure(write(tmp_path / "scan.cxi", **contents))
    assert str(tmp_path / "scan.cxi") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cxi_file_holds_one_pattern(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.cxi", entry_1__data_1__data=counts())
    with pytest.raises(ValueError, match="--index must be left out"):
        read_exposure(path, index=0)
