"""Files that lie, are cut or say too little, through every command that reads patterns: one clear line each."""

import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from numpy.lib import format as npy

from cdi.main import main

SHAPE = (12, 16, 20)
COMMANDS = {
    "convert": ["convert", "{}", "out.cxi"],
    "view": ["view", "{}", "--output", "out.png"],
    "retrieve": ["retrieve", "{}", "--output", "out.h5"],
    "predict": ["predict", "{}"],
    "refine": ["refine", "{}", "--output", "out.h5"],
}
HUGE = (3000, 3000, 3000)
"""108 GB of float32."""


def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(2.0, SHAPE).astype(np.int32)


def truncated_tiff(folder: Path) -> list[str]:
    tifffile.imwrite(folder / "a.tif", counts())
    (folder / "a.tif").write_bytes((folder / "a.tif").read_bytes()[:4000])
    return ["a.tif"]


def truncated_frame(folder: Path) -> list[str]:
    (folder / "frames").mkdir()
    for n, frame in enumerate(counts()):
        tifffile.imwrite(folder / "frames" / f"f_{n}.tif", frame)
    (folder / "frames" / "f_7.tif").write_bytes((folder / "frames" / "f_7.tif").read_bytes()[:300])
    return ["frames"]


def wrong_scan(folder: Path) -> list[str]:
    np.save(folder / "a.npy", counts())
    rows = "\n".join(f"{0.01 * n:.2f}" for n in range(SHAPE[0]))
    (folder / "run.spec").write_text(
        f"#F run\n#O0 Theta\n\n#S 4  ascan  th 0 0.11 11 1\n#P0 0\n#N 1\n#L Theta\n{rows}\n"
    )
    return ["a.npy", "--scan", "7"]


def nan_mask(folder: Path) -> list[str]:
    np.save(folder / "a.npy", counts())
    mask = np.zeros(SHAPE[1:])
    mask[3, 4] = np.nan
    np.save(folder / "mask.npy", mask)
    return ["a.npy", "--mask", "mask.npy"]


def flat(folder: Path) -> list[str]:
    np.save(folder / "a.npy", counts()[0])
    return ["a.npy"]


def flat_tiff(folder: Path) -> list[str]:
    tifffile.imwrite(folder / "a.tif", counts()[0])
    return ["a.tif"]


def unknown_axis(folder: Path) -> list[str]:
    np.savez(folder / "a.npz", frames=counts(), theta_deg=0.01 * np.arange(11))
    return ["a.npz"]


def huge_npy(folder: Path) -> list[str]:
    with (folder / "a.npy").open("wb") as file:
        npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": HUGE})
        file.write(bytes(4096))
    return ["a.npy"]


def huge_hdf5(folder: Path) -> list[str]:
    with h5py.File(folder / "a.nxs", "w") as file:
        file.create_dataset("entry/data/counts", HUGE, "f4", chunks=(1, 300, 300))
    return ["a.nxs"]


def huge_cxi(folder: Path) -> list[str]:
    with h5py.File(folder / "a.cxi", "w") as file:
        file["cxi_version"] = 160
        file.create_dataset("entry_1/data_1/data", HUGE, "f4", chunks=(1, 300, 300))
    return ["a.cxi"]


def huge_frame(folder: Path) -> list[str]:
    """A frame whose tags announce 160,000 × 160,000 floats."""
    tags = [(256, 160_000), (257, 160_000), (258, 32), (259, 1), (262, 1), (273, 200), (277, 1), (278, 160_000),
            (279, 4096), (339, 3)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    (folder / "frames").mkdir()
    (folder / "frames" / "f_0.tif").write_bytes(
        b"II*\x00" + struct.pack("<I", 8) + directory.ljust(192, b"\0") + bytes(4096)
    )
    return ["frames"]


MALFORMED: dict[Callable[[Path], list[str]], tuple[str, ...]] = {
    truncated_tiff: ("a.tif must be a readable TIFF file, it is truncated or damaged",),
    truncated_frame: ("f_7.tif must be a readable TIFF file, it is truncated or damaged",),
    wrong_scan: ("7", "run.spec", "4"),
    nan_mask: ("mask.npy", "1 pixels that are NaN"),
    flat: ("a.npy", "three-dimensional array (frame, row, column), got shape (16, 20)"),
    flat_tiff: ("a.tif", "three-dimensional array (frame, row, column), got shape (16, 20)"),
    unknown_axis: ("rocking axis of a.npz is unknown: the scan has 11 points", "--axes"),
    huge_npy: ("a.npy", "3000 × 3000 × 3000 (108 GB)"),
    huge_hdf5: ("a.nxs", "3000 × 3000 × 3000 (108 GB)"),
    huge_cxi: ("a.cxi", "3000 × 3000 × 3000 (108 GB)"),
    huge_frame: ("f_0.tif", "102 GB"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("malformed", MALFORMED, ids=lambda make: make.__name__)
def test_a_malformed_file_is_one_clear_line(
    malformed: Callable[[Path], list[str]], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Exit code 2, nothing on stdout, and no output that a later command could take for an answer."""
    monkeypatch.chdir(tmp_path)
    file, *options = malformed(tmp_path)
    assert main([*(word.format(file) for word in COMMANDS[command]), *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("cdi: ")
    for said in MALFORMED[malformed]:
        assert said in line, line
    assert not list(tmp_path.glob("out.*"))
