"""An exposure in any format of the field, by the ending of its name; all but VTK's are read back. Free of torch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdi.pattern import Exposure
from data.formats.cxi_file import write_cxi
from data.formats.vtk_volumes import write_vtk_volumes

Array = NDArray[Any]


def write_exposure(path: str | Path, exposure: Exposure) -> None:
    """Write ``exposure`` to ``path``; what the format cannot hold is left out (``WRITERS``).

    Raises
    ------
    ValueError
        For an unknown ending.
    """
    writer_of(Path(path))(Path(path), exposure)


def writer_of(path: Path) -> Callable[[Path, Exposure], None]:
    """What writes files of the ending of ``path``.

    Raises
    ------
    ValueError
        If there is none; lists the endings.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"output must end in one of {', '.join(WRITERS)}, got {str(path)!r}")
    return WRITERS[path.suffix]


def arrays_of(exposure: Exposure) -> Mapping[str, Array]:
    """``counts`` (whole numbers as such), and ``mask`` (1: usable), ``q_centre``, ``q_step`` where they are known."""
    arrays: dict[str, Array] = {"counts": _plain(exposure.counts)}
    if exposure.mask is not None:
        arrays["mask"] = exposure.mask.astype(np.uint8)
    if exposure.grid is not None:
        arrays |= {"q_centre": exposure.grid.centre, "q_step": exposure.grid.step}
    return arrays


def _npz(path: Path, exposure: Exposure) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays_of(exposure))


def _npy(path: Path, exposure: Exposure) -> None:
    with path.open("wb") as file:
        np.save(file, _plain(exposure.counts), allow_pickle=False)


def _mat(path: Path, exposure: Exposure) -> None:
    from scipy.io import savemat

    savemat(path, dict(arrays_of(exposure)), appendmat=False, do_compression=True)


def _tiff(path: Path, exposure: Exposure) -> None:
    import tifffile

    tifffile.imwrite(path, exposure.counts, photometric="minisblack")


def _vtk(path: Path, exposure: Exposure) -> None:
    step = np.eye(3) if exposure.grid is None else exposure.grid.step
    volumes = {"counts": exposure.counts, "log10": np.log10(np.maximum(np.nan_to_num(exposure.counts), 0) + 1)}
    if exposure.mask is not None:
        volumes["measured"] = exposure.mask
    # Around the centre: ParaView's single precision would drown the pattern beside |Q|.
    write_vtk_volumes(path, volumes, step, np.zeros(3))


def _plain(counts: NDArray[np.float32]) -> Array:
    whole = np.array_equal(counts, np.rint(counts)) and counts.max() < 2**32
    return counts.astype(np.uint32) if whole else counts


WRITERS: Mapping[str, Callable[[Path, Exposure], None]] = {
    ".cxi": write_cxi, ".h5": write_cxi, ".nxs": write_cxi, ".npz": _npz, ".npy": _npy, ".mat": _mat, ".tif": _tiff,
    ".tiff": _tiff, ".vti": _vtk, ".vts": _vtk,
}  # fmt: skip
"""By ending. VTK's files are for looking only."""
COUNTS_ALONE = (".npy", ".tif", ".tiff")
"""Endings of files that hold neither mask nor geometry."""
