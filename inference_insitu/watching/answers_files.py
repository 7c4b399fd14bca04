"""The answers of the analyses, ``results-*.jsonl``, as series of numbers over the steps."""

import json
import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATTERN = "results-*.jsonl"
MOST_SERIES = 64


@dataclass(frozen=True)
class Series:
    """One number that ``analysis`` says of ``stream``, by step."""

    stream: str
    analysis: str
    name: str
    step: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """How many there are by stream, the newest of each, and the numbers among their values."""

    counts: Mapping[str, int]
    newest: Mapping[str, Mapping[str, Any]]
    series: tuple[Series, ...]
    files: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass
class _Collected:
    counts: dict[str, int] = field(default_factory=dict)
    newest: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    numbers: dict[tuple[str, str, str], tuple["array[float]", "array[float]"]] = field(default_factory=dict)

    def add(self, line: str) -> bool:
        """Whether ``line`` is an answer."""
        try:
            answer = json.loads(line)
            stream, step, values = str(answer["stream"]), int(answer["step"]), answer["values"]
            items = list(values.items())
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return False
        self.counts[stream] = self.counts.get(stream, 0) + 1
        if step >= int(self.newest.get(stream, {"step": step})["step"]):
            self.newest[stream] = answer
        for name, value in items:
            if isinstance(value, bool | int | float) and math.isfinite(value):
                self._add_number((stream, str(answer.get("analysis", "")), str(name)), step, float(value))
        return True

    def _add_number(self, key: tuple[str, str, str], step: int, value: float) -> None:
        if key not in self.numbers:
            if len(self.numbers) >= MOST_SERIES:
                return
            self.numbers[key] = (array("d"), array("d"))
        steps, values = self.numbers[key]
        steps.append(step)
        values.append(value)


def read_answers(folder: str | Path) -> Answers:
    """The answers of every worker in ``folder``; of more than ``MOST_SERIES`` numbers the first ones met."""
    collected, files, problems = _Collected(), [], []
    for path in sorted(Path(folder).glob(PATTERN)):
        files.append(path.name)
        unreadable = 0
        try:
            with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
                for line in file:
                    unreadable += not collected.add(line)
        except OSError as error:
            problems.append(f"{path.name}: it cannot be read: {error}")
        if unreadable:
            problems.append(f"{path.name}: {unreadable} lines are no answer")
    series = [_series(key, *numbers) for key, numbers in collected.numbers.items()]
    return Answers(collected.counts, collected.newest, tuple(series), tuple(files), tuple(problems))


def _series(key: tuple[str, str, str], steps: "array[float]", values: "array[float]") -> Series:
    order = np.argsort(np.array(steps), kind="stable")
    return Series(*key, np.array(steps)[order], np.array(values)[order])
