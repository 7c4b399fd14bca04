"""Predictions in HDF5: one file for each life of a worker, appended and flushed result by result.

One group for each stream and shape of its frames (``pattern/32x32x32``), one row for each frame. While the worker
lives the file is called ``results-<worker>.<life>.partial.h5``; a killed worker leaves that name, readable up to the
last flushed result.
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cdi.pattern import Exposure
from inference_insitu.inference.frame import Frame
from models.prediction import CLASSES, Prediction

IN_TRANSIT = "transit/answered"
"""In the run's folder: where the analyses of a stream engine keep theirs."""
_UNITS = {
    "step": "1",
    "time_ps": "ps",
    "load_nN": "nN",
    "counts": "photons",
    "q_centre": "1/angstrom",
    "q_step": "1/angstrom",
    "voxel": "angstrom",
    "phase": "rad",
    "seconds": "s",
}
_TEXT = h5py.string_dtype()


def results_name(worker: int, incarnation: int) -> str:
    """File name of the results of the ``incarnation``-th life of ``worker``."""
    return f"results-{worker}.{incarnation}.h5"


class ResultsFile:
    """Appends to ``path`` under its partial name; ``close`` gives the file its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_suffix(".partial.h5")
        self._file = h5py.File(self._partial, "w")
        self._file.attrs["classes"] = list(CLASSES)
        self._file.flush()

    def append(self, frame: Frame, exposure: Exposure, prediction: Prediction) -> None:
        """Append one result and flush it.

        Raises
        ------
        OSError
            If it cannot be kept.
        """
        rows = _rows(frame, exposure, prediction)
        name = f"{frame.stream}/{'x'.join(map(str, exposure.counts.shape))}"
        if name not in self._file:
            group = self._file.create_group(name)
            for column, value in rows.items():
                _create(group, column, value)
        group = self._file[name]
        row = len(group["step"])
        for column, dataset in group.items():
            dataset.resize(row + 1, 0)
            if column in rows:  # what this frame alone does not say of itself stays NaN
                dataset[row] = rows[column]
        self._file.flush()

    def close(self) -> None:
        """Close the file and give it its own name."""
        self._file.close()
        self._partial.rename(self._path)


def _create(group: Any, name: str, value: Any) -> None:
    array = np.asarray(value)
    text = isinstance(value, str)
    volume = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.ndim == 3 else {}
    dataset = group.create_dataset(
        name,
        (0, *array.shape),
        maxshape=(None, *array.shape),
        dtype=_TEXT if text else array.dtype,
        chunks=(1, *array.shape) if array.ndim else (64,),
        fillvalue=np.nan if array.dtype.kind == "f" else None,
        **volume,
    )
    if name in _UNITS:
        dataset.attrs["units"] = _UNITS[name]


def _rows(frame: Frame, exposure: Exposure, prediction: Prediction) -> dict[str, Any]:
    told = {
        name: float(value)
        for name, value in frame.attributes.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    grid = exposure.grid
    where = {} if grid is None else {"q_centre": grid.centre, "q_step": grid.step}
    return told | {
        "step": np.int64(frame.step),
        "rank": np.int64(frame.rank),
        "seconds": float(prediction.seconds),
        "defect_probability": float(prediction.defect_probability),
        "class": np.int8(CLASSES.index(prediction.defect_class)),
        "class_probabilities": np.asarray(prediction.class_probabilities, np.float64),
        "count": np.int32(prediction.count),
        "undetermined": bool(prediction.undetermined),
        "undetermined_because": prediction.undetermined,
        "prediction": json.dumps(prediction.to_json()),
        "counts": exposure.counts,
        **where,
        "line_density": np.asarray(prediction.line_density, np.float32),
        "support": np.asarray(prediction.support, np.float32),
        # A frame is one reflection.
        "phase": np.asarray(prediction.phase[0], np.float32),
        "voxel": np.asarray(prediction.voxel, np.float64),
    }


@dataclass(frozen=True)
class StoredResult:
    """One row of a results file; volumes ``(x, y, z)`` as the prediction's, ``counts`` as the exposure's.

    ``q_step`` is NaN where the frame did not say where it was sampled.
    """

    step: int
    defect_probability: float
    defect_class: str
    count: int
    undetermined: bool
    prediction: dict[str, Any]
    counts: NDArray[np.float32]
    q_step: NDArray[np.float64]
    line_density: NDArray[np.float32]
    support: NDArray[np.float32]
    voxel: NDArray[np.float64]


def read_results(folder: Path, stream: str = "pattern") -> list[StoredResult]:
    """Results of ``stream`` by every worker of the run in ``folder``, by step; also those of workers that were killed.

    A frame that a second life answered again is there once. A file that a kill left unreadable is told on stderr.
    """
    found: dict[tuple[int, int], StoredResult] = {}
    for path in results_files(folder):
        try:
            found |= _read(path, stream)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            print(f"cdi: {path} is left out, it does not read: {' '.join(str(error).split())}", file=sys.stderr)
    return [found[key] for key in sorted(found)]


def results_files(folder: Path) -> list[Path]:
    """Results files of every life of every worker and of a stream engine, whole and partial, the older life first."""
    return sorted([*folder.glob("results-*.h5"), *folder.glob(f"{IN_TRANSIT}/results-*.h5")], key=_life)


def whole_rows(group: Any) -> int:
    """Rows of a stream's ``group`` that are whole: a kill between two datasets of one leaves the last ones shorter."""
    return min((len(column) for column in group.values()), default=0)


def stored_result(group: Any, row: int, classes: Sequence[str]) -> StoredResult:
    """The row ``row`` of a stream's ``group``; ``classes`` are those that the file names.

    Raises
    ------
    OSError, KeyError, IndexError, ValueError, RuntimeError
        If it does not read.
    """
    volumes = {name: group[name][row] for name in ("counts", "line_density", "support", "voxel")}
    return StoredResult(
        step=int(group["step"][row]),
        defect_probability=float(group["defect_probability"][row]),
        defect_class=classes[int(group["class"][row])],
        count=int(group["count"][row]),
        undetermined=bool(group["undetermined"][row]),
        prediction=json.loads(group["prediction"].asstr()[row]),
        q_step=group["q_step"][row] if "q_step" in group else np.full((3, 3), np.nan),
        **volumes,
    )


def _life(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]


def _read(path: Path, stream: str) -> dict[tuple[int, int], StoredResult]:
    # Without locking, so that a file can be read whose writer still runs.
    with h5py.File(path, "r", locking=False) as file:
        classes = [str(name) for name in file.attrs["classes"]]
        groups = file[stream].values() if stream in file else ()
        return {
            (int(group["step"][row]), int(group["rank"][row])): stored_result(group, row, classes)
            for group in groups
            for row in range(whole_rows(group))
        }
