"""What lies beside a measurement: the SPEC file with its geometry, and the bad pixels.

Layout of 34-ID-C exports: ``frames/*.tif`` (or one file) with ``*.spec``, ``dark.tif`` and
``whitefield.tif`` in the same directory or the one above.
"""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.formats.spec_file import SpecFile, SpecScan
from data.formats.stack import HeaderWarning
from data.formats.tiff_files import DARK, WHITEFIELD, read_image

DEAD_FRACTION = 0.1
"""A pixel that answers the whitefield with less than this share of the median counts as dead."""
LEAST_KEV, MOST_KEV = 1.0, 100.0
TOTAL_TOLERANCE = 0.01
"""Share by which a frame's sum may miss what the scan says of it."""


def find_scan(
    data: Path, *, spec: Path | None, number: int | None, theta_deg: NDArray[np.float64] | None = None
) -> SpecScan | None:
    """The scan that took ``data``, or None where no SPEC file says.

    The number is, in this order: ``number``, the one in the frames' names (``_S0054_``), the one
    scan whose theta equals ``theta_deg``, the file's only theta scan.

    Raises
    ------
    ValueError
        If ``number`` is given without a SPEC file, several SPEC files lie there, or a given SPEC
        file leaves the scan open.
    """
    path = spec if spec is not None else _only_spec(data)
    if path is None:
        if number is not None:
            raise ValueError(f"scan {number} needs a SPEC file, none lies beside {data}; give one with --spec FILE")
        return None
    if not path.is_file():
        raise FileNotFoundError(f"the SPEC file {path} does not exist")
    file = SpecFile(path)
    number = number if number is not None else _scan_in_names(data)
    if number is not None:
        return file.scan(number)
    candidates = file.theta_scans
    if theta_deg is not None:
        candidates = [found for found in candidates if _same_theta(file, found, theta_deg)]
    if len(candidates) == 1:
        return file.scan(candidates[0])
    if spec is not None:
        raise ValueError(f"{path} leaves open which of its {len(candidates)} scans took {data}; give --scan N")
    return None


def measured_pixels(data: Path, shape: tuple[int, int], scan: SpecScan | None) -> NDArray[np.bool_] | None:
    """Good pixels ``(rows, columns)`` by the dark and the whitefield beside ``data``; None without them.

    A pixel is bad if the dark holds any count in it (hot) or the whitefield less than
    ``DEAD_FRACTION`` of its median (dead). Nothing is divided by the whitefield: that would
    break counting statistics.

    Raises
    ------
    ValueError
        If a file has another shape than the frames and the scan does not say where they lie in it.
    """
    good: NDArray[np.bool_] | None = None
    for name in (DARK, WHITEFIELD):
        path = next((folder / name for folder in _folders(data) if (folder / name).is_file()), None)
        if path is None:
            continue
        whole = read_image(path)
        window = _window(whole, shape, scan, path)
        median = float(np.median(whole))
        fine = window <= 0 if name == DARK else window >= DEAD_FRACTION * median
        good = fine if good is None else good & fine
    return good


def warn_of_contradictions(counts: NDArray[np.generic], scan: SpecScan, data: Path) -> None:
    """Warn (``HeaderWarning``) where frames ``counts`` (frame, row, column) and the scan, or its parts, disagree."""
    for text in (*_of_the_scan(scan), *_of_the_frames(counts, scan)):
        warnings.warn(f"{data}, scan {scan.number}: {text}", HeaderWarning, stacklevel=2)


def _of_the_scan(scan: SpecScan) -> Iterator[str]:
    energy, theta = scan.motors["energy_keV"], scan.theta_deg
    if not LEAST_KEV < energy < MOST_KEV:
        yield f"the motor Energy stands at {energy:g} keV, which is no energy of hard X-rays"
    if scan.commanded_deg is not None:
        step = float(np.abs(np.diff(theta)).mean())
        off = max(abs(theta[end] - wanted) for end, wanted in zip((0, -1), scan.commanded_deg, strict=True))
        if off > step:
            first, last = scan.commanded_deg
            yield (
                f"the command asks for theta {first:g}° to {last:g}°, the points run from {theta[0]:g}° to "
                f"{theta[-1]:g}°: the scan was stopped early, or the file was edited"
            )


def _of_the_frames(counts: NDArray[np.generic], scan: SpecScan) -> Iterator[str]:
    shape = counts.shape
    if scan.window is not None and (scan.window[1], scan.window[3]) != shape[1:]:
        yield f"the region read out was {scan.window[1]} × {scan.window[3]} pixels, frames are {shape[1]} × {shape[2]}"
    elif scan.totals is not None and len(scan.totals) == shape[0]:
        found = counts.sum((1, 2), dtype=np.float64)
        off = np.abs(found - scan.totals) > TOTAL_TOLERANCE * np.maximum(scan.totals, 1)
        if off.any():
            frame = int(off.argmax())
            yield (
                f"{int(off.sum())} of {shape[0]} frames hold other counts than the scan says, first frame {frame}: "
                f"{found[frame]:.0f} and not {scan.totals[frame]:.0f} (ImageTot): other frames, or corrected ones"
            )


def _folders(data: Path) -> list[Path]:
    return [data, data.parent] if data.is_dir() else [data.parent]


def _only_spec(data: Path) -> Path | None:
    for folder in _folders(data):
        found = sorted(folder.glob("*.spec"))
        if len(found) > 1:
            raise ValueError(f"{folder} must hold one SPEC file, got {len(found)}; choose with --spec FILE")
        if found:
            return found[0]
    return None


def _scan_in_names(data: Path) -> int | None:
    """N of ``…_S0054_00000.tif`` if all names in the directory, or the file's own, agree on one."""
    names = [path.name for path in data.glob("*.tif*")] if data.is_dir() else [data.name]
    numbers = {int(n) for name in names for n in re.findall(r"_S(\d+)[_.]", name)}
    return numbers.pop() if len(numbers) == 1 else None


def _same_theta(file: SpecFile, number: int, theta_deg: NDArray[np.float64]) -> bool:
    try:
        theta = file.theta_deg(number)
    except (IndexError, ValueError):  # an aborted scan elsewhere in the file is not ours
        return False
    return theta.shape == theta_deg.shape and bool(np.allclose(theta, theta_deg, rtol=0, atol=1e-6))


def _window(whole: NDArray[Any], shape: tuple[int, int], scan: SpecScan | None, path: Path) -> NDArray[Any]:
    if whole.shape == shape:
        return whole
    if scan is not None and scan.window is not None:
        first_row, rows, first_column, columns = scan.window
        window = whole[first_row : first_row + rows, first_column : first_column + columns]
        if window.shape == shape:
            return window
    raise ValueError(
        f"{path} must have the frames' shape {shape} or a SPEC file must say where they lie in it, got {whole.shape}; "
        "give --spec FILE --scan N, or move it away"
    )
