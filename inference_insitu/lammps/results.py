"""Results in HDF5: one file per inference rank, appended and flushed result by result.

While the run lasts the file is called ``results.partial.h5``; it takes its final name when the
stream has ended. A killed run leaves the partial one, readable up to the last flushed result.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from inference_insitu.service import Result
from models.prediction import CLASSES

_UNITS = {
    "step": "1",
    "time_ps": "ps",
    "load_nN": "nN",
    "seconds": "s",
    "counts": "photons",
    "q_centre": "1/angstrom",
    "q_step": "1/angstrom",
    "voxel": "angstrom",
    "phase": "rad",
}
_TEXT = h5py.string_dtype()


def results_name(inference_rank: int) -> str:
    """File name of the results of the inference rank with this index."""
    return f"results{f'-{inference_rank}' if inference_rank else ''}.h5"


class ResultsFile:
    """A sink that appends to ``path``; ``close`` gives the file its final name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_suffix(".partial.h5")
        self._file = h5py.File(self._partial, "w")
        self._file.attrs["classes"] = list(CLASSES)
        self._file.flush()

    def __call__(self, result: Result) -> None:
        """Append one result and flush it."""
        rows = _rows(result)
        if "step" not in self._file:
            for name, value in rows.items():
                self._create(name, value)
        row = len(self._file["step"])
        for name, value in rows.items():
            self._file[name].resize(row + 1, 0)
            self._file[name][row] = value
        self._file.flush()

    def close(self) -> None:
        """Close the file and give it its final name."""
        self._file.close()
        self._partial.rename(self._path)

    def _create(self, name: str, value: Any) -> None:
        array = np.asarray(value)
        text = isinstance(value, str)
        volume = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.ndim == 3 else {}
        dataset = self._file.create_dataset(
            name,
            (0, *array.shape),
            maxshape=(None, *array.shape),
            dtype=_TEXT if text else array.dtype,
            chunks=(1, *array.shape) if array.ndim else (64,),
            **volume,
        )
        if name in _UNITS:
            dataset.attrs["units"] = _UNITS[name]


def _rows(result: Result) -> dict[str, Any]:
    frame, prediction = result.frame, result.prediction
    return {
        "step": np.int64(frame.step),
        "time_ps": frame.time_ps,
        "load_nN": frame.load_nN,
        "seconds": result.seconds,
        "defect_probability": float(prediction.defect_probability),
        "class": np.int8(CLASSES.index(prediction.defect_class)),
        "class_probabilities": np.asarray(prediction.class_probabilities, np.float64),
        "count": np.int32(prediction.count),
        "undetermined": bool(prediction.undetermined),
        "undetermined_because": prediction.undetermined,
        "prediction": json.dumps(prediction.to_json()),
        "counts": result.exposure.counts,
        "q_centre": frame.grid.centre,
        "q_step": frame.grid.step,
        "line_density": np.asarray(prediction.line_density, np.float32),
        "support": np.asarray(prediction.support, np.float32),
        # A frame is one reflection.
        "phase": np.asarray(prediction.phase[0], np.float32),
        "voxel": np.asarray(prediction.voxel, np.float64),
    }


@dataclass(frozen=True)
class StoredResult:
    """One row of a results file; volumes ``(x, y, z)`` as the prediction's, ``counts`` as the exposure's."""

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


def read_results(folder: Path) -> list[StoredResult]:
    """Results of every inference rank in ``folder``, by step; also those of a run that was killed."""
    stored = [result for path in sorted(folder.glob("results*.h5")) for result in _read(path)]
    return sorted(stored, key=lambda result: result.step)


def _read(path: Path) -> list[StoredResult]:
    # Without locking, so that a file can be read whose writer still runs.
    with h5py.File(path, "r", locking=False) as file:
        if "step" not in file:
            return []
        # A kill between two datasets of one row leaves the last ones shorter: whole rows count.
        rows = min(len(file[name]) for name in file)
        classes = [str(name) for name in file.attrs["classes"]]
        return [
            StoredResult(
                step=int(file["step"][row]),
                defect_probability=float(file["defect_probability"][row]),
                defect_class=classes[int(file["class"][row])],
                count=int(file["count"][row]),
                undetermined=bool(file["undetermined"][row]),
                prediction=json.loads(file["prediction"].asstr()[row]),
                **{name: file[name][row] for name in ("counts", "q_step", "line_density", "support", "voxel")},
            )
            for row in range(rows)
        ]
