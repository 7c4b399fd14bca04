"""Patterns in CXI, the HDF5 of the Coherent X-ray Imaging Data Bank (Maia, Nature Methods 9, 854, 2012). Free of torch.

Read is the first entry's ``data_1/data``, else ``image_1/data``, else ``instrument_1/detector_1/data``: (frame, row,
column). CXI says nothing of a rocking curve's angles, so that the geometry comes from a SPEC file, as for frames, or
from the group ``q_grid_1`` that ``write_cxi`` adds. What is written is NeXus as well: ``NX_class``, ``default``,
``signal``.
"""

import warnings
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from cdi import __version__
from cdi.geometry.rocking_scan import HC_KEV_ANGSTROM
from cdi.grid import QGrid
from cdi.pattern import Exposure
from data.formats.stack import HeaderWarning, Stack, StackOptions, check_announced

_T = TypeVar("_T", bound=np.generic)

ENTRY, IMAGE = "entry_1", "entry_1/image_1"
DETECTOR, SOURCE, Q_GRID = "entry_1/instrument_1/detector_1", "entry_1/instrument_1/source_1", "entry_1/q_grid_1"
PLACES = ("entry_1/data_1", IMAGE, DETECTOR)
"""Groups that may hold ``data``, and ``mask``, in the order in which they are asked."""
UNUSABLE = {
    "invalid": 1, "saturated": 2, "hot": 4, "dead": 8, "shadowed": 16, "in a peak mask": 32, "to be ignored": 64,
    "bad": 128, "missing": 512,
}  # fmt: skip
"""Bits of CXI's pixel mask that void a count; those beyond only describe it."""
CXI_VERSION = 150
HC_JOULE_METRE = HC_KEV_ANGSTROM * 1e-10 * 1.602176634e-16


def is_cxi(path: Path) -> bool:
    """Whether the HDF5 file ``path`` names itself CXI or has CXI's first entry."""
    try:
        with h5py.File(path, "r") as file:
            return "cxi_version" in file or isinstance(file.get(ENTRY), h5py.Group)
    except OSError:
        return False


def read_cxi(path: Path) -> Stack:
    """Counts as the file holds them, centre in the middle, where they are usable, and the grid of ``write_cxi``.

    Warns (``HeaderWarning``) where entries contradict each other.

    Raises
    ------
    ValueError
        If no group holds data, they are a real-space image or complex, the mask has another shape or NaN, or the file
        is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            found = [f"{place}/data" for place in PLACES if isinstance(file.get(f"{place}/data"), h5py.Dataset)]
            if not found:
                raise ValueError(f"it must hold one of {', '.join(place + '/data' for place in PLACES)}, it holds none")
            data = file[found[0]]
            image = file.get(IMAGE) if file.get(f"{IMAGE}/data") == data else None
            if data.dtype.kind == "c" or _word(image, "data_space") == "real":
                raise ValueError(f"{found[0]} must be a measured pattern, got a real-space or complex image")
            check_announced(data.shape or (), data.dtype)
            counts, usable = data[()], _usable(file, data.shape)
            grid = _grid(file, data.shape)
            shifted = _word(image, "is_fft_shifted") in ("1", "True")
            contradictions = [*_contradictions(file, found)]
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is no readable CXI pattern: {' '.join(str(error).split())}") from error
    for text in contradictions:
        warnings.warn(f"{path}: {text}", HeaderWarning, stacklevel=2)
    if shifted:
        counts, usable = _centred(counts), usable if usable is None or usable.ndim == 2 else _centred(usable)
    return Stack(counts, usable=usable, grid=grid)


def read_cxi_stack(path: Path, options: StackOptions) -> Stack:
    """``read_cxi``, or what lies at ``options.dataset``."""
    from data.formats.hdf5_file import read_hdf5

    return read_cxi(path) if options.dataset is None else read_hdf5(path, options)


def write_cxi(path: str | Path, exposure: Exposure, *, energy_keV: float | None = None) -> None:
    """Write ``exposure`` as CXI, with NeXus' attributes beside.

    Counts, ``mask`` (0: usable, 128: bad; one frame's where all frames share it), and where the geometry is known
    ``q_grid_1``: ``q_centre``, ``q_step`` in Å⁻¹, row i along axis i, 2π included.
    """
    counts: NDArray[Any] = exposure.counts
    whole = np.array_equal(counts, np.rint(counts))
    with h5py.File(path, "w") as file:
        file["cxi_version"] = CXI_VERSION
        file.attrs["default"], file.attrs["creator"] = ENTRY, f"crystal-defects-insitu {__version__}"
        entry = _group(file, ENTRY, "NXentry", default="data_1")
        _group(file, "entry_1/instrument_1", "NXinstrument")
        detector = _group(file, DETECTOR, "NXdetector")
        stack = detector.create_dataset(
            "data", data=counts.astype(np.uint32) if whole else counts,
            chunks=(1, *counts.shape[1:]), compression="gzip", compression_opts=4, shuffle=True,
        )  # fmt: skip
        stack.attrs["units"] = "counts"
        data = _group(file, "entry_1/data_1", "NXdata", signal="data", interpretation="image")
        data["data"] = h5py.SoftLink(f"/{DETECTOR}/data")
        if exposure.mask is not None:
            mask = exposure.mask[0] if (exposure.mask == exposure.mask[0]).all() else exposure.mask
            detector.create_dataset("mask", data=np.where(mask, 0, UNUSABLE["bad"]).astype(np.uint32), compression=4)
            data["mask"] = h5py.SoftLink(f"/{DETECTOR}/mask")
        if exposure.grid is not None:
            grid = _group(file, Q_GRID, "NXcollection")
            grid["q_centre"], grid["q_step"] = exposure.grid.centre, exposure.grid.step
            for name in grid:
                grid[name].attrs["units"] = "1/angstrom"
        if energy_keV is not None:
            source = _group(file, SOURCE, "NXsource")
            source["energy"] = HC_JOULE_METRE / (HC_KEV_ANGSTROM / energy_keV * 1e-10)
            source["energy"].attrs["units"] = "J"
        entry["program_name"] = "crystal-defects-insitu"


def _group(file: h5py.File, name: str, kind: str, **attributes: str) -> h5py.Group:
    group = file.require_group(name)
    group.attrs["NX_class"] = kind
    group.attrs.update(attributes)
    return group


def _usable(file: h5py.File, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    for place in PLACES:
        mask = file.get(f"{place}/mask")
        if isinstance(mask, h5py.Dataset):
            if mask.shape not in (shape, shape[1:]):
                raise ValueError(
                    f"{place}/mask must have the shape of the data {shape} or of a frame, got {mask.shape}"
                )
            bits = mask[()]
            if not np.isfinite(bits).all():
                raise ValueError(f"{place}/mask must hold CXI's bits, got NaN or infinity")
            return np.asarray((bits.astype(np.int64) & sum(UNUSABLE.values())) == 0)
    return None


def _grid(file: h5py.File, shape: tuple[int, int, int]) -> QGrid | None:
    if Q_GRID not in file:
        return None
    return QGrid(file[f"{Q_GRID}/q_centre"][()], file[f"{Q_GRID}/q_step"][()], shape)


def _contradictions(file: h5py.File, found: list[str]) -> list[str]:
    """What entries say against each other, or against sense, a line each."""
    said = []
    energy, wavelength = _number(file, f"{SOURCE}/energy"), _number(file, f"{SOURCE}/wavelength")
    if energy is not None and not 1e-17 < energy < 1e-13:
        said.append(f"source_1/energy is {energy:.4g}; CXI gives it in J, {energy * 6.2415e15:.3g} keV is no X-ray")
    elif energy is not None and wavelength is not None and abs(energy * wavelength / HC_JOULE_METRE - 1) > 0.01:
        said.append(
            f"source_1/energy says {HC_JOULE_METRE / energy * 1e10:.4f} Å, "
            f"source_1/wavelength {wavelength * 1e10:.4f} Å"
        )
    for name in ("distance", "x_pixel_size", "y_pixel_size"):
        value = _number(file, f"{DETECTOR}/{name}")
        if value is not None and not (np.isfinite(value) and 0 < value < 1000):
            said.append(f"detector_1/{name} is {value:g} m")
    shapes = {name: file[name].shape for name in found}
    if len(set(shapes.values())) > 1:
        said.append("data differ in shape: " + ", ".join(f"{name} {shape}" for name, shape in shapes.items()))
    return said


def _number(file: h5py.File, name: str) -> float | None:
    item = file.get(name)
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "iuf" or item.size != 1:
        return None
    return float(np.asarray(item[()]).reshape(-1)[0])


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
