"""Patterns in CXI, the HDF5 of the Coherent X-ray Imaging Data Bank (Maia, Nature Methods 9, 854, 2012). Free of torch.

Read is the first entry's ``data_1/data``, else ``image_1/data``, else ``instrument_1/detector_1/data``: (frame, row,
column). CXI says nothing of a rocking curve's angles, so that the geometry comes from a SPEC file, as for frames.
"""

from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T", bound=np.generic)

ENTRY, IMAGE = "entry_1", "entry_1/image_1"
PLACES = ("entry_1/data_1", IMAGE, "entry_1/instrument_1/detector_1")
"""Groups that may hold ``data``, and ``mask``, in the order in which they are asked."""
UNUSABLE = {
    "invalid": 1, "saturated": 2, "hot": 4, "dead": 8, "shadowed": 16, "in a peak mask": 32, "to be ignored": 64,
    "bad": 128, "missing": 512,
}  # fmt: skip
"""Bits of CXI's pixel mask that void a count; those beyond only describe it."""


def is_cxi(path: Path) -> bool:
    """Whether the HDF5 file ``path`` names itself CXI or has CXI's first entry."""
    try:
        with h5py.File(path, "r") as file:
            return "cxi_version" in file or isinstance(file.get(ENTRY), h5py.Group)
    except OSError:
        return False


def read_cxi(path: Path) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """Counts as the file holds them, centre in the middle, and where they are usable (None: everywhere).

    Raises
    ------
    ValueError
        If no group holds data, they are a real-space image or complex, the mask has another shape, or the file is
        damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            found = [f"{place}/data" for place in PLACES if isinstance(file.get(f"{place}/data"), h5py.Dataset)]
            if not found:
                raise ValueError(f"it must hold one of {', '.join(place + '/data' for place in PLACES)}, it holds none")
            data = file[found[0]]
            image = file.get(IMAGE) if file.get(f"{IMAGE}/data") == data else None
            counts, usable = data[()], _usable(file, data.shape)
            if np.iscomplexobj(counts) or _word(image, "data_space") == "real":
                raise ValueError(f"{found[0]} must be a measured pattern, got a real-space or complex image")
            shifted = _word(image, "is_fft_shifted") in ("1", "True")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is no readable CXI pattern: {' '.join(str(error).split())}") from error
    return (_centred(counts), None if usable is None else _centred(usable)) if shifted else (counts, usable)


def _usable(file: h5py.File, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    for place in PLACES:
        mask = file.get(f"{place}/mask")
        if isinstance(mask, h5py.Dataset):
            bits = mask[()].astype(np.int64)
            if bits.shape not in (shape, shape[1:]):
                raise ValueError(
                    f"{place}/mask must have the shape of the data {shape} or of a frame, got {bits.shape}"
                )
            return np.broadcast_to((bits & sum(UNUSABLE.values())) == 0, shape)
    return None


def _word(image: h5py.Group | None, name: str) -> str:
    """What a dataset or an attribute of the image says, as text."""
    if image is None:
        return ""
    value = image[name][()] if name in image else image.attrs.get(name, "")
    value = np.asarray(value).reshape(-1)[0]
    return value.decode() if isinstance(value, bytes) else str(value)


def _centred(volume: NDArray[_T]) -> NDArray[_T]:
    """The zero frequency moved from index 0 to ``N // 2``."""
    return np.roll(volume, [n // 2 for n in volume.shape], tuple(range(volume.ndim)))
