"""Reading samples from HDF5: a shard or a joined data set as a sequence (``docs/format.md``).

Everything is checked before it becomes a number that someone trains on: format and version,
the table of datasets, shapes, shards that a joined file refers to, checksums, finiteness. Free
of torch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cdi.grid import QGrid
from cdi.pattern import Exposure
from data.layout import FORMAT_NAME, FORMAT_VERSION, LAYOUT, RAGGED, STACKED, Kind
from data.sample import Sample, TrueLine, Truth

REMAKE = "make the file again with: cdi generate"


class SampleFile:
    """A shard or a joined data set, open for reading; a sequence of ``Sample``.

    Raises
    ------
    ValueError
        If the file is no HDF5, is truncated, is of another format or version, lacks a
        dataset, or its shapes disagree: one line with the path and the way out.
    OSError
        If it cannot be read at all.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = open_hdf5(self.path)
        try:
            self.attributes = dict(self._file.attrs)
            check_format(self.attributes, self.path)
            self._check_layout()
            self._check_sources()
            with self._reading("the table of lines"):
                self._start: dict[Kind, NDArray[np.int64]] = {
                    kind: _starts(self._file[counts][()]) for kind, counts in RAGGED.items()
                }
                self.indices: NDArray[np.int64] = self._file["index"][()]
            self._check_rows()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "SampleFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))

    def __getitem__(self, position: int) -> Sample:
        """Sample at ``position``, every value checked."""
        if not -len(self) <= position < len(self):
            raise IndexError(f"position must lie in [0, {len(self)}), got {position}")
        position %= len(self)
        with self._reading(f"sample {position}"):
            values = {name: self._file[name][position] for name in STACKED}
            measured = values["measured"].astype(bool)
            grid = QGrid(values["q_centre"], values["q_step"], values["counts"].shape)
            exposure = Exposure(values["counts"].astype(np.float32), grid, None if measured.all() else measured)
            for name in ("support", "phase", "displacement"):
                if not np.isfinite(values[name]).all():
                    raise ValueError(f"{name} must be finite, got NaN or infinity")
            truth = self._truth(position, values)
        h, k, ell = (int(index) for index in values["reflection"])
        return Sample(int(values["index"]), (h, k, ell), exposure, truth)

    def _truth(self, position: int, values: dict[str, Any]) -> Truth:
        return Truth(
            defect=values["defect"].decode(),
            kinds=tuple(self._file["kind"][row].decode() for row in self._rows("present", position)),
            lines=tuple(self._line(row) for row in self._rows("line", position)),
            fault_step=float(values["fault_step"]),
            displacement=values["displacement"],
            support=values["support"],
            phase=values["phase"],
            formula=values["formula"].decode(),
            structure=values["structure"].decode(),
            cell=values["cell"],
            orientation=values["orientation"],
        )

    def _rows(self, kind: Kind, owner: int) -> range:
        return range(self._start[kind][owner], self._start[kind][owner + 1])

    def _line(self, row: int) -> TrueLine:
        points = self._rows("point", row)
        return TrueLine(
            points=self._file["points_A"][points.start : points.stop],
            burgers=self._file["burgers_A"][row],
            burgers_lattice=self._file["burgers_lattice"][row],
            g_dot_b=float(self._file["g_dot_b"][row]),
            residual=float(self._file["residual"][row]),
            candidates=int(self._file["candidate_count"][row]),
        )

    def _check_layout(self) -> None:
        for name, column in LAYOUT.items():
            if not isinstance(self._file.get(name), h5py.Dataset):
                raise ValueError(f"{self.path} must hold the dataset {name!r}, it does not; {REMAKE}")
            dataset = self._file[name]
            if dataset.dtype != column.dtype:
                raise ValueError(f"{name} in {self.path} must be {column.dtype}, got {dataset.dtype}; {REMAKE}")
        voxels = self._file["counts"].shape[1:]
        for name in STACKED:
            wanted = (len(self._file["counts"]), *LAYOUT[name].tail(voxels))
            if len(voxels) != 3 or self._file[name].shape != wanted:
                raise ValueError(
                    f"{name} in {self.path} must have shape {wanted}, got {self._file[name].shape}; {REMAKE}"
                )

    def _check_rows(self) -> None:
        for name, column in LAYOUT.items():
            if column.kind in RAGGED:
                wanted = (int(self._start[column.kind][-1]), *column.row)
                if self._file[name].shape != wanted:
                    raise ValueError(
                        f"{name} in {self.path} must have shape {wanted}, got {self._file[name].shape}; {REMAKE}"
                    )

    def _check_sources(self) -> None:
        """Shards must open: HDF5 itself would silently read zeros in place of a missing one."""
        if self._file["counts"].is_virtual:
            for source in self._file["counts"].virtual_sources():
                with open_hdf5(self.path.parent / source.file_name) as shard:
                    check_format(dict(shard.attrs), self.path.parent / source.file_name)
                    if shard.attrs.get("recipe_sha256") != self.attributes.get("recipe_sha256"):
                        raise ValueError(f"{source.file_name} beside {self.path} is of another recipe; {REMAKE}")

    def _reading(self, what: str) -> "_Reading":
        return _Reading(self.path, what)


class _Reading:
    """Turns h5py's and the types' errors into one line with the path."""

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | RuntimeError | KeyError | ValueError):
            reason = " ".join(str(error).split())
            raise ValueError(f"{self.path}: {self.what} is damaged ({reason}); {REMAKE}") from error


def open_hdf5(path: Path) -> h5py.File:
    """The file open for reading.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
    ValueError
        If it is not an HDF5 file or a truncated one.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"{path} must be an HDF5 file, got a directory")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} must be an HDF5 file, got {_looks_like(path)}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is truncated or damaged ({error}); copy or make it again") from error


def check_format(attributes: dict[str, Any], path: Path) -> None:
    """Raise ``ValueError`` unless the attributes name this format in a version that this program reads."""
    if attributes.get("format") != FORMAT_NAME:
        got = attributes.get("format", "no format attribute")
        raise ValueError(f"{path} must be a data set of cdi generate (format {FORMAT_NAME!r}), got {got!r}")
    version = int(attributes.get("format_version", 0))
    if version != FORMAT_VERSION:
        way_out = "upgrade this program to read it" if version > FORMAT_VERSION else REMAKE
        raise ValueError(f"{path} must have format version {FORMAT_VERSION}, got {version}; {way_out}")


def _looks_like(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    return "an empty file" if not head else f"a file that starts with {head!r}"


def _starts(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Row at which each run of ``counts`` starts, and the end."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
