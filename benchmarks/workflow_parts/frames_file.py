"""Patterns on the disk: what a simulation writes to be analysed afterwards."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from inference_insitu.inference.frame import Frame
from inference_insitu.reduction.group import Alone
from inference_insitu.reduction.operator_config import OperatorConfig
from inference_insitu.reduction.pipeline import pipeline


class Reduced:
    """What the loop of a simulation of one rank asks of a coupling, and nothing beyond the reductions happens."""

    def __init__(self, operators: Sequence[OperatorConfig], shape: Sequence[int]) -> None:
        self._reduce = pipeline(operators, shape, np.complex128)
        self._last: np.ndarray | None = None

    def publish(self, name: str, array: np.ndarray, step: int, attributes: Mapping[str, Any]) -> None:
        """Reduce it."""
        self._last = self._reduce(array, Alone())
        self.keep(step, attributes)

    def keep(self, step: int, attributes: Mapping[str, Any]) -> None:
        """Nobody wants it."""

    def reduced(self, name: str) -> np.ndarray | None:
        """What was published last."""
        return self._last

    def end_step(self, step: int) -> None:
        """Nobody waits for it."""

    def poll_steering(self) -> tuple[()]:
        """Nobody steers."""
        return ()

    def close(self) -> None:
        """Nothing is open."""


class Written(Reduced):
    """Each pattern goes to the HDF5 file at ``path``, and is there when the next step begins."""

    def __init__(self, path: Path, operators: Sequence[OperatorConfig], shape: Sequence[int]) -> None:
        super().__init__(operators, shape)
        self._file = h5py.File(path, "w")
        sizes = {"maxshape": (None, *shape), "chunks": (1, *shape)}
        self._frames = self._file.create_dataset("frames", (0, *shape), "<f4", **sizes)
        self._told = self._file.create_dataset("told", (0,), h5py.string_dtype(), maxshape=(None,))

    def keep(self, step: int, attributes: Mapping[str, Any]) -> None:
        """Append the last one, with its step and attributes."""
        row = len(self._frames)
        for dataset, value in ((self._frames, self._last), (self._told, self._described(step, attributes))):
            dataset.resize(row + 1, 0)
            dataset[row] = value
        self._file.flush()

    def _described(self, step: int, attributes: Mapping[str, Any]) -> str:
        return json.dumps({"step": step, "published_s": time.monotonic(), "attributes": dict(attributes)})

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def frames_of(path: Path, stream: str) -> Iterator[tuple[Frame, float]]:
    """The frames that ``Written`` wrote to ``path``, and when it did (``time.monotonic``)."""
    with h5py.File(path) as file:
        for array, told in zip(file["frames"], file["told"].asstr(), strict=True):
            row = json.loads(told)
            yield Frame(stream, 0, row["step"], array, row["attributes"]), row["published_s"]
