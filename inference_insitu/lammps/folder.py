"""The folder of one run: free before it starts, and recognised as ours before it is overwritten."""

import csv
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType

from inference_insitu.lammps.compression import LoadReading

CONFIG = "config.yaml"
SUMMARY = "summary.json"
LOAD = "load.csv"
PICTURE = "insitu.png"
LOG = "lammps.log"
TRANSIT = "transit"
_OURS = (
    *(CONFIG, SUMMARY, LOAD, PICTURE, LOG, "dxa.json", "results-*.h5", "atoms/step-*", "snapshot-*.dump"),
    # Of the coupling.
    *("coupling.yaml", "ledger-*.csv", "books.json", "events-*.jsonl", "metrics-*.prom", "results-*.jsonl"),
    *("steering.jsonl", "worker-*.json", "spill-*", "report.html", "job/*", "transit-*.csv"),
)


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Raise ``ValueError`` unless a run may write to ``folder``."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"output must be a folder, got the file {folder}")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise ValueError(
            f"output must be an empty or new folder, got {folder}, which holds files; --overwrite replaces a run"
        )
    if not (folder / CONFIG).is_file():
        raise ValueError(
            f"output must be the folder of an earlier run to be overwritten, got {folder} without {CONFIG}"
        )


def prepare(folder: Path) -> None:
    """Create ``folder``, or remove an earlier run's files from it, and only those."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in _OURS:
        for path in folder.glob(pattern):
            path.unlink()
    # Log, checkpoints and table of the earlier run: an engine would go on from them.
    shutil.rmtree(folder / TRANSIT, ignore_errors=True)
    for within in (folder / "atoms", folder / "job"):
        if within.is_dir() and not any(within.iterdir()):
            within.rmdir()


def discard(folder: Path) -> None:
    """Remove our files from ``folder``, and the folder where nothing else is in it: the run did not begin."""
    prepare(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


def snapshot_name(step: int) -> str:
    """File name of the atoms that were asked for at ``step``."""
    return f"snapshot-{step:09d}.dump"


class LoadCurve:
    """``load.csv``, written line by line so that a killed run leaves what it had."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", buffering=1)
        self._writer = csv.writer(self._file)
        self._writer.writerow([field.name for field in fields(LoadReading)])

    def __enter__(self) -> "LoadCurve":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, reading: LoadReading) -> None:
        """Append one reading."""
        self._writer.writerow(
            [f"{value:.12g}" if isinstance(value, float) else value for value in asdict(reading).values()]
        )


def read_load_curve(path: Path) -> list[LoadReading]:
    """The readings that ``LoadCurve`` wrote."""
    with path.open(newline="") as file:
        return [
            LoadReading(int(row["step"]), *(float(row[name]) for name in ("time_ps", "gap_A", "strain", "load_nN")))
            for row in csv.DictReader(file)
        ]
