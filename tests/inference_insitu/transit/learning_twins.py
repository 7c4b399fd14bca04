"""A model of one number and its trainer: what is learnt, and when it is wrong, can be said beforehand.

``Offset`` answers mean + offset; the truth of a frame says what it should have been. The trainer takes the mean error
off the offset, or spoils it where it is told to.
"""

import json
from pathlib import Path

import numpy as np

from inference_insitu.inference.analysis import Analysis


class Offset(Analysis):
    def __init__(self, *, weights: str = "") -> None:
        self._offset = 0.0
        if weights:
            told = json.loads(Path(weights).read_text())
            self._offset, self.model = float(told["offset"]), f"offset {told['offset']:g}"
        else:
            self.model = "offset 0"

    def answer(self, frames):
        return [{"said": float(frame.array.mean()) + self._offset} for frame in frames]


class OffsetTrainer:
    def __init__(self, *, spoil: float = 0.0, broken: bool = False) -> None:
        self._spoil, self._broken = spoil, broken

    def checked(self, truth):
        if set(truth) != {"is"} or not isinstance(truth["is"], int | float) or isinstance(truth["is"], bool):
            raise ValueError(f"truth must hold the number 'is', got {truth}")
        return {"is": float(truth["is"])}

    def score(self, values, truth):
        return float(np.exp(-abs(values["said"] - truth["is"])))

    def frozen(self, path):
        rows = json.loads(path.read_text())
        return [(np.full((2, 3), value), {}, {"is": should}, f"{n}") for n, (value, should) in enumerate(rows)]

    def trained(self, options, examples, output, *, seed, threads):
        before = Offset(**options)
        said = [one["said"] for one in before.answer([example.frame for example in examples])]
        error = np.mean([example.truth["is"] - value for example, value in zip(examples, said, strict=True)])
        path = output.with_name(f"{output.name}.weights")
        path.write_text("{}" if self._broken else json.dumps({"offset": before._offset + float(error) + self._spoil}))
        return {"weights": str(path)}, [path]
